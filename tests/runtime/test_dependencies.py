"""What depends on another starts after it, and stops before it."""

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    Manifest,
    PluginStartError,
    PluginState,
    PluginUnavailableError,
    open_runtime,
)
from sigil_actors.audit.memory import MemoryAuditStore
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.runtime.events import EventStream
from sigil_actors.testing import FakePlugin, FakeTier
from sigil_actors.testing.faults import Hang
from tests.runtime.world import manifest, open_world


def depending(name: str, *others: str, graceful_s: float = 30) -> Manifest:
    return attrs.evolve(
        manifest(name, graceful_s=graceful_s, restart=RestartPolicy(max_restarts=1, backoff=1)),
        dependencies=dict.fromkeys(others, "*"),
    )


CHAIN = (depending("top", "middle"), depending("middle", "base"), depending("base"))


async def entered(stream: EventStream, state: PluginState, count: int) -> list[str]:
    found: list[str] = []
    async for event in stream:
        if event.state is state:
            found.append(event.plugin)
            if len(found) == count:
                break
    return found


async def test_each_starts_once_what_it_depends_on_runs(autojump_clock: MockClock) -> None:
    plugins = {name: FakePlugin(start_s=2) for name in ("top", "middle", "base")}
    async with open_world(*CHAIN, plugins=plugins, wait=False) as world:
        async with world.runtime.events() as stream:
            assert world.runtime.get("top").state is PluginState.DISCOVERED
            await wait_all_tasks_blocked()
            assert world.runtime.get("top").reason == "waits for middle"
            assert await entered(stream, PluginState.RUNNING, 3) == ["base", "middle", "top"]
        assert trio.current_time() == pytest.approx(6)
        assert world.runtime.get("top").reason == ""


async def test_they_stop_in_the_reverse_order_each_with_its_own_grace(
    autojump_clock: MockClock,
) -> None:
    tier = FakeTier({"top": FakePlugin(shutdown_s=1), "middle": FakePlugin(shutdown_s=1)})
    async with open_runtime(
        manifests=[(one, None) for one in CHAIN], audit_store=MemoryAuditStore(), tiers=[tier]
    ) as runtime:
        await runtime.wait_until_running("top")
        events = runtime.events()
        stream = await events.__aenter__()
    assert await entered(stream, PluginState.STOPPED, 3) == ["top", "middle", "base"]
    await events.__aexit__(None, None, None)


async def test_one_that_doesnt_stop_takes_only_its_own_grace(autojump_clock: MockClock) -> None:
    tier = FakeTier({"top": FakePlugin(on_call={1: Hang()})})
    manifests = [
        depending("top", "base", graceful_s=7),
        depending("base", graceful_s=7),
        depending("other", graceful_s=7),
    ]
    async with trio.open_nursery() as nursery:
        async with open_runtime(
            manifests=[(one, None) for one in manifests],
            audit_store=MemoryAuditStore(),
            tiers=[tier],
        ) as runtime:
            await runtime.wait_until_running("top")
            from tests.runtime.world import alice

            async def call() -> None:
                with pytest.raises(PluginUnavailableError, match="stopped"):
                    await alice(runtime).execute_text("top", "echo")

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            began = trio.current_time()
    assert trio.current_time() - began == pytest.approx(7)


async def test_what_waits_in_vain_says_so_and_starts_by_itself_later(
    autojump_clock: MockClock,
) -> None:
    plugins = {"base": FakePlugin(failing_starts=2)}
    async with open_world(*CHAIN, plugins=plugins, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="quarantined"):
            await world.runtime.wait_until_running("base")
        why = "waits for middle, which waits for base, which is quarantined"
        with pytest.raises(PluginUnavailableError, match=why):
            await world.runtime.wait_until_running("top")
        assert world.runtime.get("top").reason == why
        with pytest.raises(PluginStartError, match="which is quarantined"):
            await world.runtime.start("middle")
        await world.runtime.start("base")
        await world.runtime.wait_until_running("top")


async def test_what_waits_can_be_stopped_and_doesnt_start_then(autojump_clock: MockClock) -> None:
    plugins = {"base": FakePlugin(start_s=10)}
    async with open_world(*CHAIN, plugins=plugins, wait=False) as world:
        await trio.sleep(1)
        await world.runtime.stop("middle")
        await trio.sleep(100)
        assert world.runtime.get("middle").generation == 0
        assert world.runtime.get("top").reason == "waits for middle, which is stopped"
        await world.runtime.start("middle")
        await world.runtime.wait_until_running("top")


async def test_a_restart_after_a_crash_doesnt_wait(autojump_clock: MockClock) -> None:
    async with open_world(depending("top", "base"), depending("base")) as world:
        await world.runtime.stop("base")
        (session,) = world.tier.open_sessions
        session.crash()
        await trio.sleep(5)
        assert world.runtime.get("top").state is PluginState.RUNNING
        assert world.runtime.get("top").generation == 2


@pytest.mark.parametrize(
    "manifests",
    [
        [depending("top", "base")],
        [depending("top", "base"), depending("base", "top")],
        [depending("top"), depending("top")],
    ],
    ids=["missing", "circle", "twice"],
)
async def test_what_can_never_start_is_refused_at_once(manifests: list[Manifest]) -> None:
    with pytest.raises(PluginStartError, match="top"):
        async with open_runtime(
            manifests=[(one, None) for one in manifests],
            audit_store=MemoryAuditStore(),
            tiers=[FakeTier()],
        ):
            pass


async def test_an_end_by_an_error_is_fast_all_the_same(autojump_clock: MockClock) -> None:
    plugins = {name: FakePlugin(shutdown_s=100, on_call={1: Hang()}) for name in ("top", "base")}
    began = 0.0
    with pytest.raises(ZeroDivisionError):
        async with open_world(*CHAIN, plugins=plugins):
            began = trio.current_time()
            raise ZeroDivisionError
    assert trio.current_time() - began <= 5
