"""What kind of network an IP address belongs to: the public one, or one that a plugin must not see.

Owns the tables. They are the project's own and not those of the `ipaddress` module, which differ
from one Python to the next. What IANA hasn't given out as public is refused, by whatever name.
"""

from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final, TypeAlias

Address: TypeAlias = IPv4Address | IPv6Address


class AddressClass(StrEnum):
    """The kinds. Only `PUBLIC` may be what a name leads to."""

    PUBLIC = "public"
    UNSPECIFIED = "unspecified"
    """This host, to most systems: connecting to 0.0.0.0 reaches the loopback interface."""
    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    METADATA = "metadata"
    """Where a cloud hands credentials to whoever asks from inside."""
    SHARED = "shared"
    """Between a provider and its customers (RFC 6598)."""
    MULTICAST = "multicast"
    RESERVED = "reserved"
    """For documentation, measuring, protocols, or for nothing so far."""


METADATA_ADDRESSES: Final = frozenset(
    {
        IPv4Address("169.254.169.254"),  # most clouds
        IPv4Address("169.254.170.2"),  # Amazon ECS, credentials of a task
        IPv4Address("169.254.170.23"),  # Amazon EKS, identity of a pod
        IPv4Address("169.254.42.42"),  # Scaleway
        IPv4Address("169.254.0.23"),  # Tencent
        IPv4Address("100.100.100.200"),  # Alibaba
        IPv4Address("192.0.0.192"),  # Oracle
        IPv4Address("168.63.129.16"),  # Azure: an address like any public one
        IPv6Address("fd00:ec2::254"),  # Amazon EC2
        IPv6Address("fd00:ec2::23"),  # Amazon EKS
        IPv6Address("fd20:ce::254"),  # Google
        IPv6Address("fd00:42::42"),  # Scaleway
    }
)

# https://www.iana.org/assignments/iana-ipv4-special-registry; what isn't listed is public.
_IPV4: Final = tuple(
    (IPv4Network(network), kind)
    for network, kind in (
        ("0.0.0.0/8", AddressClass.UNSPECIFIED),
        ("10.0.0.0/8", AddressClass.PRIVATE),
        ("100.64.0.0/10", AddressClass.SHARED),
        ("127.0.0.0/8", AddressClass.LOOPBACK),
        ("169.254.0.0/16", AddressClass.LINK_LOCAL),
        ("172.16.0.0/12", AddressClass.PRIVATE),
        ("192.0.0.0/24", AddressClass.RESERVED),
        ("192.0.2.0/24", AddressClass.RESERVED),
        ("192.88.99.0/24", AddressClass.RESERVED),
        ("192.168.0.0/16", AddressClass.PRIVATE),
        ("198.18.0.0/15", AddressClass.RESERVED),
        ("198.51.100.0/24", AddressClass.RESERVED),
        ("203.0.113.0/24", AddressClass.RESERVED),
        ("224.0.0.0/4", AddressClass.MULTICAST),
        ("240.0.0.0/4", AddressClass.RESERVED),
    )
)

# https://www.iana.org/assignments/iana-ipv6-special-registry. The first that fits counts; what
# isn't listed is reserved, since only 2000::/3 has been given out at all.
_IPV6: Final = tuple(
    (IPv6Network(network), kind)
    for network, kind in (
        ("::/128", AddressClass.UNSPECIFIED),
        ("::1/128", AddressClass.LOOPBACK),
        ("64:ff9b:1::/48", AddressClass.PRIVATE),
        ("fc00::/7", AddressClass.PRIVATE),
        ("fe80::/10", AddressClass.LINK_LOCAL),
        ("fec0::/10", AddressClass.PRIVATE),
        ("ff00::/8", AddressClass.MULTICAST),
        ("2001::/23", AddressClass.RESERVED),
        ("2001:db8::/32", AddressClass.RESERVED),
        ("3fff::/20", AddressClass.RESERVED),
        ("2000::/3", AddressClass.PUBLIC),
    )
)

_LOW_32: Final = 0xFFFF_FFFF
_EMBEDDING_96: Final = tuple(
    IPv6Network(network)
    for network in (
        "64:ff9b::/96",  # NAT64, RFC 6052
        "::ffff:0:0/96",  # mapped, RFC 4291
        "::ffff:0:0:0/96",  # translated, RFC 2765
    )
)
"""Prefixes that an IPv4 address follows as it is."""
_COMPATIBLE: Final = IPv6Network("::/96")
_SIX_TO_FOUR: Final = IPv6Network("2002::/16")
_TEREDO: Final = IPv6Network("2001::/32")
_ISATAP: Final = frozenset({0x0000_5EFE, 0x0200_5EFE})
"""The first half of an interface's identifier that an IPv4 address follows, RFC 5214."""


def classify_address(address: Address) -> AddressClass:
    """Return the class of an address.

    One that carries IPv4 addresses within is of the first of their classes that isn't public: a
    gateway somewhere would unpack it.
    """
    if address in METADATA_ADDRESSES:
        return AddressClass.METADATA
    if isinstance(address, IPv4Address):
        return next((kind for network, kind in _IPV4 if address in network), AddressClass.PUBLIC)
    listed = next((kind for network, kind in _IPV6 if address in network), None)
    embedded = _embedded_addresses(address)
    if listed in (None, AddressClass.PUBLIC) or address in _TEREDO:
        for inner in map(classify_address, embedded):
            if inner is not AddressClass.PUBLIC:
                return inner
        if embedded:
            return AddressClass.PUBLIC
    return AddressClass.RESERVED if listed is None else listed


def unmapped(address: Address) -> Address:
    """Return the IPv4 address that a mapped one stands for; any other as it is."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _embedded_addresses(address: IPv6Address) -> tuple[IPv4Address, ...]:
    number = int(address)
    low = IPv4Address(number & _LOW_32)
    if any(address in network for network in _EMBEDDING_96):
        return (low,)
    if address in _SIX_TO_FOUR:
        return (IPv4Address(number >> 80 & _LOW_32),)
    if address in _TEREDO:
        return (IPv4Address(number >> 64 & _LOW_32), IPv4Address(number & _LOW_32 ^ _LOW_32))
    if number >> 32 & _LOW_32 in _ISATAP:
        return (low,)
    return (low,) if address in _COMPATIBLE else ()
