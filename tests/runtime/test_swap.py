"""A new version takes over: beside the old one, or in its place; and goes back where it fails."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditFilter,
    HostCall,
    PluginCrashedError,
    PluginRefusedError,
    PluginStartError,
    PluginState,
    PluginType,
    PluginUnavailableError,
    ProcessExecution,
    RuntimeSettings,
)
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus
from sigil_actors.core.restart import RestartPolicy, RestartType
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.runtime.plugin_orders import ReloadResult
from sigil_actors.runtime.version import Version
from sigil_actors.testing import FakePlugin, ScriptCrash
from sigil_actors.testing.faults import Fail, Hang
from tests.runtime.world import World, manifest, open_world

NAME = "echo-tool"
CHANNEL = attrs.evolve(manifest(), type=PluginType.CHANNEL)


def version(word: str, **changes: Any) -> FakePlugin:
    """A plugin whose tools tell which version answered."""

    async def who(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        yield word

    async def slow(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        await trio.sleep(10)
        yield word

    async def crash(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        yield word
        raise ScriptCrash("as asked")

    plugin = FakePlugin(tools={"who": who, "slow": slow, "crash": crash}, start_s=2)
    return attrs.evolve(plugin, **changes)


def old() -> dict[str, FakePlugin]:
    return {NAME: version("old")}


async def ask(world: World, tool: str = "who") -> str:
    return await world.session().execute_text(NAME, tool)


def living(world: World) -> list[int]:
    """The generations that live."""
    node = world.runtime.tree().find(NAME)
    assert node is not None
    return [one.generation for one in node.children]


async def reloading(world: World, nursery: trio.Nursery) -> Callable[[], Awaitable[None]]:
    """Start a reload and let it come as far as it does without time passing."""
    done = trio.Event()

    async def reload() -> None:
        await world.runtime.reload(NAME)
        done.set()

    nursery.start_soon(reload)
    await wait_all_tasks_blocked()
    return done.wait


async def test_the_old_version_serves_until_the_new_one_is_up(autojump_clock: MockClock) -> None:
    async with open_world(plugins=old()) as world, trio.open_nursery() as nursery:
        world.tier.set_plugin(NAME, version("new"))
        taken_over = await reloading(world, nursery)
        await trio.sleep(1)
        assert await ask(world) == "old"
        await taken_over()
        assert await ask(world) == "new"
        assert world.runtime.get(NAME).generation == 2


async def test_calls_in_the_old_version_end_there_though_new_ones_go_to_the_new(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=old()) as world, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def call() -> None:
            answers.append(await ask(world, "slow"))

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        world.tier.set_plugin(NAME, version("new"))
        began = trio.current_time()
        await world.runtime.reload(NAME)
        assert trio.current_time() - began == pytest.approx(2)  # not as long as the slow call
        status = world.runtime.get(NAME)
        assert status.draining_generations == (1,)
        assert status.is_swapping
        assert status.in_flight == 1
        assert await ask(world) == "new"
        await trio.sleep(9)
        assert answers == ["old"]
        await wait_all_tasks_blocked()
        assert living(world) == [2]
        assert not world.runtime.get(NAME).is_swapping
        assert len(world.tier.open_sessions) == 1


@pytest.mark.parametrize(
    "bad",
    [
        version("new", on_start={2: Fail("no such module")}),
        version("new", on_start={2: Hang()}),
        version("new", health=Health(HealthStatus.UNHEALTHY, "no database")),
    ],
    ids=["fails", "hangs", "unhealthy"],
)
@pytest.mark.parametrize("kind", [PluginType.TOOL, PluginType.CHANNEL])
async def test_a_version_that_doesnt_come_up_changes_nothing(
    autojump_clock: MockClock, bad: FakePlugin, kind: PluginType
) -> None:
    async with open_world(attrs.evolve(manifest(), type=kind), plugins=old()) as world:
        world.tier.set_plugin(NAME, bad)
        with pytest.raises(PluginStartError) as caught:
            await world.runtime.reload(NAME)
        status = world.runtime.get(NAME)
        assert status.reload_failed == caught.value.what
        world.tier.set_plugin(NAME, version("old"))
        await world.runtime.wait_until_running(NAME)
        assert await ask(world) == "old"
        await trio.sleep(1000)
        assert len(world.tier.open_sessions) == 1
        # Tried once; for a channel, the old one was started again besides.
        assert world.tier.starts[NAME] == (3 if kind is PluginType.CHANNEL else 2)


async def test_what_was_said_of_a_failed_reload_goes_with_the_next_good_one(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=old()) as world:
        world.tier.set_plugin(NAME, version("new", on_start={2: Fail()}))
        with pytest.raises(PluginStartError):
            await world.runtime.reload(NAME)
        await world.runtime.reload(NAME)
        assert world.runtime.get(NAME).reload_failed == ""
        assert await ask(world) == "new"


async def test_a_channel_steps_aside_first_and_its_callers_wait(autojump_clock: MockClock) -> None:
    async with open_world(CHANNEL, plugins=old()) as world, trio.open_nursery() as nursery:
        world.tier.set_plugin(NAME, version("new"))
        await reloading(world, nursery)
        await trio.sleep(1)
        assert len(world.tier.open_sessions) == 0
        began = trio.current_time()
        assert await ask(world) == "new"
        assert trio.current_time() - began == pytest.approx(1)


async def test_callers_of_a_channel_dont_wait_for_ever(autojump_clock: MockClock) -> None:
    settings = RuntimeSettings(swap_wait_s=4, start_timeout_s=50)
    async with (
        open_world(CHANNEL, plugins=old(), settings=settings) as world,
        trio.open_nursery() as nursery,
    ):
        world.tier.set_plugin(NAME, version("new", start_s=20))
        await reloading(world, nursery)
        await trio.sleep(1)
        began = trio.current_time()
        with pytest.raises(PluginUnavailableError, match="reloading") as caught:
            await ask(world)
        assert trio.current_time() - began == pytest.approx(4)
        assert caught.value.retry_after_s is not None
        await world.runtime.wait_until_running(NAME)
        assert await ask(world) == "new"


async def test_a_call_that_a_drained_channel_waits_for_is_let_in(autojump_clock: MockClock) -> None:
    async def nested(request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        await trio.sleep(1)
        yield (await host.call("chain.who", b"", request.session_id)).decode()

    plugin = version("old")
    plugin = attrs.evolve(plugin, tools={**plugin.tools, "nested": nested})

    async def who(call: HostCall) -> bytes:
        assert call.session is not None
        return (await call.session.execute_text(NAME, "who")).encode()

    channel = attrs.evolve(CHANNEL, capabilities=("tool.*", "chain.*"))
    async with (
        open_world(channel, plugins={NAME: plugin}, host_functions={"chain.*": who}) as world,
        trio.open_nursery() as nursery,
    ):
        answers: list[str] = []

        async def call() -> None:
            answers.append(await ask(world, "nested"))

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        world.tier.set_plugin(NAME, version("new"))
        began = trio.current_time()
        await world.runtime.reload(NAME)
        assert trio.current_time() - began == pytest.approx(3)
        assert answers == ["old"]


async def test_a_start_while_a_skipped_version_is_still_cleared_away_starts_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def close_slowly(_self: Version) -> None:
        await trio.sleep(1)

    async with open_world(plugins=old()) as world:
        await world.runtime.stop(NAME)
        monkeypatch.setattr(Version, "close", close_slowly)
        actor = world.runtime._plugins.get(NAME)
        changed = attrs.evolve(actor.definition.manifest, version="2.0.0")
        definition = attrs.evolve(actor.definition, manifest=changed)
        result = await actor.reload(definition, only_if_changed=True)
        assert result is ReloadResult.SKIPPED
        await world.runtime.start(NAME)
        assert world.runtime.get(NAME).version == "2.0.0"
        assert await ask(world) == "old"


async def test_reloads_follow_one_another_and_the_newest_counts(autojump_clock: MockClock) -> None:
    async with open_world(plugins=old()) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(world.runtime.reload, NAME)
        # The first one, and one for all that came meanwhile.
        assert world.tier.starts[NAME] == 3
        assert world.runtime.get(NAME).generation == 3
        await trio.sleep(100)
        assert len(world.tier.open_sessions) == 1


async def test_a_reload_whose_caller_went_before_its_turn_is_dropped(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=old()) as world, trio.open_nursery() as nursery:
        await reloading(world, nursery)
        with trio.move_on_after(1):
            await world.runtime.reload(NAME)
        await trio.sleep(100)
        assert world.tier.starts[NAME] == 2


async def test_a_reload_whose_caller_goes_in_the_middle_goes_on(autojump_clock: MockClock) -> None:
    async with open_world(plugins=old()) as world:
        world.tier.set_plugin(NAME, version("new"))
        with trio.move_on_after(1):
            await world.runtime.reload(NAME)
        await trio.sleep(100)
        assert await ask(world) == "new"


async def test_a_reload_starts_what_is_quarantined(autojump_clock: MockClock) -> None:
    policy = RestartPolicy(max_restarts=1, backoff=0.1, backoff_max=1)
    plugins = {NAME: version("old", failing_starts=2)}
    async with open_world(manifest(restart=policy), plugins=plugins, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="quarantined"):
            await world.runtime.wait_until_running(NAME)
        await world.runtime.reload(NAME)
        assert await ask(world) == "old"
        assert not world.runtime.get(NAME).quarantined


async def test_a_reload_of_what_is_still_loading_takes_its_place(autojump_clock: MockClock) -> None:
    plugins = {NAME: version("old", start_s=50)}
    async with open_world(plugins=plugins, wait=False) as world:
        await trio.sleep(1)
        world.tier.set_plugin(NAME, version("new"))
        began = trio.current_time()
        await world.runtime.reload(NAME)
        assert trio.current_time() - began == pytest.approx(2)
        assert await ask(world) == "new"


async def test_a_reload_during_the_backoff_takes_its_place(autojump_clock: MockClock) -> None:
    policy = RestartPolicy(backoff=500, backoff_max=500)
    async with open_world(manifest(restart=policy), plugins=old()) as world:
        await ask_for_crash(world)
        world.tier.set_plugin(NAME, version("new"))
        began = trio.current_time()
        await world.runtime.reload(NAME)
        assert trio.current_time() - began == pytest.approx(2)
        assert await ask(world) == "new"


async def ask_for_crash(world: World) -> None:
    with pytest.raises(PluginCrashedError):
        await ask(world, "crash")
    await wait_all_tasks_blocked()


async def test_a_crash_of_the_old_version_doesnt_keep_the_new_one_from_taking_over(
    autojump_clock: MockClock,
) -> None:
    policy = RestartPolicy(max_restarts=0, period=1, backoff=0, backoff_max=0)
    async with (
        open_world(manifest(restart=policy), plugins=old()) as world,
        trio.open_nursery() as nursery,
    ):
        world.tier.set_plugin(NAME, version("new"))
        taken_over = await reloading(world, nursery)
        await ask_for_crash(world)
        assert not world.runtime.get(NAME).quarantined
        with pytest.raises(PluginUnavailableError, match="starting"):
            await ask(world)
        await taken_over()
        assert await ask(world) == "new"


async def test_where_both_versions_fail_the_plugin_is_down_and_says_so(
    autojump_clock: MockClock,
) -> None:
    policy = RestartPolicy(max_restarts=0, period=1, backoff=0, backoff_max=0)
    async with open_world(manifest(restart=policy), plugins=old()) as world:
        world.tier.set_plugin(NAME, version("new", on_start={2: Fail("no")}))
        async with trio.open_nursery() as nursery:

            async def reload() -> None:
                with pytest.raises(PluginStartError, match="no"):
                    await world.runtime.reload(NAME)

            nursery.start_soon(reload)
            await wait_all_tasks_blocked()
            await ask_for_crash(world)
        assert world.runtime.get(NAME).quarantined
        with pytest.raises(PluginUnavailableError, match="quarantined"):
            await ask(world)


@pytest.mark.parametrize("verb", ["stop", "drain"])
@pytest.mark.parametrize("kind", [PluginType.TOOL, PluginType.CHANNEL])
@pytest.mark.parametrize("after_s", [0, 1, 2.5])
async def test_a_stop_in_the_middle_of_a_swap_ends_both_versions(
    autojump_clock: MockClock, verb: str, kind: PluginType, after_s: float
) -> None:
    async with open_world(attrs.evolve(manifest(), type=kind), plugins=old()) as world:
        async with trio.open_nursery() as nursery:

            async def reload() -> None:
                if after_s < 2:
                    with pytest.raises(PluginUnavailableError, match="draining"):
                        await world.runtime.reload(NAME)
                else:
                    await world.runtime.reload(NAME)

            async def call() -> None:
                with suppress(PluginUnavailableError):  # a stop gives it less than it needs
                    await ask(world, "slow")

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            if kind is PluginType.TOOL:
                nursery.start_soon(reload)
            else:
                nursery.start_soon(reload_whatever_comes, world)
            await trio.sleep(after_s)
            await getattr(world.runtime, verb)(NAME)
            assert world.tier.open_sessions == []
            assert world.runtime.get(NAME).state in (PluginState.STOPPED, PluginState.ERROR)
            nursery.cancel_scope.cancel()
        await trio.sleep(1000)
        assert world.tier.open_sessions == []
        await world.runtime.start(NAME)
        assert await ask(world) == "old"


async def reload_whatever_comes(world: World) -> None:
    with pytest.raises((PluginUnavailableError, trio.Cancelled)):
        await world.runtime.reload(NAME)


async def test_an_old_version_that_never_ends_its_calls_is_ended_in_time(
    autojump_clock: MockClock,
) -> None:
    plugin = version("old", shutdown_s=math.inf)

    async def hang(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
        yield "started"
        await trio.sleep_forever()

    plugin = attrs.evolve(plugin, tools={**plugin.tools, "hang": hang})
    async with open_world(plugins={NAME: plugin}) as world, trio.open_nursery() as nursery:

        async def call() -> None:
            with pytest.raises(PluginUnavailableError, match="stopped"):
                await ask(world, "hang")

        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        world.tier.set_plugin(NAME, version("new"))
        await world.runtime.reload(NAME)
        await trio.sleep(30 + 5)
        assert living(world) == [2]
        assert await ask(world) == "new"


async def test_each_generation_is_registered_while_it_lives(autojump_clock: MockClock) -> None:
    async with open_world(plugins=old()) as world:
        await world.runtime.reload(NAME)
        await trio.sleep(1)
        entries = [
            entry
            for entry in await world.store.query(AuditFilter())
            if entry.action == "plugin_registered"
        ]
        assert [entry.details["generation"] for entry in entries] == [1, 2]
        lives: dict[object, list[str]] = {}
        for entry in await world.store.query(AuditFilter(action="lifecycle")):
            lives.setdefault(entry.details["generation"], []).append(entry.result)
        assert lives[1][-3:] == ["draining", "stopping", "stopped"]
        assert lives[2] == ["validating", "loading", "running"]


async def test_a_new_version_starts_what_ended_by_itself_but_not_what_was_stopped(
    autojump_clock: MockClock,
) -> None:
    temporary = manifest(restart=RestartPolicy(type=RestartType.TEMPORARY))
    async with open_world(temporary, plugins=old()) as world:
        actor = world.runtime._plugins.get(NAME)
        other = attrs.evolve(actor.definition, manifest=attrs.evolve(temporary, version="2.0.0"))
        await ask_for_crash(world)
        assert await actor.reload(actor.definition, only_if_changed=True) == "unchanged"
        assert await actor.reload(other, only_if_changed=True) == "reloaded"
        await world.runtime.stop(NAME)
        third = attrs.evolve(actor.definition, manifest=attrs.evolve(temporary, version="3.0.0"))
        assert await actor.reload(third, only_if_changed=True) == "skipped"
        await world.runtime.start(NAME)
        assert world.runtime.get(NAME).version == "3.0.0"


async def test_a_version_that_cant_run_here_is_refused_before_anybody_is_asked(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=old()) as world:
        actor = world.runtime._plugins.get(NAME)
        process = attrs.evolve(manifest(), execution=ProcessExecution())
        with pytest.raises(PluginRefusedError, match="needs the tier 'process'"):
            await actor.reload(attrs.evolve(actor.definition, manifest=process))
        status = world.runtime.get(NAME)
        assert status.held is None
        assert "needs the tier" in status.reload_failed
        assert status.last_error == ""
        assert await ask(world) == "old"


async def test_a_call_that_is_cut_off_is_told_so(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_world(manifest(graceful_s=3), plugins=old()) as world:
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(PluginUnavailableError, match="before this call had finished"):
                    await ask(world, "slow")

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            with caplog.at_level("INFO"):
                await world.runtime.drain(NAME)
    assert "1 call may finish, within 3 s at most" in caplog.text
    assert "cuts off 1 call" in caplog.text


@pytest.mark.parametrize("crash_after_s", [None, 1], ids=["down before", "down meanwhile"])
async def test_a_second_reload_waits_for_the_first_though_the_old_version_is_gone(
    autojump_clock: MockClock, crash_after_s: float | None
) -> None:
    """Nothing leaves then whose end could be waited for."""
    one_try = manifest(restart=RestartPolicy(type=RestartType.TEMPORARY))
    async with open_world(one_try, plugins=old()) as world, trio.open_nursery() as nursery:
        if crash_after_s is None:
            world.tier.open_sessions[0].crash("as asked")
            await trio.sleep(1)
        first = await reloading(world, nursery)
        second = await reloading(world, nursery)
        if crash_after_s is not None:
            await trio.sleep(crash_after_s)
            world.tier.open_sessions[0].crash("as asked")
        with trio.fail_after(20):
            await first()
            await second()
        assert world.runtime.get(NAME).state is PluginState.RUNNING


def closing_late(monkeypatch: pytest.MonkeyPatch, *, first_s: float, others_s: float) -> None:
    """Take as long over the files as large snapshots may; the first version's and the others'."""
    real, made = Version.close, list[Version]()
    make = Version.__init__

    def noted(self: Version, *args: Any, **kwargs: Any) -> None:
        made.append(self)
        make(self, *args, **kwargs)

    async def close(self: Version) -> None:
        await trio.sleep(first_s if self is made[0] else others_s)
        await real(self)

    monkeypatch.setattr(Version, "__init__", noted)
    monkeypatch.setattr(Version, "close", close)


async def test_a_stop_is_over_when_the_files_of_every_version_are_gone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing_late(monkeypatch, first_s=3, others_s=1)
    async with open_world(plugins=old()) as world, trio.open_nursery() as nursery:
        await ask_for_crash(world)  # an end of its own, earlier, is no reason for the next one
        await world.runtime.wait_until_running(NAME)
        nursery.start_soon(reload_whatever_comes, world)
        await trio.sleep(1)
        began = trio.current_time()
        await world.runtime.stop(NAME)
        assert trio.current_time() - began == pytest.approx(3)
        with pytest.raises(PluginUnavailableError, match="stopped"):
            await ask(world)


async def test_a_version_whose_predecessor_is_just_being_given_up_on_takes_over(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    closing_late(monkeypatch, first_s=3, others_s=0)
    policy = RestartPolicy(max_restarts=0, period=1, backoff=0, backoff_max=0)
    async with open_world(manifest(restart=policy), plugins=old()) as world:
        world.tier.set_plugin(NAME, version("new"))
        await ask_for_crash(world)
        with trio.fail_after(20):
            await world.runtime.reload(NAME)  # while the files of the old one are being removed
        assert await ask(world) == "new"
