"""A plan says what goes wrong, makes it go wrong, and reads well."""

import random

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from sigil_actors import (
    AuditUnavailableError,
    MemoryAuditStore,
    PluginCallError,
    PluginCrashedError,
    PluginStartError,
)
from sigil_actors.core.calls import Health, HealthStatus
from sigil_actors.testing import FakePlugin, FaultPlan, Hang
from sigil_actors.testing.audit_store_contract import example_entry
from sigil_actors.testing.fault_plan import AuditFault, PluginFault
from tests.testing.test_fake_faults import echo, opened

UNHEALTHY = Health(HealthStatus.UNHEALTHY)

EVERYTHING = (
    FaultPlan()
    .fail_start("fake", 1)
    .crash_on_start("fake", 2)
    .hang_start("other", 1)
    .slow_start("other", 2, 3.5)
    .fail_call("fake", 1)
    .crash_on_call("fake", 2)
    .hang_call("other", 1)
    .slow_call("other", 2, 1)
    .answer_health("fake", 2, UNHEALTHY)
    .answer_health("fake", 3, Hang())
    .never_shut_down("fake")
    .slow_shutdown("other", 2)
    .slow_close("other", 1)
    .fail_append(2)
    .hang_append(5)
    .tear_append(6)
    .fail_opening(3)
    .fill_disk(after_appends=9)
    .slow_audit(0.5)
)


def test_it_reads_well() -> None:
    assert EVERYTHING.describe().splitlines() == [
        "fake: start 1 fails",
        "fake: start 2 crashes",
        "other: start 1 hangs",
        "other: start 2 takes 3.5 s",
        "fake: call 1 fails",
        "fake: call 2 crashes",
        "other: call 1 hangs",
        "other: call 2 takes 1 s",
        "fake: says that it is unhealthy to question 2",
        "fake: health 3 hangs",
        "fake: every shutdown hangs",
        "other: every shutdown takes 2 s",
        "other: every close takes 1 s",
        "audit log: append 2 fails",
        "audit log: append 5 hangs",
        "audit log: append 6 is torn",
        "audit log: opening 3 fails",
        "audit log: the disk is full from append 10 on",
        "audit log: every append takes 0.5 s",
    ]
    assert FaultPlan().describe() == "no faults"


def test_of_two_faults_at_one_place_it_says_only_the_one_that_counts() -> None:
    plan = FaultPlan().never_shut_down("a").never_shut_down("b").slow_shutdown("a", 0.027)
    plan = plan.fail_call("a", 1).hang_call("a", 1).slow_audit(1).slow_audit(2)
    assert plan.describe().splitlines() == [
        "b: every shutdown hangs",
        "a: every shutdown takes 0.027 s",
        "a: call 1 hangs",
        "audit log: every append takes 2 s",
    ]


async def test_its_tier_does_what_it_says(autojump_clock: MockClock) -> None:
    tier = EVERYTHING.tier()
    with pytest.raises(PluginStartError):
        async with opened(tier):
            pass
    async with opened(tier) as session:
        with pytest.raises(PluginCrashedError):
            await session.init({})
    async with opened(tier) as session:
        await session.init({})
        assert await session.health() == Health(HealthStatus.HEALTHY)
        assert await session.health() == UNHEALTHY
        with trio.move_on_after(100) as scope:
            await session.health()
        assert scope.cancelled_caught
        with pytest.raises(PluginCallError):
            await echo(session)
        assert not await session.shutdown(grace_s=1)
        with pytest.raises(PluginCrashedError):
            await echo(session)


async def test_a_plan_adds_to_what_a_plugin_does_by_itself(autojump_clock: MockClock) -> None:
    plugin = FakePlugin(health=Health(HealthStatus.DEGRADED), calls_at_once=3)
    tier = FaultPlan().answer_health("fake", 2, UNHEALTHY).tier({"fake": plugin})
    async with opened(tier) as session:
        assert session.calls_at_once == 3
        said = [(await session.health()).status for _ in range(3)]
        assert said == ["degraded", "unhealthy", "degraded"]


async def test_its_store_does_what_it_says(autojump_clock: MockClock) -> None:
    inner = MemoryAuditStore()
    plan = FaultPlan().fail_append(2).tear_append(4).fail_opening(2).fill_disk(after_appends=4)
    store = plan.slow_audit(2).audit_store(inner)
    pair = [example_entry(1), example_entry(2)]
    async with store:
        await store.append(pair)
        assert trio.current_time() == pytest.approx(2)
        with pytest.raises(AuditUnavailableError, match="append 2 fails"):
            await store.append(pair)
    with pytest.raises(AuditUnavailableError, match="opening 2"):
        await store.__aenter__()
    async with store:
        await store.append(pair)
        with pytest.raises(AuditUnavailableError, match="torn"):
            await store.append(pair)
    async with store:
        with pytest.raises(AuditUnavailableError, match="disk is full"):
            await store.append(pair)
    assert inner.last_seq == 5


@given(seed=st.integers(), faults_max=st.integers(0, 30))
def test_a_drawn_plan_is_the_same_for_the_same_seed_and_can_be_used(
    seed: int, faults_max: int
) -> None:
    def draw() -> FaultPlan:
        return FaultPlan.draw(random.Random(seed), plugins=["a", "b"], faults_max=faults_max)

    plan = draw()
    assert plan == draw()
    assert len(plan.faults) <= faults_max
    assert len(plan.describe().splitlines()) == max(1, len(plan.faults))
    plan.tier()
    plan.audit_store(MemoryAuditStore())


def test_draws_reach_every_fault_but_those_after_which_nothing_recovers() -> None:
    rng = random.Random(1)
    drawn = [fault for _ in range(500) for fault in FaultPlan.draw(rng, plugins=["a", "b"]).faults]
    plugins = {
        (one.what, type(one.fault).__name__) for one in drawn if isinstance(one, PluginFault)
    }
    assert {what for what, _ in plugins} == {"start", "call", "health", "shutdown", "close"}
    for what in ("start", "call", "health"):
        assert {kind for of, kind in plugins if of == what} >= {"Fail", "Crash", "Hang", "Slow"}
    audit = {one.what for one in drawn if isinstance(one, AuditFault)}
    assert audit == {"fail", "opening", "slow"}


def test_what_may_not_fail_is_not_drawn() -> None:
    rng = random.Random(1)
    plans = [FaultPlan.draw(rng, plugins=["a"], audit=False) for _ in range(100)]
    assert all(isinstance(fault, PluginFault) for plan in plans for fault in plan.faults)
    plans = [FaultPlan.draw(rng, plugins=[]) for _ in range(100)]
    assert all(isinstance(fault, AuditFault) for plan in plans for fault in plan.faults)
