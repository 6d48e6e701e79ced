"""Each invariant of a running runtime holds for a real one, and each can be seen to break."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from sigil_actors import (
    AuditEntry,
    MemoryAuditStore,
    PluginCrashedError,
    PluginState,
    Runtime,
    open_runtime,
)
from sigil_actors.core.calls import HealthStatus
from sigil_actors.core.lifecycle import PluginInstance
from sigil_actors.testing import (
    Check,
    FakePlugin,
    FakeTier,
    Hang,
    InvariantError,
    after_every_step,
    calls_recorded_first,
    calls_within_bounds,
    fake_manifest,
    lease_problems,
    no_task_left,
    one_instance_each,
    one_serves_each,
    settled_problems,
    states_in_order,
    status_problems,
)
from tests.runtime.world import alice
from tests.testing.test_fake_faults import echo, opened


@asynccontextmanager
async def running(tier: FakeTier, store: MemoryAuditStore | None = None) -> AsyncGenerator[Runtime]:
    async with open_runtime(
        manifests=[(fake_manifest("fake"), None)],
        audit_store=store or MemoryAuditStore(),
        tiers=[tier],
    ) as runtime:
        await runtime.wait_until_running("fake")
        yield runtime


async def test_a_real_runtime_keeps_to_all_of_them(autojump_clock: MockClock) -> None:
    store, tier = MemoryAuditStore(), FakeTier({"fake": FakePlugin(calls_at_once=2)})
    with no_task_left():
        async with running(tier, store) as runtime:
            with after_every_step(
                calls_recorded_first(tier, lambda: store.entries),
                one_instance_each(tier),
                calls_within_bounds(tier),
                states_in_order(runtime),
            ):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(alice(runtime).execute_text, "fake", "echo")
                tier.open_sessions[0].crash("as asked")
                await trio.sleep(100)
                await runtime.stop("fake")
                await runtime.start("fake")
            assert len(tier.calls) == 20
            assert lease_problems(runtime) == []
            assert settled_problems(runtime, tier) == []
            await trio.sleep(1)
            assert status_problems(runtime, store.entries) == []


async def found_by(check: Check, steps: int = 1) -> str:
    """Return what a check finds in the next steps."""
    with pytest.raises(InvariantError) as caught, after_every_step(check):
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
    return str(caught.value)


async def test_a_call_that_is_not_recorded_is_found(autojump_clock: MockClock) -> None:
    entries: list[AuditEntry] = []
    async with running(FakeTier(), store := MemoryAuditStore()) as runtime:
        await alice(runtime).execute_text("fake", "echo")
    entries.extend(store.entries)
    tier = FakeTier()
    check = calls_recorded_first(tier, lambda: entries)
    async with opened(tier) as session:
        await echo(session)
        assert check() is None
        await echo(session)
        assert "isn't recorded as allowed" in await found_by(check)
        assert check() is None, "told once"


async def test_a_denied_call_that_runs_is_found(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with opened(tier) as session:
        await echo(session)
    assert calls_recorded_first(tier, lambda: ())() is not None


async def test_two_instances_of_one_plugin_are_found_unless_it_swaps(
    autojump_clock: MockClock,
) -> None:
    tier = FakeTier()
    async with opened(tier), opened(tier, generation=2):
        assert "fake: 2 instances" in await found_by(one_instance_each(tier))
        assert one_instance_each(tier, swapping=lambda name: name == "fake")() is None
        async with opened(tier, generation=3):
            assert "3 instances" in str(one_instance_each(tier, swapping=lambda _: True)())


async def test_too_many_calls_at_once_are_found(autojump_clock: MockClock) -> None:
    plugin = FakePlugin(calls_at_once=1, on_call={1: Hang(), 2: Hang()})
    tier = FakeTier({"fake": plugin})
    async with opened(tier) as session, trio.open_nursery() as nursery:
        nursery.start_soon(echo, session)
        await trio.testing.wait_all_tasks_blocked()
        assert calls_within_bounds(tier)() is None
        nursery.start_soon(echo, session)
        await trio.testing.wait_all_tasks_blocked()
        assert "2 calls at once, 1 allowed" in await found_by(calls_within_bounds(tier))
        nursery.cancel_scope.cancel()


async def test_two_generations_that_serve_are_found(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with running(tier) as runtime:
        check = one_serves_each(runtime, tier)
        await runtime.reload("fake")
        assert check() is None
        await trio.testing.wait_all_tasks_blocked()
        roles = runtime._plugins.get("fake")._roles
        real, roles.candidate = roles.candidate, roles.current
        tier.open_sessions.append(tier.open_sessions[0])
        assert "generations [2, 2] live, [2, 2] serve" in str(check())
        tier.open_sessions.pop()
        roles.candidate = real


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ((1, PluginState.RUNNING), (1, PluginState.LOADING), "went from running to loading"),
        ((1, PluginState.ERROR), (1, PluginState.RUNNING), "went from error to running"),
        ((2, PluginState.STOPPED), (2, PluginState.DISCOVERED), "went from stopped to discovered"),
    ],
)
async def test_a_state_that_goes_back_is_found(
    autojump_clock: MockClock,
    then: tuple[int, PluginState],
    now: tuple[int, PluginState],
    said: str,
) -> None:
    async with running(FakeTier()) as runtime:
        deployment = runtime._plugins.get("fake")._roles.current
        assert deployment is not None
        real = deployment.life
        check = states_in_order(runtime)
        deployment.life = PluginInstance("fake", then[1], then[0])
        assert check() is None
        deployment.life = PluginInstance("fake", now[1], now[0])
        assert said in str(check())
        deployment.life = real


async def test_a_lease_that_is_left_is_found(autojump_clock: MockClock) -> None:
    tier = FakeTier({"fake": FakePlugin(on_call={1: Hang()})})
    async with running(tier) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(alice(runtime).execute_text, "fake", "echo")
        await trio.testing.wait_all_tasks_blocked()
        assert lease_problems(runtime) == ["fake: 1 leases left"]
        nursery.cancel_scope.cancel()


async def test_what_has_not_come_to_rest_is_found(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with running(tier) as runtime:
        tier.set_plugin("fake", FakePlugin(start_s=5))
        tier.open_sessions[0].crash("as asked")
        await trio.testing.wait_all_tasks_blocked()
        assert settled_problems(runtime, tier) == ["fake is error and still to be started again"]
        assert settled_problems(runtime, tier, besides={"fake"}) == []
        await trio.sleep(2)
        assert settled_problems(runtime, tier) == ["fake never settled: loading"]
        await trio.sleep(10)
        assert settled_problems(runtime, tier) == []


async def test_an_instance_that_nobody_looks_after_is_found(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with running(tier) as runtime:
        [session] = tier.open_sessions
        session.said = HealthStatus.UNHEALTHY
        assert "fake is ill" in settled_problems(runtime, tier)[0]
        session.said, session.unanswered = HealthStatus.HEALTHY, 4
        assert "fake is ill" in settled_problems(runtime, tier)[0]
        assert settled_problems(runtime, tier, besides={"fake"}) == []
        session.unanswered = 0
        session.crash("as asked")
        assert settled_problems(runtime, tier) == ["fake has crashed, and nobody noticed"]


async def test_a_log_that_lags_behind_is_found(autojump_clock: MockClock) -> None:
    async with running(FakeTier(), store := MemoryAuditStore()) as runtime:
        await trio.sleep(1)
        assert status_problems(runtime, store.entries) == []
        lagging = store.entries[:-1]
        assert status_problems(runtime, lagging) == ["fake is running, the log says loading"]
        assert status_problems(runtime, lagging, besides={"fake"}) == []


async def test_an_instance_too_many_is_found(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with running(tier) as runtime:
        async with opened(tier, generation=9):
            assert settled_problems(runtime, tier) == ["fake is running and has 2 instances"]
        await runtime.stop("fake")
        assert settled_problems(runtime, tier) == []
        async with opened(tier, generation=9):
            assert settled_problems(runtime, tier) == ["fake is stopped and has 1 instances"]


async def test_a_task_that_is_left_behind_is_found(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(InvariantError, match="1 tasks"):
            with no_task_left():
                nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()


async def test_a_crash_in_a_checked_block_is_still_a_crash(autojump_clock: MockClock) -> None:
    tier = FakeTier()
    async with opened(tier) as session:
        tier.open_sessions[0].crash("as asked")
        with pytest.raises(PluginCrashedError), after_every_step(one_instance_each(tier)):
            await echo(session)
