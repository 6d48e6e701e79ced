"""Which addresses are public, and which only look it."""

import ipaddress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.address_class import AddressClass, classify_address, unmapped


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("8.8.8.8", "public"),
        ("1.1.1.1", "public"),
        ("172.15.255.255", "public"),
        ("172.32.0.0", "public"),
        ("100.63.255.255", "public"),
        ("100.128.0.0", "public"),
        ("223.255.255.255", "public"),
        ("0.0.0.0", "unspecified"),
        ("0.1.2.3", "unspecified"),
        ("10.0.0.1", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "shared"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.254", "loopback"),
        ("169.254.1.1", "link-local"),
        ("169.254.169.254", "metadata"),
        ("169.254.170.2", "metadata"),
        ("100.100.100.200", "metadata"),
        ("192.0.0.192", "metadata"),
        ("168.63.129.16", "metadata"),
        ("192.0.0.1", "reserved"),
        ("192.0.2.1", "reserved"),
        ("198.19.0.1", "reserved"),
        ("203.0.113.9", "reserved"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "reserved"),
        ("2606:4700::1111", "public"),
        ("2001:4860:4860::8888", "public"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("fc00::1", "private"),
        ("fd12:3456::1", "private"),
        ("fec0::1", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("fd00:ec2::254", "metadata"),
        ("fd20:ce::254", "metadata"),
        ("2001:db8::1", "reserved"),
        ("2001:20::1", "reserved"),
        ("3fff::1", "reserved"),
        ("100::1", "reserved"),
        ("4000::1", "reserved"),
        ("5f00::1", "reserved"),
    ],
)
def test_each_kind_of_network_has_its_class(text: str, kind: str) -> None:
    assert classify_address(ip_address(text)) == kind


@pytest.mark.parametrize(
    ("prefix", "inner"),
    [
        ("64:ff9b::{}", "{}"),
        ("::ffff:{}", "{}"),
        ("::ffff:0:{}", "{}"),
        ("::{}", "{}"),
        ("2a00:1::5efe:{}", "{}"),
        ("2a00:1::200:5efe:{}", "{}"),
    ],
)
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", "loopback"),
        ("10.1.2.3", "private"),
        ("169.254.169.254", "metadata"),
        ("100.64.0.1", "shared"),
        ("8.8.8.8", "public"),
    ],
)
def test_an_ipv4_address_within_an_ipv6_one_counts(
    prefix: str, inner: str, address: str, kind: str
) -> None:
    assert classify_address(ip_address(prefix.format(inner.format(address)))) == kind


@given(inner=st.ip_addresses(v=4), rest=st.integers(0, 2**80 - 1))
def test_a_6to4_address_is_what_it_carries(inner: IPv4Address, rest: int) -> None:
    carrying = IPv6Address(0x2002 << 112 | int(inner) << 80 | rest)
    assert classify_address(carrying) is classify_address(inner)


@given(server=st.ip_addresses(v=4), client=st.ip_addresses(v=4), middle=st.integers(0, 2**32 - 1))
def test_a_teredo_address_is_public_if_both_ends_are(
    server: IPv4Address, client: IPv4Address, middle: int
) -> None:
    number = 0x2001_0000 << 96 | int(server) << 64 | middle << 32 | int(client) ^ 0xFFFF_FFFF
    kinds = {classify_address(server), classify_address(client)}
    kind = classify_address(IPv6Address(number))
    assert (kind is AddressClass.PUBLIC) == (kinds == {AddressClass.PUBLIC})
    assert kind in kinds


def test_nat64_within_a_site_is_private_whatever_it_carries() -> None:
    assert classify_address(ip_address("64:ff9b:1::808:808")) is AddressClass.PRIVATE


@given(st.ip_addresses())
def test_what_python_holds_for_private_is_never_public(
    address: IPv4Address | IPv6Address,
) -> None:
    """The two tables were written by different people, so each tests the other.

    Except for 6to4 and the like, which carry others: Python has them all as one.
    """
    is_carrier = isinstance(address, IPv6Address) and (
        address.sixtofour is not None or address.teredo is not None
    )
    if classify_address(address) is AddressClass.PUBLIC and not is_carrier:
        assert address.is_global or ipaddress.ip_address(address) in ipaddress.ip_network(
            "64:ff9b::/96" if address.version == 6 else "192.0.0.0/24"
        )


def test_only_a_mapped_address_is_unmapped() -> None:
    assert unmapped(ip_address("::ffff:1.2.3.4")) == ip_address("1.2.3.4")
    assert unmapped(ip_address("::1.2.3.4")) == ip_address("::1.2.3.4")
    assert unmapped(ip_address("1.2.3.4")) == ip_address("1.2.3.4")
