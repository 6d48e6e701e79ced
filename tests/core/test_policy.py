"""The decision: the order of the reasons, what holds for any sets, and the memo."""

from typing import cast

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core import policy as module
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.policy import (
    MEMO_LENGTH_MAX,
    CheckRequest,
    DenyReason,
    Matched,
    Policy,
    Verdict,
    decide,
    is_plugin_name,
)

EVERYTHING = CapabilitySet("*")
NOTHING = CapabilitySet()

ODD_TEXTS = [
    "",
    ".",
    "a..b",
    "kv.\ud800",
    "\udcff",
    "kv./x\udc80",
    "kv.get\x00",
    "kv." * 40 + "x",
    "k" * 5000,
    "kv.g*t",
    "кv.get",
]


class Liar(str):
    """A text whose hash and equality are another's."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("kv.get")

    def __str__(self) -> str:
        return "kv.get"


class Impostor:
    """No text at all, but it says so."""

    __class__ = str  # type: ignore[assignment]

    def __hash__(self) -> int:
        return hash("kv.get")

    def __eq__(self, other: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("sets", "reason", "matched"),
    [
        # Each row lacks everything from some question on, so the first that fails is told.
        ((["*"], [], ["kv.*"], ["kv.get"]), "ok", ("*", None, "kv.*", "kv.get")),
        (([], ["*"], [], []), "plugin_allow_missing", (None, None, None, None)),
        ((["kv.*"], ["kv.g*"], [], []), "plugin_deny_match", ("kv.*", "kv.g*", None, None)),
        ((["kv.*"], ["kv.set"], [], []), "workspace_allow_missing", ("kv.*", None, None, None)),
        ((["kv.*"], [], ["*"], []), "user_permission_missing", ("kv.*", None, "*", None)),
        ((["exec.*"], [], ["*"], ["*"]), "plugin_allow_missing", (None, None, None, None)),
        ((["*"], [], ["exec.*"], ["*"]), "workspace_allow_missing", ("*", None, None, None)),
        ((["*"], [], ["*"], ["exec.*"]), "user_permission_missing", ("*", None, "*", None)),
    ],
)
def test_the_first_question_that_fails_is_the_reason(
    sets: tuple[list[str], ...], reason: str, matched: tuple[str | None, ...]
) -> None:
    verdict = Policy(*(CapabilitySet(*patterns) for patterns in sets)).decide("kv.get")
    assert verdict == Verdict(DenyReason(reason), Matched(*matched))
    assert verdict.allowed is (reason == "ok")


def test_the_reasons_are_the_words_of_the_specification() -> None:
    assert [reason.value for reason in DenyReason] == [
        "ok",
        "plugin_not_registered",
        "plugin_allow_missing",
        "plugin_deny_match",
        "workspace_allow_missing",
        "user_permission_missing",
        "invalid_request",
    ]


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_what_is_no_capability_is_denied_even_where_everything_is_allowed(text: str) -> None:
    policy = Policy(EVERYTHING, NOTHING, EVERYTHING, EVERYTHING)
    assert policy.decide(text) == Verdict(DenyReason.INVALID_REQUEST, Matched())
    assert not policy.decide(text).allowed
    assert not policy._memo


@pytest.mark.parametrize("thing", [None, 5, b"kv.get", ["kv.get"], object(), Impostor])
def test_what_is_no_text_is_denied(thing: object) -> None:
    policy = Policy(EVERYTHING, NOTHING, EVERYTHING, EVERYTHING)
    policy.decide("kv.get")
    if thing is Impostor:  # made here, since it even takes pytest in
        thing = Impostor()
        assert isinstance(thing, str)
        assert thing not in EVERYTHING
        assert not is_plugin_name(thing)
    assert policy.decide(cast("str", thing)).reason is DenyReason.INVALID_REQUEST


def test_a_lying_text_gets_the_verdict_of_its_characters() -> None:
    policy = Policy(CapabilitySet("kv.*"), NOTHING, EVERYTHING, EVERYTHING)
    assert policy.decide("kv.get").allowed
    assert policy.decide(Liar("exec.run")).reason is DenyReason.PLUGIN_ALLOW_MISSING
    assert policy.decide("kv.get").allowed
    assert policy.decide(Liar("kv.set")).allowed
    assert set(map(type, policy._memo)) == {str}
    assert sorted(policy._memo) == ["exec.run", "kv.get", "kv.set"]


def test_an_enum_member_is_a_text_like_any_other() -> None:
    policy = Policy(CapabilitySet("ok"), NOTHING, EVERYTHING, EVERYTHING)
    assert policy.decide(DenyReason.OK).allowed


def test_the_memo_answers_with_the_same_object_and_does_not_grow_beyond_its_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MEMO_SIZE", 8)
    policy = Policy(CapabilitySet("*", *"abc"), NOTHING, EVERYTHING, EVERYTHING)
    assert policy.decide("kv.get") is policy.decide("kv.get")
    assert policy.decide("kv.get") is policy.decide("kv.set")
    for index in range(100):
        assert policy.decide(f"kv.n{index}").allowed
        assert len(policy._memo) <= 8
    policy = Policy(CapabilitySet(*(f"n{i}" for i in range(50))), NOTHING, EVERYTHING, EVERYTHING)
    for index in range(50):
        assert policy.decide(f"n{index}").allowed
        assert len(policy._verdicts) <= 8


def test_a_long_capability_is_decided_but_not_remembered() -> None:
    policy = Policy(EVERYTHING, NOTHING, EVERYTHING, EVERYTHING)
    assert policy.decide("a" * MEMO_LENGTH_MAX).allowed
    assert policy.decide("a" * (MEMO_LENGTH_MAX + 1)).allowed
    assert list(policy._memo) == ["a" * MEMO_LENGTH_MAX]


# --- Whole requests


def request(plugin: str = "echo", capability: str = "kv.get") -> CheckRequest:
    return CheckRequest(plugin, capability, "ws", EVERYTHING, CapabilitySet("kv.get"))


def test_a_request_may_be_written_by_position_or_by_keyword() -> None:
    assert request() == CheckRequest(
        plugin="echo",
        capability="kv.get",
        workspace_id="ws",
        workspace_allow=EVERYTHING,
        user_permissions=CapabilitySet("kv.get"),
        user_id="",
        session_id="",
        generation=None,
        actor="",
    )
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request().plugin = "other"  # type: ignore[misc]


def test_a_whole_request_is_decided_like_its_capability() -> None:
    assert decide(request(), EVERYTHING, NOTHING).allowed
    assert decide(request(), NOTHING, NOTHING).reason is DenyReason.PLUGIN_ALLOW_MISSING
    assert decide(request(), EVERYTHING, EVERYTHING).reason is DenyReason.PLUGIN_DENY_MATCH


@pytest.mark.parametrize("sets", [(None, None), (EVERYTHING, None), (None, NOTHING)])
def test_a_plugin_without_its_sets_is_not_registered(
    sets: tuple[CapabilitySet | None, CapabilitySet | None],
) -> None:
    assert decide(request(), *sets).reason is DenyReason.PLUGIN_NOT_REGISTERED


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("a", True),
        ("telegram-channel_2.x", True),
        ("9", True),
        ("a" * 64, True),
        ("a" * 65, False),
        ("", False),
        ("A", False),
        ("-a", False),
        (".a", False),
        ("a\n", False),
        ("a/b", False),
        ("\ud800", False),
        (None, False),
    ],
)
def test_a_malformed_plugin_name_is_an_invalid_request(*, name: str, fine: bool) -> None:
    assert is_plugin_name(name) is fine
    reason = decide(request(plugin=name), EVERYTHING, NOTHING).reason
    assert reason is (DenyReason.OK if fine else DenyReason.INVALID_REQUEST)


# --- What holds for any sets

PATTERNS = st.sampled_from(
    ["*", "a", "b", "a.*", "*.b", "a.b", "a*.*", "*.b*", "a.*.b", "f./*", "f./a", "f./a/*", "f.*"]
)
SETS = st.frozensets(PATTERNS, max_size=4)
FOUR_SETS = st.tuples(SETS, SETS, SETS, SETS)
CAPABILITIES = st.sampled_from(
    ["a", "b", "a.b", "a.c", "ab.b", "a.x.b", "c.b", "f./", "f./a", "f./a/b", "f.a", "a..b", "*"]
)


def policy_of(sets: tuple[frozenset[str], ...]) -> Policy:
    return Policy(*(CapabilitySet(*patterns) for patterns in sets))


def with_pattern(
    sets: tuple[frozenset[str], ...], place: int, pattern: str
) -> tuple[frozenset[str], ...]:
    return (*sets[:place], sets[place] | {pattern}, *sets[place + 1 :])


@given(FOUR_SETS, CAPABILITIES, PATTERNS, st.sampled_from([0, 2, 3]))
def test_a_further_allow_never_denies(
    sets: tuple[frozenset[str], ...], capability: str, pattern: str, place: int
) -> None:
    if policy_of(sets).decide(capability).allowed:
        assert policy_of(with_pattern(sets, place, pattern)).decide(capability).allowed


@given(FOUR_SETS, CAPABILITIES, PATTERNS)
def test_a_further_deny_never_allows(
    sets: tuple[frozenset[str], ...], capability: str, pattern: str
) -> None:
    if not policy_of(sets).decide(capability).allowed:
        assert not policy_of(with_pattern(sets, 1, pattern)).decide(capability).allowed


@given(FOUR_SETS, CAPABILITIES)
def test_allowed_is_just_in_three_sets_and_not_in_the_fourth(
    sets: tuple[frozenset[str], ...], capability: str
) -> None:
    allow, deny, workspace, user = (CapabilitySet(*patterns) for patterns in sets)
    expected = all(
        (capability in allow, capability not in deny, capability in workspace, capability in user)
    )
    verdict = policy_of(sets).decide(capability)
    assert verdict.allowed is expected
    if expected:
        assert verdict.matched == Matched(
            allow.matching(capability),
            None,
            workspace.matching(capability),
            user.matching(capability),
        )


@given(FOUR_SETS, st.lists(CAPABILITIES, max_size=40), st.integers(1, 4))
def test_the_memo_agrees_with_a_fresh_decision(
    sets: tuple[frozenset[str], ...], capabilities: list[str], memo_size: int
) -> None:
    policy = policy_of(sets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MEMO_SIZE", memo_size)
        for capability in capabilities:
            assert policy.decide(capability) == policy_of(sets).decide(capability)


@given(st.text() | st.text(st.sampled_from("a.*/\x00\ud800é")), FOUR_SETS)
def test_no_text_makes_a_decision_raise(text: str, sets: tuple[frozenset[str], ...]) -> None:
    policy = policy_of(sets)
    assert policy.decide(text) == policy.decide(text)
    decide(request(plugin=text, capability=text), EVERYTHING, NOTHING)
