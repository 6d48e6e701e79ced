"""Restart planning: types, strategies, intensity, backoff."""

import math
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.restart import (
    JITTER_SHARE,
    RESTARTS_MAX,
    GiveUp,
    LeaveDown,
    PastRestart,
    Restart,
    RestartHistory,
    RestartPolicy,
    RestartType,
    Strategy,
    children_to_restart,
    plan_restart,
)

CHILDREN = ("log", "store", "web")


def crash(
    policy: RestartPolicy, history: RestartHistory = (), *, now: float = 0, jitter: float = 0
) -> Restart | GiveUp | LeaveDown:
    return plan_restart(policy, history, now=now, abnormal=True, jitter=jitter)


def crash_until_it_gives_up(
    policy: RestartPolicy, *, uptime_s: float, most: int = 50
) -> list[float]:
    """Return the delays of a child that crashes again and again after the same time."""
    delays: list[float] = []
    history: RestartHistory = ()
    now = 0.0
    while len(delays) < most:
        plan = crash(policy, history, now=now)
        if not isinstance(plan, Restart):
            return delays
        delays.append(plan.delay_s)
        history = plan.history
        now += plan.delay_s + uptime_s
    return delays


@pytest.mark.parametrize(
    ("kind", "abnormal", "restarted"),
    [
        (RestartType.PERMANENT, True, True),
        (RestartType.PERMANENT, False, True),
        (RestartType.TRANSIENT, True, True),
        (RestartType.TRANSIENT, False, False),
        (RestartType.TEMPORARY, True, False),
        (RestartType.TEMPORARY, False, False),
    ],
)
def test_the_restart_type_says_after_which_ends_a_child_comes_back(
    *, kind: RestartType, abnormal: bool, restarted: bool
) -> None:
    plan = plan_restart(RestartPolicy(type=kind), (), now=0, abnormal=abnormal, jitter=0)
    assert isinstance(plan, Restart) is restarted
    assert isinstance(plan, LeaveDown) is not restarted


def test_the_defaults_are_those_of_the_manifest() -> None:
    assert RestartPolicy() == RestartPolicy(RestartType.PERMANENT, 5, 60.0, 0.1, 30.0)
    assert RestartPolicy().problems() == ()


def test_so_many_restarts_within_the_period_are_fine_and_one_more_is_not() -> None:
    policy = RestartPolicy(max_restarts=5, period=60, backoff=0.1, backoff_max=30)
    delays = crash_until_it_gives_up(policy, uptime_s=1)
    assert delays == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6])


def test_an_intensity_of_nothing_gives_up_at_the_first_crash() -> None:
    assert crash(RestartPolicy(max_restarts=0)) == GiveUp(())


def test_giving_up_hands_back_the_restarts_that_did_not_help() -> None:
    history = (PastRestart(1, 1.1), PastRestart(2, 2.2))
    assert crash(RestartPolicy(max_restarts=2), history, now=3) == GiveUp(history)


def test_a_restart_at_the_very_edge_of_the_period_still_counts() -> None:
    policy = RestartPolicy(max_restarts=1, period=60)
    history = (PastRestart(10, 10.1),)
    assert isinstance(crash(policy, history, now=70), GiveUp)
    assert isinstance(crash(policy, history, now=70.0001), Restart)


def test_the_backoff_doubles_up_to_its_maximum() -> None:
    policy = RestartPolicy(max_restarts=8, period=1000, backoff=1, backoff_max=10)
    assert crash_until_it_gives_up(policy, uptime_s=0) == [1, 2, 4, 8, 10, 10, 10, 10]


def test_a_quiet_period_resets_the_backoff() -> None:
    policy = RestartPolicy(period=60, backoff=1, backoff_max=30)
    history = (PastRestart(0, 1), PastRestart(1, 3))
    assert crash(policy, history, now=63) == Restart(4, (*history, PastRestart(63, 67)))
    assert crash(policy, history, now=63.5) == Restart(1, (PastRestart(63.5, 64.5),))


def test_waiting_for_a_long_backoff_is_no_quiet_period() -> None:
    policy = RestartPolicy(max_restarts=5, period=10, backoff=4, backoff_max=100)
    assert crash_until_it_gives_up(policy, uptime_s=0, most=8) == [4, 8, 16, 32, 64, 100, 100, 100]


def test_a_slow_crasher_is_restarted_for_ever_with_the_longest_delay() -> None:
    policy = RestartPolicy(max_restarts=3, period=60, backoff=0.1, backoff_max=30)
    delays = crash_until_it_gives_up(policy, uptime_s=40, most=3000)
    assert len(delays) == 3000
    assert set(delays[20:]) == {30}


def test_jitter_adds_its_share() -> None:
    policy = RestartPolicy(backoff=1)
    plan = crash(policy, now=5, jitter=0.5)
    assert plan == Restart(1 + 0.5 * JITTER_SHARE, (PastRestart(5, 6 + 0.5 * JITTER_SHARE),))


@pytest.mark.parametrize(
    ("strategy", "failed", "children"),
    [
        (Strategy.ONE_FOR_ONE, "store", ("store",)),
        (Strategy.ONE_FOR_ALL, "store", ("log", "store", "web")),
        (Strategy.REST_FOR_ONE, "store", ("store", "web")),
        (Strategy.REST_FOR_ONE, "log", ("log", "store", "web")),
        (Strategy.REST_FOR_ONE, "web", ("web",)),
        (Strategy.ONE_FOR_ALL, "stranger", ()),
    ],
)
def test_the_strategy_says_who_is_started_again(
    strategy: Strategy, failed: str, children: tuple[str, ...]
) -> None:
    assert children_to_restart(strategy, CHILDREN, failed) == children
    plan = plan_restart(
        RestartPolicy(),
        (),
        now=0,
        abnormal=True,
        jitter=0,
        strategy=strategy,
        children=CHILDREN,
        failed=failed,
    )
    assert isinstance(plan, Restart)
    assert plan.children == children


def test_the_words_are_those_of_the_manifest() -> None:
    assert [kind.value for kind in RestartType] == ["permanent", "transient", "temporary"]
    assert [strategy.value for strategy in Strategy] == [
        "one_for_one",
        "one_for_all",
        "rest_for_one",
    ]


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        ({"max_restarts": -1}, ["max_restarts"]),
        ({"max_restarts": RESTARTS_MAX}, []),
        ({"max_restarts": RESTARTS_MAX + 1}, ["max_restarts"]),
        ({"period": 0.0}, ["period"]),
        ({"period": math.inf}, ["period"]),
        ({"period": math.nan}, ["period"]),
        ({"backoff": 0.0}, []),
        ({"backoff": -1.0}, ["backoff"]),
        ({"backoff": math.nan}, ["backoff", "backoff_max"]),
        ({"backoff": 31.0}, ["backoff_max"]),
        ({"backoff_max": math.inf}, ["backoff_max"]),
        ({"max_restarts": -1, "period": -1.0}, ["max_restarts", "period"]),
    ],
)
def test_a_policy_names_what_is_wrong_with_it(change: dict[str, Any], fields: list[str]) -> None:
    policy = attrs.evolve(RestartPolicy(), **change)
    assert [field for field, _ in policy.problems()] == fields
    assert all(what.startswith("must ") for _, what in policy.problems())


POLICIES = st.builds(
    RestartPolicy,
    type=st.sampled_from(RestartType),
    max_restarts=st.integers(0, 6) | st.integers(0, RESTARTS_MAX),
    period=st.floats(0.001, 1000),
    backoff=st.floats(0, 10),
    backoff_max=st.floats(10, 100),
)
JITTERS = st.floats(0, 1, exclude_max=True)
GAPS = st.lists(st.floats(0, 100), max_size=12)


def history_of(gaps: list[float], *, delay_s: float = 0.5) -> RestartHistory:
    ends = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    return tuple(PastRestart(end, end + delay_s) for end in ends)


@given(POLICIES, GAPS, st.floats(0, 200), JITTERS)
def test_a_delay_lies_between_the_backoff_and_its_maximum_with_jitter(
    policy: RestartPolicy, gaps: list[float], after: float, jitter: float
) -> None:
    history = history_of(gaps)
    plan = crash(policy, history, now=sum(gaps) + after, jitter=jitter)
    if isinstance(plan, Restart):
        assert policy.backoff <= plan.delay_s <= policy.backoff_max * (1 + JITTER_SHARE)


@given(POLICIES, GAPS, st.floats(0, 200), st.data())
def test_a_further_restart_in_the_history_never_turns_giving_up_into_a_restart(
    policy: RestartPolicy, gaps: list[float], after: float, data: st.DataObject
) -> None:
    history = history_of(gaps)
    now = sum(gaps) + after
    if isinstance(crash(policy, history, now=now), GiveUp):
        end = data.draw(st.floats(0, now))
        more = sorted([*history, PastRestart(end, end + 0.5)], key=lambda past: past.ended_at)
        assert isinstance(crash(policy, tuple(more), now=now), GiveUp)


@given(POLICIES, GAPS, st.floats(0, 200), st.integers(0, 10))
def test_a_larger_intensity_never_gives_up_earlier(
    policy: RestartPolicy, gaps: list[float], after: float, more: int
) -> None:
    history, now = history_of(gaps), sum(gaps) + after
    patient = attrs.evolve(policy, max_restarts=policy.max_restarts + more)
    if isinstance(crash(policy, history, now=now), Restart):
        assert isinstance(crash(patient, history, now=now), Restart)


@given(POLICIES, st.lists(st.floats(0, 5), min_size=1, max_size=40), JITTERS)
def test_never_more_restarts_than_the_intensity_within_any_period(
    policy: RestartPolicy, uptimes: list[float], jitter: float
) -> None:
    now = 0.0
    history: RestartHistory = ()
    restarts: list[float] = []
    for uptime_s in uptimes:
        now += uptime_s
        plan = crash(policy, history, now=now, jitter=jitter)
        if not isinstance(plan, Restart):
            break
        restarts.append(now)
        history = plan.history
        now += plan.delay_s
    for last in restarts:
        within = [then for then in restarts if last - policy.period <= then <= last]
        assert len(within) <= policy.max_restarts


@pytest.mark.parametrize("max_restarts", [1, 10, RESTARTS_MAX, 10**9])
def test_the_history_is_bounded_and_the_intensity_with_it(max_restarts: int) -> None:
    policy = RestartPolicy(max_restarts=max_restarts, period=1, backoff=0, backoff_max=0)
    slow: RestartHistory = ()
    for index in range(3 * RESTARTS_MAX):
        plan = crash(policy, slow, now=index * 0.9)
        if not isinstance(plan, Restart):
            break
        slow = plan.history
        assert len(slow) <= RESTARTS_MAX
    quick = tuple(PastRestart(0, 0) for _ in range(RESTARTS_MAX))
    assert isinstance(crash(policy, quick), GiveUp)


def test_a_very_long_history_keeps_the_longest_delay_and_forgets_the_oldest() -> None:
    policy = RestartPolicy(max_restarts=2, period=1, backoff=0.001, backoff_max=1000)
    history = tuple(PastRestart(index, index + 0.5) for index in range(64))
    plan = crash(policy, history, now=64.2)
    assert isinstance(plan, Restart)
    assert plan.delay_s == 1000
    assert plan.history == (*history[1:], PastRestart(64.2, 1064.2))
