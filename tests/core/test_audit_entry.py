"""The entry: what it makes of strangers' text, its bytes, the chain's step, the filter."""

import copy
import json
import math
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from types import MappingProxyType

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.audit_entry import (
    DETAILS_BYTES_MAX,
    GENESIS,
    TEXT_LENGTH_MAX,
    AuditEntry,
    AuditFilter,
    canonical_bytes,
    chain_hash,
    entry_from_bytes,
    seal_entry,
)
from sigil_actors.errors import AuditIntegrityError, InvalidCapabilityError

NOW = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)

texts = st.text(st.characters(codec=None), max_size=40)  # lone surrogates among them
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
entries = st.builds(
    AuditEntry,
    action=texts,
    timestamp=st.datetimes(
        min_value=datetime(1900, 1, 1),
        timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
    ),
    actor=texts,
    plugin=texts,
    workspace_id=texts,
    user_id=texts,
    session_id=texts,
    capability=texts,
    result=texts,
    reason=texts,
    details=st.dictionaries(texts, json_values, max_size=4),
    seq=st.integers(min_value=0, max_value=2**63 - 1),
)


def entry(**fields: object) -> AuditEntry:
    return AuditEntry(**({"action": "lifecycle", "timestamp": NOW} | fields))  # type: ignore[arg-type]


def test_the_canonical_bytes_are_the_documented_ones() -> None:
    """Logs that exist depend on this text: a change of it needs a new version of the form."""
    made = entry(
        seq=7, plugin='a"b', user_id="ü", reason="ok", details={"z": [1, None], "a": {"b": 1.5}}
    )
    assert (
        canonical_bytes(made)
        == (
            '[1,7,1770091506789012,"lifecycle","","a\\"b","","ü","","","","ok",'
            '{"a":{"b":1.5},"z":[1,null]}]'
        ).encode()
    )
    assert chain_hash(GENESIS, made) == sha256(bytes(32) + canonical_bytes(made)).digest()


@given(entries)
def test_every_entry_can_be_read_back_from_its_bytes(made: AuditEntry) -> None:
    stored = canonical_bytes(made)
    read = entry_from_bytes(stored, made.hash)
    assert canonical_bytes(read) == stored
    without_details = attrs.filters.exclude("details")
    assert attrs.asdict(read, filter=without_details) == attrs.asdict(made, filter=without_details)
    assert json.dumps(read.details, sort_keys=True) == json.dumps(made.details, sort_keys=True)


@given(entries, entries)
def test_entries_that_differ_have_different_bytes(one: AuditEntry, other: AuditEntry) -> None:
    same_details = json.dumps(one.details, sort_keys=True) == json.dumps(
        other.details, sort_keys=True
    )
    same = attrs.evolve(one, details={}) == attrs.evolve(other, details={}) and same_details
    assert (canonical_bytes(one) == canonical_bytes(other)) == same


@pytest.mark.parametrize(
    "name",
    [
        "action",
        "actor",
        "plugin",
        "workspace_id",
        "user_id",
        "session_id",
        "capability",
        "result",
        "reason",
    ],
)
def test_each_text_is_in_the_bytes_at_its_own_place(name: str) -> None:
    changed = entry(**{name: "x"})
    others = [entry(), entry(action="x"), entry(actor="x"), entry(reason="x")]
    assert all(
        canonical_bytes(changed) != canonical_bytes(other) for other in others if changed != other
    )


def test_seq_timestamp_and_details_are_in_the_bytes() -> None:
    changed = [
        entry(),
        entry(seq=1),
        entry(timestamp=NOW + timedelta(microseconds=1)),
        entry(details={"a": 1}),
        entry(details={"a": 1.0}),
        entry(details={"a": True}),
    ]
    assert len({canonical_bytes(made) for made in changed}) == len(changed)


def test_text_cannot_move_from_one_field_to_the_next() -> None:
    assert canonical_bytes(entry(actor='a","b', plugin="")) != canonical_bytes(
        entry(actor="a", plugin="b")
    )


def test_the_hash_is_not_in_the_bytes() -> None:
    assert canonical_bytes(entry(hash=b"x" * 32)) == canonical_bytes(entry())


@given(entries, st.binary(min_size=32, max_size=32))
def test_sealing_is_the_step_of_the_chain(made: AuditEntry, previous: bytes) -> None:
    sealed, text = seal_entry(previous, 5, made)
    assert sealed.seq == 5
    assert sealed.hash == chain_hash(previous, sealed)
    assert text.encode() == canonical_bytes(sealed)
    assert attrs.evolve(made, seq=5).seq == sealed.seq
    assert made.stored_as(sealed.seq, sealed.hash) == sealed


@given(entries)
def test_whatever_a_stranger_writes_stays_visible_and_within_bounds(made: AuditEntry) -> None:
    for text in (made.action, made.plugin, made.user_id, made.capability, made.reason):
        assert len(text) <= TEXT_LENGTH_MAX
        assert text.isprintable()
    canonical_bytes(made).decode()


def test_texts_that_differ_never_become_the_same_escape() -> None:
    assert entry(user_id="a\x01").user_id != entry(user_id="a\\x01").user_id


def test_a_text_that_is_too_long_is_cut_visibly() -> None:
    made = entry(user_id="x" * (TEXT_LENGTH_MAX + 1))
    assert len(made.user_id) == TEXT_LENGTH_MAX
    assert made.user_id.endswith("…")


@pytest.mark.parametrize("filler", ["x", "é", "😀", '"', "\\", "\x00", "\ud800"])
def test_details_over_their_bound_are_replaced_by_a_marked_start(filler: str) -> None:
    made = entry(details={"text": filler * 5000})
    assert made.details["details_truncated"] is True
    assert isinstance(made.details["bytes"], int)
    assert made.details["bytes"] > DETAILS_BYTES_MAX
    assert str(made.details["start"]).startswith('{"text":"')
    assert len(canonical_bytes(made)) < DETAILS_BYTES_MAX
    assert entry_from_bytes(canonical_bytes(made), b"") == made


def test_details_at_their_bound_are_kept() -> None:
    at_bound = {"text": "x" * (DETAILS_BYTES_MAX - len('{"text":""}'))}
    assert entry(details=at_bound).details == at_bound
    over = {"text": at_bound["text"] + "x"}
    assert "details_truncated" in entry(details=over).details


def deep() -> dict[str, object]:
    nested: dict[str, object] = {}
    for _ in range(100_000):
        nested = {"": nested}
    return nested


def nested(depth: int) -> dict[str, object]:
    inner: list[object] = []
    for _ in range(depth - 2):
        inner = [inner]
    return {"": inner}


def cyclic() -> dict[str, object]:
    cycle: dict[str, object] = {}
    cycle["self"] = cycle
    return cycle


@pytest.mark.parametrize(
    "details",
    [
        {"a": math.nan},
        {"a": -math.inf},
        {"a": b"bytes"},
        {"a": {1, 2}},
        {"a": object()},
        {"a": 10**5000},
        {1: "a", "b": 2},
        deep(),
        nested(65),
        cyclic(),
    ],
    ids=[
        "nan",
        "inf",
        "bytes",
        "set",
        "object",
        "huge",
        "mixed keys",
        "deep",
        "too deep",
        "cyclic",
    ],
)
def test_details_that_are_not_json_never_lose_the_entry(details: dict[str, object]) -> None:
    made = entry(details=details, reason="still here")
    assert set(made.details) == {"details_unstorable"}
    assert entry_from_bytes(canonical_bytes(made), b"") == made


def test_details_at_the_bound_of_their_depth_are_kept() -> None:
    assert entry(details=nested(64)).details == nested(64)


def test_brackets_in_text_are_no_depth() -> None:
    assert "text" in entry(details={"text": '[{"\\' * 100}).details


def test_other_mappings_and_sequences_are_taken_as_json() -> None:
    made = entry(details=MappingProxyType({"a": MappingProxyType({"b": (1, range(2))})}))
    assert b'{"a":{"b":[1,[0,1]]}}' in canonical_bytes(made)


def test_numbers_as_keys_are_stored_and_read_back() -> None:
    made = entry(details={10: "a", 9: "b"})
    assert entry_from_bytes(canonical_bytes(made), b"").details == {"10": "a", "9": "b"}


def test_details_that_change_after_the_entry_was_made_change_nothing_stored() -> None:
    details = {"a": 1}
    made = entry(details=details)
    before = canonical_bytes(made)
    details["a"] = 2
    assert canonical_bytes(made) == before


def test_a_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        entry(timestamp=NOW.replace(tzinfo=None))


def test_another_zone_becomes_utc() -> None:
    made = entry(timestamp=NOW.astimezone(timezone(timedelta(hours=-7))))
    assert made.timestamp.tzinfo is UTC
    assert made == entry()


def test_an_entry_is_a_value() -> None:
    made = entry(details={"a": 1})
    assert hash(made) == hash(entry(details={"a": 1}))
    assert copy.deepcopy(made) == made
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        made.reason = "other"  # type: ignore[misc]
    assert "ab" * 32 in repr(made.stored_as(1, b"\xab" * 32))


@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_bytes_of_anything_else_are_an_integrity_error(stored: bytes) -> None:
    with pytest.raises(AuditIntegrityError):
        entry_from_bytes(stored, b"")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"[1,", b"[2,"),
        (b"[1,7,", b"[1, 7,"),
        (b"[1,7,", b"[1,7.0,"),
        (b"[1,7,", b"[true,7,"),
        (b"{}]", b"[]]"),
        (b"{}]", b"1]"),
        (b"{}]", b"{}] "),
        (b'"lifecycle"', b"3"),
        (b'"lifecycle"', b'"life\\u0063ycle"'),
        (b"1770091506789012", b"99999999999999999999"),
        (b"1770091506789012", b"1e3"),
        (b"{}]", b'{},""]'),
    ],
)
def test_bytes_that_are_not_quite_canonical_are_an_integrity_error(old: bytes, new: bytes) -> None:
    stored = canonical_bytes(entry(seq=7))
    assert old in stored
    with pytest.raises(AuditIntegrityError):
        entry_from_bytes(stored.replace(old, new), b"")


def test_a_filter_without_conditions_takes_everything() -> None:
    assert AuditFilter().takes(entry())


@pytest.mark.parametrize(
    "query",
    [
        AuditFilter(action="other"),
        AuditFilter(plugin="other"),
        AuditFilter(result=""),
        AuditFilter(capability="kv.*"),
        AuditFilter(since=NOW + timedelta(microseconds=1)),
        AuditFilter(until=NOW - timedelta(microseconds=1)),
        AuditFilter(after_seq=3),
    ],
)
def test_one_condition_that_does_not_fit_is_enough(query: AuditFilter) -> None:
    assert not query.takes(entry(seq=3, plugin="p", result="denied", capability="messages.send"))


def test_both_ends_of_the_time_span_belong_to_it() -> None:
    assert AuditFilter(since=NOW, until=NOW).takes(entry())


def test_a_filter_for_strange_text_finds_it_escaped() -> None:
    assert AuditFilter(user_id="a\x1b").takes(entry(user_id="a\x1b"))


def test_a_filter_pattern_that_is_malformed_is_refused() -> None:
    with pytest.raises(InvalidCapabilityError):
        AuditFilter(capability="a..b")


def test_a_capability_over_the_bounds_is_matched_by_no_pattern() -> None:
    assert not AuditFilter(capability="*").takes(entry(capability=".".join("a" * 40)))


def test_a_negative_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="limit"):
        AuditFilter(limit=-1)
