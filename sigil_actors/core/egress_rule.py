"""May this plugin reach that host and port? The rule, as a function of the manifest's entries.

Owns the one form of a host, what an entry of `network.allow` means for it, and which addresses a
name may lead to. Knows nothing of lookups and connections: the shell asks twice, for the target as
it was named and for each address before it is dialled.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address
from typing import Final

import attrs

from sigil_actors.core.address_class import Address, AddressClass, classify_address, unmapped
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.network_target import (
    HOST_TEXT_MAX,
    NetworkTargetError,
    parse_network_target,
)


class HostError(ValueError):
    """The text is no host. `what` says why not."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


@attrs.frozen
class CanonicalHost:
    """A host in the one form in which hosts are compared."""

    text: str
    """Lower-case ASCII without a dot at the end; an address in its canonical form."""
    is_address: bool

    @property
    def authority(self) -> str:
        """Return it as it stands before a port."""
        return f"[{self.text}]" if ":" in self.text else self.text


@attrs.frozen
class EgressVerdict:
    """What was decided, and a word or two that say more."""

    reason: EgressReason
    detail: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it may be reached."""
        return self.reason is EgressReason.OK


# Where the two generations of IDNA disagree on what a character means, two programs would reach
# two hosts by one name: sharp s, final sigma, the joiners.
_AMBIGUOUS: Final = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")


def canonical_host(text: str) -> CanonicalHost:
    """Return the one form of a host as a stranger wrote it.

    Names in any case, with or without the dot at the end, in Unicode or ASCII; IPv4 in four
    decimal numbers; IPv6 in brackets, or bare. An IPv6 address that maps an IPv4 one becomes it.

    Raises:
        HostError: it is none of these. Short, hexadecimal, octal and single-number spellings of
            addresses are refused: some resolvers take them for addresses, others for names.
    """
    if len(text) > HOST_TEXT_MAX + 1:
        raise HostError(f"has more than {HOST_TEXT_MAX} characters")
    name = text if text.isascii() else _ascii_name(text)
    if not name.startswith("["):
        name = name.removesuffix(".")
        name = f"[{name}]" if ":" in name else name
    try:
        target = parse_network_target(f"{name}:1")
    except NetworkTargetError as error:
        raise HostError(error.what) from None
    if target.is_wildcard:
        raise HostError("has a *")
    if target.is_address:
        return CanonicalHost(str(unmapped(ip_address(target.host))), is_address=True)
    return CanonicalHost(target.host, is_address=False)


def _ascii_name(text: str) -> str:
    if not _AMBIGUOUS.isdisjoint(text):
        raise HostError("has a character that programs read in two ways; write its xn-- form")
    try:
        return text.encode("idna").decode("ascii")
    except UnicodeError:
        raise HostError("has no name that IDNA can write in ASCII") from None


@attrs.frozen
class EgressRule:
    """Where one plugin may connect to. An empty rule allows nothing."""

    _addresses: frozenset[tuple[str, int]]
    _names: frozenset[tuple[str, int]]
    _suffixes: frozenset[tuple[str, int]]
    """Of the wildcards: what follows the star, dot included."""
    _hosts: frozenset[str]
    """Of all entries, without the ports; the suffixes with their dot."""

    @classmethod
    def from_entries(cls, entries: Iterable[str]) -> "EgressRule":
        """Return the rule that a manifest's `network.allow` stands for.

        Raises:
            NetworkTargetError: an entry doesn't follow the grammar.
        """
        addresses: set[tuple[str, int]] = set()
        names: set[tuple[str, int]] = set()
        suffixes: set[tuple[str, int]] = set()
        for entry in entries:
            target = parse_network_target(entry)
            if target.is_address:
                addresses.add((str(unmapped(ip_address(target.host))), target.port))
            elif target.is_wildcard:
                suffixes.add((f".{target.host}", target.port))
            else:
                names.add((target.host, target.port))
        hosts = frozenset(host for host, _ in addresses | names | suffixes)
        return cls(frozenset(addresses), frozenset(names), frozenset(suffixes), hosts)

    def judge_target(self, host: CanonicalHost, port: int) -> EgressVerdict:
        """Decide about a target as it was named, before anything is looked up."""
        if host.is_address:
            places = [host.text]
            allowed = (host.text, port) in self._addresses
        else:
            places = [host.text, *_suffixes_of(host.text)]
            allowed = (host.text, port) in self._names or any(
                (suffix, port) in self._suffixes for suffix in places[1:]
            )
        if allowed:
            return EgressVerdict(EgressReason.OK)
        if any(place in self._hosts for place in places):
            return EgressVerdict(EgressReason.PORT_NOT_ALLOWED)
        return EgressVerdict(EgressReason.TARGET_NOT_ALLOWED)

    def judge_address(self, address: Address, port: int) -> EgressVerdict:
        """Decide about an address that an allowed target leads to, before it is dialled."""
        if self.is_literal(address, port):
            return EgressVerdict(EgressReason.OK)
        kind = classify_address(unmapped(address))
        if kind is AddressClass.PUBLIC:
            return EgressVerdict(EgressReason.OK)
        return EgressVerdict(EgressReason.ADDRESS_NOT_PUBLIC, kind)

    def is_literal(self, address: Address, port: int) -> bool:
        """Tell whether an entry names that very address and port."""
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            # With a zone it is another host on each machine, and no entry can mean it.
            return False
        return (str(unmapped(address)), port) in self._addresses


def _suffixes_of(name: str) -> list[str]:
    """Return what the star of a wildcard could stand before: for `a.b.c` it is `.b.c` and `.c`."""
    suffixes = []
    dot = name.find(".")
    while dot >= 0:
        suffixes.append(name[dot:])
        dot = name.find(".", dot + 1)
    return suffixes
