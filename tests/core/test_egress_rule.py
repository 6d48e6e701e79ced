"""Hosts in their one form, and what `network.allow` lets a plugin reach."""

import re
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.egress_reason import EGRESS_SENTENCES, EgressReason
from sigil_actors.core.egress_rule import (
    CanonicalHost,
    EgressRule,
    HostError,
    canonical_host,
)
from sigil_actors.core.network_target import NetworkTargetError


def name(text: str) -> CanonicalHost:
    return CanonicalHost(text, is_address=False)


def address(text: str) -> CanonicalHost:
    return CanonicalHost(text, is_address=True)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("API.Example.com", name("api.example.com")),
        ("api.example.com.", name("api.example.com")),
        ("localhost", name("localhost")),
        ("bücher.example", name("xn--bcher-kva.example")),
        ("XN--BCHER-KVA.example", name("xn--bcher-kva.example")),
        ("a\u3002b", name("a.b")),
        ("127.0.0.1", address("127.0.0.1")),
        ("127.0.0.1.", address("127.0.0.1")),
        ("\uff11\uff12\uff17.0.0.1", address("127.0.0.1")),
        ("[::1]", address("::1")),
        ("::1", address("::1")),
        ("[2001:DB8:0:0::0001]", address("2001:db8::1")),
        ("[::ffff:127.0.0.1]", address("127.0.0.1")),
        ("::FFFF:7f00:1", address("127.0.0.1")),
    ],
)
def test_every_spelling_of_a_host_has_one_form(text: str, host: CanonicalHost) -> None:
    assert canonical_host(text) == host
    assert canonical_host(host.text) == host


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..",
        ".a",
        "a..b",
        "a b",
        "a\0.example",
        "a/b",
        "a@b",
        "a%2eb",
        "*.example.com",
        "127.1",
        "127.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.0.0.01",
        "127.0.0.256",
        "1.2.3.4.5",
        "\uff11\uff12\uff17.1",
        "[127.0.0.1]",
        "[::1",
        "::1]",
        "[::1].",
        "[fe80::1%eth0]",
        "fe80::1%eth0",
        "[[::1]]",
        "[]",
        "1:2",
        "faß.example",
        "a\u200db.example",
        "\u03c2.example",
        "ü" * 64 + ".example",
        "\ud800.example",
        "a" * 64,
        "a." * 127 + "aa",
    ],
)
def test_what_could_be_taken_for_two_hosts_is_none(text: str) -> None:
    with pytest.raises(HostError) as caught:
        canonical_host(text)
    assert caught.value.what


@given(st.text(max_size=300) | st.text(alphabet="0123456789abcdefx.:[]%*", max_size=60))
def test_any_text_has_a_form_or_none_and_the_form_is_final(text: str) -> None:
    try:
        host = canonical_host(text)
    except HostError:
        return
    assert canonical_host(host.authority) == host
    assert re.fullmatch(r"[a-z0-9_.:-]{1,253}", host.text)
    if host.is_address:
        assert str(ip_address(host.text)) == host.text
    else:
        assert not re.fullmatch(r"[0-9]+|0x[0-9a-f]*", host.text.rpartition(".")[2])


RULE = EgressRule.from_entries(
    [
        "api.example.com:443",
        "*.cdn.example:443",
        "10.0.0.5:5432",
        "[::1]:8080",
        "[::ffff:10.0.0.6]:1",
        "Both.example:80",
        "both.example:443",
    ]
)


@pytest.mark.parametrize(
    ("host", "port", "reason"),
    [
        ("api.example.com", 443, EgressReason.OK),
        ("API.EXAMPLE.COM.", 443, EgressReason.OK),
        ("api.example.com", 80, EgressReason.PORT_NOT_ALLOWED),
        ("example.com", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("x.api.example.com", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("xapi.example.com", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("api.example.com.evil.example", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("a.cdn.example", 443, EgressReason.OK),
        ("a.b.cdn.example", 443, EgressReason.OK),
        ("cdn.example", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("xcdn.example", 443, EgressReason.TARGET_NOT_ALLOWED),
        ("a.cdn.example", 444, EgressReason.PORT_NOT_ALLOWED),
        ("10.0.0.5", 5432, EgressReason.OK),
        ("::ffff:10.0.0.5", 5432, EgressReason.OK),
        ("10.0.0.5", 5433, EgressReason.PORT_NOT_ALLOWED),
        ("10.0.0.6", 1, EgressReason.OK),
        ("10.0.0.7", 5432, EgressReason.TARGET_NOT_ALLOWED),
        ("::1", 8080, EgressReason.OK),
        ("127.0.0.1", 8080, EgressReason.TARGET_NOT_ALLOWED),
        ("both.example", 80, EgressReason.OK),
        ("both.example", 443, EgressReason.OK),
    ],
)
def test_an_entry_means_that_host_at_that_port(host: str, port: int, reason: EgressReason) -> None:
    verdict = RULE.judge_target(canonical_host(host), port)
    assert verdict.reason is reason
    assert verdict.allowed == (reason is EgressReason.OK)


@pytest.mark.parametrize(
    ("text", "port", "detail"),
    [
        ("8.8.8.8", 443, None),
        ("10.0.0.5", 5432, None),
        ("::1", 8080, None),
        ("::ffff:10.0.0.5", 5432, None),
        ("10.0.0.5", 443, "private"),
        ("10.0.0.7", 5432, "private"),
        ("127.0.0.1", 443, "loopback"),
        ("169.254.169.254", 443, "metadata"),
        ("64:ff9b::a9fe:a9fe", 443, "metadata"),
        ("fe80::1", 443, "link-local"),
        ("::1%1", 8080, "loopback"),
    ],
)
def test_a_name_may_lead_to_public_addresses_and_to_literals(
    text: str, port: int, detail: str | None
) -> None:
    verdict = RULE.judge_address(ip_address(text), port)
    if detail is None:
        assert verdict.allowed
    else:
        assert (verdict.reason, verdict.detail) == (EgressReason.ADDRESS_NOT_PUBLIC, detail)


def test_a_metadata_address_is_reached_by_its_literal_only() -> None:
    by_name = EgressRule.from_entries(["metadata.google.internal:80"])
    by_literal = EgressRule.from_entries(["169.254.169.254:80"])
    metadata = ip_address("169.254.169.254")
    assert by_name.judge_target(canonical_host("metadata.google.internal"), 80).allowed
    assert not by_name.judge_address(metadata, 80).allowed
    assert by_literal.judge_address(metadata, 80).allowed


def test_an_empty_rule_allows_nothing() -> None:
    rule = EgressRule.from_entries([])
    for host in ("example.com", "127.0.0.1", "8.8.8.8"):
        verdict = rule.judge_target(canonical_host(host), 443)
        assert verdict.reason is EgressReason.TARGET_NOT_ALLOWED


def test_an_entry_that_is_none_makes_no_rule() -> None:
    with pytest.raises(NetworkTargetError):
        EgressRule.from_entries(["example.com:443", "https://example.com"])


LABEL = st.text("ab", min_size=1, max_size=2)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
ENTRY = st.builds(
    lambda star, host, port: f"{'*.' if star else ''}{host}:{port}",
    st.booleans(),
    NAME,
    st.integers(1, 3),
)


@given(st.lists(ENTRY, max_size=6), NAME, st.integers(1, 3))
def test_the_rule_agrees_with_comparing_entry_by_entry(
    entries: list[str], host: str, port: int
) -> None:
    def matches(entry: str) -> bool:
        allowed, _, allowed_port = entry.rpartition(":")
        if int(allowed_port) != port:
            return False
        return host.endswith(allowed[1:]) if allowed[0] == "*" else host == allowed

    rule = EgressRule.from_entries(entries)
    assert rule.judge_target(canonical_host(host), port).allowed == any(map(matches, entries))


@given(st.lists(ENTRY, max_size=4), ENTRY, NAME, st.integers(1, 3))
def test_an_entry_more_never_takes_anything_away(
    entries: list[str], more: str, host: str, port: int
) -> None:
    target = canonical_host(host)
    if EgressRule.from_entries(entries).judge_target(target, port).allowed:
        assert EgressRule.from_entries([*entries, more]).judge_target(target, port).allowed


def test_every_reason_has_a_sentence_of_its_own() -> None:
    assert EGRESS_SENTENCES.keys() == set(EgressReason)
    assert len(set(EGRESS_SENTENCES.values())) == len(EgressReason)


def test_an_ipv6_address_stands_in_brackets_before_a_port() -> None:
    assert canonical_host("::1").authority == "[::1]"
    assert canonical_host("1.2.3.4").authority == "1.2.3.4"
