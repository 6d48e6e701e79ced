"""What a fake plugin is told to do wrong, it does, there and only there."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sigil_actors import PluginCallError, PluginCrashedError, PluginStartError
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.testing import FakePlugin, FakeTier, fake_manifest, scripted_health
from sigil_actors.testing.faults import Crash, Fail, Hang, Slow
from tests.testing.no_host import NoHost

UNHEALTHY = Health(HealthStatus.UNHEALTHY, "as drawn")


@asynccontextmanager
async def opened(tier: FakeTier, *, generation: int = 1) -> AsyncGenerator[TierSession]:
    launch = Launch(
        plugin="fake",
        generation=generation,
        manifest=fake_manifest("fake"),
        folder=Path("unused"),
        host=NoHost(),
        log=lambda _level, _text: None,
    )
    async with tier.open(launch) as session:
        yield session


def tier_of(plugin: FakePlugin) -> FakeTier:
    return FakeTier({"fake": plugin})


async def echo(session: TierSession) -> str:
    request = ExecuteRequest(tool_name="echo", arguments="{}", session_id="")
    async with session.execute(request) as chunks:
        return "".join([piece async for piece in chunks])


async def test_the_named_call_crashes_its_instance_and_no_other(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(on_call={2: Crash("out of memory")}))
    async with opened(tier) as session:
        assert await echo(session) == "{}"
        with pytest.raises(PluginCrashedError, match="out of memory"):
            await echo(session)
        assert (await session.wait_ended()).reason == "out of memory"
    async with opened(tier, generation=2) as session:
        assert await echo(session) == "{}"
    assert [call.generation for call in tier.calls] == [1, 1, 2]


async def test_calls_are_counted_over_instances(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(on_call={2: Fail("no more")}))
    async with opened(tier) as session:
        await echo(session)
    async with opened(tier) as session:
        with pytest.raises(PluginCallError, match="no more"):
            await echo(session)
        assert await echo(session) == "{}"


async def test_the_named_call_hangs_until_it_is_cancelled(autojump_clock: MockClock) -> None:
    async with opened(tier_of(FakePlugin(on_call={1: Hang()}))) as session:
        with trio.move_on_after(1000) as scope:
            await echo(session)
        assert scope.cancelled_caught
        assert await echo(session) == "{}"


async def test_the_named_call_takes_longer(autojump_clock: MockClock) -> None:
    async with opened(tier_of(FakePlugin(on_call={1: Slow(7)}))) as session:
        assert await echo(session) == "{}"
        assert trio.current_time() == pytest.approx(7)
        assert await echo(session) == "{}"
        assert trio.current_time() == pytest.approx(7)


async def test_the_named_start_is_refused(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(on_start={2: Fail("no room")}))
    async with opened(tier):
        pass
    with pytest.raises(PluginStartError, match="no room"):
        async with opened(tier):
            raise AssertionError("it came up")
    async with opened(tier) as session:
        assert await echo(session) == "{}"
    assert tier.starts["fake"] == 3


async def test_the_named_start_crashes_before_its_init(autojump_clock: MockClock) -> None:
    async with opened(tier_of(FakePlugin(on_start={1: Crash("bad luck")}))) as session:
        with pytest.raises(PluginCrashedError, match="bad luck"):
            await session.init({})


async def test_the_named_start_hangs(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(on_start={1: Hang()}))
    with trio.move_on_after(1000) as scope:
        async with opened(tier):
            raise AssertionError("it came up")
    assert scope.cancelled_caught
    assert not tier.open_sessions


async def test_the_named_start_takes_longer(autojump_clock: MockClock) -> None:
    async with opened(tier_of(FakePlugin(on_start={1: Slow(3)}, start_s=2))):
        assert trio.current_time() == pytest.approx(5)


async def test_health_is_answered_by_a_script_that_counts_an_instances_questions(
    autojump_clock: MockClock,
) -> None:
    degraded = Health(HealthStatus.DEGRADED)
    tier = tier_of(
        FakePlugin(health=scripted_health({2: UNHEALTHY, 3: Slow(4)}, otherwise=degraded))
    )
    async with opened(tier) as session:
        said = [await session.health() for _ in range(4)]
        assert said == [degraded, UNHEALTHY, degraded, degraded]
        assert trio.current_time() == pytest.approx(4)
    async with opened(tier) as session:
        assert await session.health() == degraded


async def test_a_health_script_can_hang_fail_and_crash(autojump_clock: MockClock) -> None:
    script = scripted_health({1: Hang(), 2: Fail("makes no sense"), 3: Crash("died of it")})
    async with opened(tier_of(FakePlugin(health=script))) as session:
        with trio.move_on_after(1000) as scope:
            await session.health()
        assert scope.cancelled_caught
        with pytest.raises(PluginCallError, match="makes no sense"):
            await session.health()
        with pytest.raises(PluginCrashedError, match="died of it"):
            await session.health()
        assert (await session.wait_ended()).reason == "died of it"


async def test_a_hanging_health_question_ends_with_its_instance(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(health=scripted_health({1: Hang()})))
    async with opened(tier) as session, trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(PluginCrashedError, match="killed"):
                await session.health()

        nursery.start_soon(ask)
        await trio.testing.wait_all_tasks_blocked()
        tier.open_sessions[0].crash("killed")


async def test_a_shutdown_can_be_never(autojump_clock: MockClock) -> None:
    async with opened(tier_of(FakePlugin(shutdown_s=math.inf))) as session:
        assert not await session.shutdown(grace_s=5)
    assert trio.current_time() == pytest.approx(5)


async def test_closing_can_take_its_time_even_when_cancelled(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(close_s=9))
    with trio.move_on_after(1):
        async with opened(tier):
            await trio.sleep_forever()
    assert trio.current_time() == pytest.approx(10)
    assert not tier.open_sessions


async def test_an_open_session_tells_how_many_calls_are_in_it(autojump_clock: MockClock) -> None:
    tier = tier_of(FakePlugin(on_call={1: Hang(), 2: Hang()}))
    async with opened(tier) as session, trio.open_nursery() as nursery:
        nursery.start_soon(echo, session)
        nursery.start_soon(echo, session)
        await trio.testing.wait_all_tasks_blocked()
        assert tier.open_sessions[0].calls_inside == 2
        nursery.cancel_scope.cancel()
    assert tier.open_sessions == []
