"""What is remembered of a plugin's versions, and which of them are held."""

import json

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.approvals import (
    APPROVED_MAX,
    VERSION_TEXT_MAX,
    ApprovalsFormatError,
    PluginApprovals,
    approvals_from_json,
    approvals_to_json,
    held_for,
    with_accepted,
    with_approved,
    without_approvals,
)
from sigil_actors.core.authority import authority_of
from sigil_actors.core.execution import PluginType, WasmExecution
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.manifest import Manifest


def version(*capabilities: str) -> JsonObject:
    return authority_of(
        Manifest(
            name="p",
            version="1.0.0",
            type=PluginType.TOOL,
            execution=WasmExecution(),
            capabilities=capabilities,
        )
    )


def sha(number: int) -> str:
    return f"{number:064x}"


NARROW, WIDE = version("kv.get"), version("kv.*")
NOTHING = PluginApprovals()
RAN_NARROW = with_accepted(NOTHING, NARROW, "1.0.0", sha(1))


def test_a_version_runs_where_none_ran_before() -> None:
    assert held_for(NOTHING, WIDE, sha(1)) == ()


def test_a_version_that_isnt_wider_runs_and_a_wider_one_is_held() -> None:
    assert held_for(RAN_NARROW, NARROW, sha(2)) == ()
    assert [one.text() for one in held_for(RAN_NARROW, WIDE, sha(2))] == ["capabilities: adds kv.*"]


def test_an_approval_lets_that_very_snapshot_run_and_no_other() -> None:
    approvals = with_approved(RAN_NARROW, sha(2))
    assert held_for(approvals, WIDE, sha(2)) == ()
    assert held_for(approvals, WIDE, sha(3))
    assert held_for(approvals, WIDE, "")


def test_having_run_last_is_no_reason_to_let_a_wider_authority_run() -> None:
    assert held_for(RAN_NARROW, WIDE, sha(1))


def test_what_a_narrower_version_gave_up_is_wider_again_later_unless_it_was_approved() -> None:
    ran_wide = with_accepted(NOTHING, WIDE, "1.0.0", sha(1))
    ran_narrow = with_accepted(ran_wide, NARROW, "1.1.0", sha(2))
    assert held_for(ran_narrow, WIDE, sha(3))
    assert held_for(with_approved(ran_narrow, sha(3)), WIDE, sha(3)) == ()


def test_accepting_keeps_what_was_approved() -> None:
    approved = with_approved(with_approved(RAN_NARROW, sha(2)), sha(3))
    assert with_accepted(approved, WIDE, "2.0.0", sha(2)) == PluginApprovals(
        accepted=WIDE, accepted_version="2.0.0", accepted_sha256=sha(2), approved=(sha(2), sha(3))
    )
    back = with_accepted(approved, NARROW, "1.0.0", sha(1))
    assert held_for(back, WIDE, sha(2)) == ()
    assert held_for(back, WIDE, sha(4))


def test_what_was_approved_can_be_taken_back() -> None:
    approved = with_approved(with_approved(RAN_NARROW, sha(2)), sha(3))
    assert without_approvals(approved) == RAN_NARROW
    assert without_approvals(NOTHING) == NOTHING


def test_the_newest_approvals_are_kept_each_once() -> None:
    approvals = NOTHING
    for number in range(APPROVED_MAX + 3):
        approvals = with_approved(approvals, sha(number))
    approvals = with_approved(approvals, sha(5))
    assert len(approvals.approved) == APPROVED_MAX
    assert approvals.approved[-2:] == (sha(APPROVED_MAX + 2), sha(5))
    assert approvals.approved[0] == sha(3)
    assert approvals_from_json(approvals_to_json(approvals)) == approvals


@pytest.mark.parametrize(
    "bad", ["", "a" * 63, "A" * 64, "a" * 64 + "\n", "../" + "a" * 61, "\u0664" * 64]
)
def test_what_is_no_hash_cant_be_approved(bad: str) -> None:
    with pytest.raises(ApprovalsFormatError, match="64 lower-case"):
        with_approved(NOTHING, bad)
    if bad:
        with pytest.raises(ApprovalsFormatError, match="64 lower-case"):
            with_accepted(NOTHING, NARROW, "1.0.0", bad)


def test_a_version_without_a_folder_is_accepted_without_a_hash() -> None:
    accepted = with_accepted(NOTHING, NARROW, "1.0.0", "")
    assert approvals_from_json(approvals_to_json(accepted)) == accepted
    assert held_for(accepted, WIDE, "")


def test_a_version_text_without_end_is_refused() -> None:
    with pytest.raises(ApprovalsFormatError, match="version"):
        with_accepted(NOTHING, NARROW, "1" * (VERSION_TEXT_MAX + 1), "")


GOOD = approvals_to_json(with_approved(RAN_NARROW, sha(2)))


@pytest.mark.parametrize(
    "bad",
    [
        None,
        [],
        "approved",
        {},
        {**GOOD, "more": 1},
        {key: value for key, value in GOOD.items() if key != "approved"},
        {**GOOD, "accepted": []},
        {**GOOD, "accepted": None},
        {**GOOD, "accepted": None, "accepted_version": ""},
        {**GOOD, "accepted": None, "accepted_sha256": ""},
        {**GOOD, "accepted_version": 1},
        {**GOOD, "accepted_version": "1" * 300},
        {**GOOD, "accepted_sha256": "x"},
        {**GOOD, "accepted_sha256": None},
        {**GOOD, "accepted_sha256": 0},
        {**GOOD, "approved": sha(1)},
        {**GOOD, "approved": ""},
        {**GOOD, "approved": {sha(1): 1}},
        {**GOOD, "approved": [""]},
        {**GOOD, "approved": [1]},
        {**GOOD, "approved": [[sha(1)]]},
        {**GOOD, "approved": [sha(1), sha(1)]},
        {**GOOD, "approved": [sha(number) for number in range(APPROVED_MAX + 1)]},
    ],
)
def test_anything_but_a_record_is_refused(bad: JsonValue) -> None:
    with pytest.raises(ApprovalsFormatError):
        approvals_from_json(bad)


def test_a_record_whose_authority_is_rubbish_holds_every_version() -> None:
    approvals = approvals_from_json({**GOOD, "accepted": {"rubbish": 1}})
    assert held_for(approvals, NARROW, sha(3))
    assert held_for(approvals_from_json({**GOOD, "accepted": {}}), NARROW, sha(3))


hashes = st.integers(0, 40).map(sha)
steps = st.lists(
    st.tuples(st.sampled_from([NARROW, WIDE, version()]), hashes) | hashes, max_size=40
)


@given(steps=steps)
def test_every_record_survives_json(steps: list[tuple[JsonObject, str] | str]) -> None:
    approvals = NOTHING
    for step in steps:
        approvals = (
            with_approved(approvals, step)
            if isinstance(step, str)
            else with_accepted(approvals, step[0], "1.0.0", step[1])
        )
    assert approvals_from_json(json.loads(json.dumps(approvals_to_json(approvals)))) == approvals


@given(first=hashes, snapshot=hashes, approved=st.lists(hashes))
def test_a_wider_version_runs_only_if_its_snapshot_was_approved(
    first: str, snapshot: str, approved: list[str]
) -> None:
    approvals = with_accepted(NOTHING, NARROW, "1.0.0", first)
    for one in approved:
        approvals = with_approved(approvals, one)
    runs = not held_for(approvals, WIDE, snapshot)
    assert runs == (snapshot in approvals.approved)
    assert not runs or snapshot in approved
    assert held_for(attrs.evolve(approvals, approved=()), WIDE, snapshot)
