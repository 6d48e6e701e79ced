"""Health checks: what counts as a miss, what as a crash, and what only shows."""

from collections.abc import AsyncGenerator, Mapping

import attrs
import pytest
import trio
from trio.testing import MockClock

from sigil_actors import Manifest, PluginCrashedError, PluginState
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus
from sigil_actors.core.manifest import LifecyclePolicy
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing import FakePlugin, scripted_health
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow
from tests.runtime.world import World, manifest, open_world

NAME = "echo-tool"
INTERVAL_S = 10
UNHEALTHY = Health(HealthStatus.UNHEALTHY, "no database")
DEGRADED = Health(HealthStatus.DEGRADED, "one of two databases")


def watched(interval_s: float = INTERVAL_S) -> Manifest:
    policy = LifecyclePolicy(
        health_interval=interval_s, restart=RestartPolicy(backoff=100, backoff_max=100)
    )
    return attrs.evolve(manifest(), lifecycle=policy)


def answering(answers: Mapping[int, Health | Fault], *, at_once: int | None = None) -> FakePlugin:
    async def long(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        await trio.sleep(1000)
        yield "done"

    return FakePlugin(tools={"long": long}, health=scripted_health(answers), calls_at_once=at_once)


# The first question is asked while it is loaded, the second after one interval.


async def crashed_at(world: World) -> float:
    began = trio.current_time()
    async with world.runtime.events() as stream:
        async for event in stream:
            if event.state is PluginState.ERROR:
                return trio.current_time() - began
    raise AssertionError("it never crashed")


async def test_one_unhealthy_answer_is_a_crash(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({3: UNHEALTHY})}
    async with open_world(watched(), plugins=plugins) as world:
        assert await crashed_at(world) == pytest.approx(2 * INTERVAL_S)
        status = world.runtime.get(NAME)
        assert "no database" in status.reason
        assert "no database" in status.last_error
        assert status.restart_in_s is not None
        await world.runtime.wait_until_running(NAME)
        assert world.runtime.get(NAME).generation == 2


@pytest.mark.parametrize("miss", [Hang(), Fail("nonsense"), Slow(60)])
async def test_three_misses_in_a_row_are_a_crash(autojump_clock: MockClock, miss: Fault) -> None:
    plugins = {NAME: answering({2: miss, 3: miss, 4: miss})}
    async with open_world(watched(), plugins=plugins) as world:
        # Each miss that hangs takes the 5 s that an answer may take.
        took = await crashed_at(world)
        waited = 0 if isinstance(miss, Fail) else 5
        assert took == pytest.approx(3 * (INTERVAL_S + waited))
        assert "3 health checks" in world.runtime.get(NAME).reason


async def test_two_misses_and_an_answer_are_none(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({2: Hang(), 3: Hang(), 5: Hang(), 6: Hang()})}
    async with open_world(watched(), plugins=plugins) as world:
        await trio.sleep(20 * INTERVAL_S)
        assert world.runtime.get(NAME).generation == 1


async def test_degraded_is_shown_and_not_punished(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({2: DEGRADED, 3: DEGRADED})}
    async with open_world(watched(), plugins=plugins) as world:
        assert world.runtime.get(NAME).health == Health(HealthStatus.HEALTHY)
        async with world.runtime.events() as stream:
            await trio.sleep(1.5 * INTERVAL_S)
            assert world.runtime.get(NAME).health == DEGRADED
            event = await anext(stream)
            assert event.reason == "degraded one of two databases"
        await trio.sleep(2 * INTERVAL_S)
        assert world.runtime.get(NAME).health == Health(HealthStatus.HEALTHY)
        assert world.runtime.get(NAME).generation == 1


async def test_a_plugin_that_is_busy_isnt_asked(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({2: Hang(), 3: Hang(), 4: Hang(), 5: UNHEALTHY}, at_once=1)}
    async with open_world(watched(), plugins=plugins) as world:
        assert await world.session().execute_text(NAME, "long") == "done"
        assert world.runtime.get(NAME).generation == 1


async def test_calls_wait_for_a_health_check_where_one_fits_at_a_time(
    autojump_clock: MockClock,
) -> None:
    plugins = {NAME: answering({2: Slow(4)}, at_once=1)}
    async with open_world(watched(), plugins=plugins) as world:
        await trio.sleep(INTERVAL_S + 1)
        began = trio.current_time()
        await world.session().execute_text(NAME, "long")
        assert trio.current_time() - began == pytest.approx(3 + 1000)


async def test_a_call_in_a_plugin_that_fails_its_checks_ends_with_the_reason(
    autojump_clock: MockClock,
) -> None:
    plugins = {NAME: answering({2: UNHEALTHY})}
    async with open_world(watched(), plugins=plugins) as world:
        with pytest.raises(PluginCrashedError, match="no database"):
            await world.session().execute_text(NAME, "long")


async def test_a_crash_during_a_check_is_that_crash(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({2: Crash("segmentation fault")})}
    async with open_world(watched(), plugins=plugins) as world:
        assert await crashed_at(world) == pytest.approx(INTERVAL_S)
        assert "segmentation fault" in world.runtime.get(NAME).reason


async def test_a_drain_and_a_stop_are_not_held_up_by_a_check(autojump_clock: MockClock) -> None:
    plugins = {NAME: answering({2: Hang()})}
    async with open_world(watched(), plugins=plugins) as world:
        await trio.sleep(INTERVAL_S + 1)
        began = trio.current_time()
        await world.runtime.drain(NAME)
        assert trio.current_time() - began == pytest.approx(0)


async def test_an_absurdly_short_interval_is_not_kept_to(autojump_clock: MockClock) -> None:
    asked: list[int] = []

    async def health(number: int) -> Health:
        asked.append(number)
        return Health(HealthStatus.HEALTHY)

    plugins = {NAME: FakePlugin(health=health)}
    async with open_world(watched(1e-9), plugins=plugins):
        await trio.sleep(10)
    assert len(asked) == pytest.approx(101, abs=2)
