"""One entry of `network.allow`: a host name, a wildcard or an address, and a port.

Only the grammar. Which addresses a name may resolve to is decided where a connection is made.
"""

import ipaddress
import re
from typing import Final

import attrs

HOST_TEXT_MAX: Final = 253
"""Characters of a name, by RFC 1035."""

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)
_PORT = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_PORT_MAX = 65_535

TARGET_FORM: Final = (
    "Write host:port, as in api.example.com:443, *.example.com:443 or [2001:db8::1]:443"
)


class NetworkTargetError(ValueError):
    """The text is no target. `what` says why not."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


@attrs.frozen
class NetworkTarget:
    """Where a plugin may connect to."""

    host: str
    """Lower case; for a wildcard, what follows the `*.`; for an address, its canonical form."""
    port: int
    is_wildcard: bool
    """Whether it means every name below `host`, and not `host` itself."""
    is_address: bool
    """Whether `host` is an IP literal, which means just that address."""


def parse_network_target(text: str) -> NetworkTarget:
    """Parse `host:port`.

    Raises:
        NetworkTargetError: it doesn't follow the grammar.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise NetworkTargetError("has no host or no port")
    if not _PORT.fullmatch(port) or int(port) > _PORT_MAX:
        raise NetworkTargetError("has no port from 1 to 65535")
    if host.startswith("["):
        return NetworkTarget(_ipv6(host), int(port), is_wildcard=False, is_address=True)
    if ":" in host:
        raise NetworkTargetError("has a second colon; an IPv6 address stands in brackets")
    is_wildcard = host.startswith("*.")
    name = (host[2:] if is_wildcard else host).lower()
    if not is_wildcard and _is_ipv4(name):
        return NetworkTarget(name, int(port), is_wildcard=False, is_address=True)
    _check_name(name)
    return NetworkTarget(name, int(port), is_wildcard=is_wildcard, is_address=False)


def _ipv6(host: str) -> str:
    if "%" in host:
        raise NetworkTargetError(
            "has a zone; an address that needs one means another host elsewhere"
        )
    try:
        if host.endswith("]"):
            return ipaddress.IPv6Address(host[1:-1]).compressed
    except ValueError:
        pass
    raise NetworkTargetError("has no IPv6 address in brackets")


def _is_ipv4(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _check_name(name: str) -> None:
    if len(name) > HOST_TEXT_MAX:
        raise NetworkTargetError(f"has a name of more than {HOST_TEXT_MAX} characters")
    if "*" in name:
        raise NetworkTargetError("has a * elsewhere than as the whole first label")
    if not name.isascii():
        raise NetworkTargetError("has a name that isn't ASCII; write its xn-- form")
    labels = name.split(".")
    if not all(map(_LABEL.fullmatch, labels)):
        raise NetworkTargetError("has no valid host name")
    # Resolvers read 127.1, 0x7f.1 and 2130706433 as addresses, so no name may end like one.
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        raise NetworkTargetError(
            "has a host that some programs read as an address; write it in full"
        )
