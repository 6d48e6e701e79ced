"""Entries of `network.allow`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.network_target import (
    NetworkTarget,
    NetworkTargetError,
    parse_network_target,
)


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("api.telegram.org:443", NetworkTarget("api.telegram.org", 443, False, False)),
        ("API.Example.COM:1", NetworkTarget("api.example.com", 1, False, False)),
        ("*.example.com:65535", NetworkTarget("example.com", 65_535, True, False)),
        ("localhost:80", NetworkTarget("localhost", 80, False, False)),
        ("_dmarc.a-b.c:9", NetworkTarget("_dmarc.a-b.c", 9, False, False)),
        ("xn--bcher-kva.example:443", NetworkTarget("xn--bcher-kva.example", 443, False, False)),
        ("10.0.0.1:5432", NetworkTarget("10.0.0.1", 5432, False, True)),
        ("[::1]:80", NetworkTarget("::1", 80, False, True)),
        ("[2001:DB8:0:0::1]:443", NetworkTarget("2001:db8::1", 443, False, True)),
    ],
)
def test_a_name_a_wildcard_and_an_address_are_targets(text: str, target: NetworkTarget) -> None:
    assert parse_network_target(text) == target


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "no host or no port"),
        ("example.com", "no host or no port"),
        (":443", "no host or no port"),
        ("example.com:", "no port from 1 to 65535"),
        ("example.com:0", "no port from 1 to 65535"),
        ("example.com:00443", "no port from 1 to 65535"),
        ("example.com:65536", "no port from 1 to 65535"),
        ("example.com:" + "9" * 5000, "no port from 1 to 65535"),
        ("example.com:-1", "no port from 1 to 65535"),
        ("example.com:*", "no port from 1 to 65535"),
        ("example.com:\u0664", "no port from 1 to 65535"),
        ("http://example.com:443", "second colon"),
        ("::1:80", "second colon"),
        ("[::1%eth0]:80", "zone"),
        ("[::1:80", "no IPv6 address"),
        ("[]:80", "no IPv6 address"),
        ("[example.com]:80", "no IPv6 address"),
        ("[[::1]]:80", "no IPv6 address"),
        ("[10.0.0.1]:80", "no IPv6 address"),
        ("*:443", r"a \* elsewhere"),
        ("a.*.com:443", r"a \* elsewhere"),
        ("*.*.com:443", r"a \* elsewhere"),
        ("*a.com:443", r"a \* elsewhere"),
        ("*.:443", "no valid host name"),
        ("example.com.:443", "no valid host name"),
        ("a..b:443", "no valid host name"),
        ("-a.com:443", "no valid host name"),
        ("a-.com:443", "no valid host name"),
        ("user@host:443", "no valid host name"),
        ("a b:443", "no valid host name"),
        ("a\n:443", "no valid host name"),
        ("a" * 64 + ".com:443", "no valid host name"),
        ("a." * 130 + "com:443", "more than 253 characters"),
        ("b\u00fccher.example:443", "xn--"),
        ("\uff11\uff12\uff17.0.0.1:80", "xn--"),
        ("127.1:80", "read as an address"),
        ("2130706433:80", "read as an address"),
        ("0x7f.1:80", "read as an address"),
        ("0x7f000001:80", "read as an address"),
        ("010.0.0.1:80", "read as an address"),
        ("1.2.3.4.5:80", "read as an address"),
        ("*.10.0.0.1:80", "read as an address"),
    ],
)
def test_what_is_no_target_is_refused(text: str, what: str) -> None:
    with pytest.raises(NetworkTargetError, match=what):
        parse_network_target(text)


@given(st.text() | st.text("ab.*:[]0123456789xX-", max_size=30))
def test_any_text_is_a_target_with_a_port_or_a_target_error(text: str) -> None:
    with suppress(NetworkTargetError):
        target = parse_network_target(text)
        assert 1 <= target.port <= 65_535
        assert target.host
        assert target.host == target.host.lower()
        assert "*" not in target.host
