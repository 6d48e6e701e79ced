"""A plugin's life under its actor: starting, crashing, quarantine, drain, stop, leaving."""

import math
import traceback
from collections.abc import AsyncGenerator
from contextlib import suppress
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditFilter,
    AuditUnavailableError,
    CheckRequest,
    MemoryAuditStore,
    PluginCrashedError,
    PluginStartError,
    PluginState,
    PluginUnavailableError,
    RuntimeSettings,
    open_runtime,
)
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.lifecycle import TRANSITIONS
from sigil_actors.core.restart import RestartPolicy, RestartType
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing.fake_tier import FakePlugin, FakeTier, ScriptCrash
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from tests.runtime.world import EVERYTHING, World, alice, manifest, open_world


async def echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments


async def crash(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "last piece"
    raise ScriptCrash("segmentation fault")


async def hang(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "started"
    await trio.sleep_forever()


async def slow(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    await trio.sleep(10)
    yield "done"


PLUGIN = FakePlugin(tools={"echo": echo, "crash": crash, "hang": hang, "slow": slow})
PLUGINS = {"echo-tool": PLUGIN}


async def test_a_crash_is_told_to_its_caller_and_the_plugin_comes_back(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        session = world.session()
        with pytest.raises(PluginCrashedError, match="segmentation fault"):
            await session.execute_text("echo-tool", "crash")
        await wait_all_tasks_blocked()
        with pytest.raises(PluginUnavailableError) as caught:
            await session.execute_text("echo-tool", "echo")
        assert caught.value.reason == "restarting"
        assert caught.value.retry_after_s is not None
        assert 0.9 < caught.value.retry_after_s <= 1.2
        await world.runtime.wait_until_running("echo-tool")
        assert await session.execute_text("echo-tool", "echo") == "{}"
        status = world.runtime.get("echo-tool")
        assert (status.generation, status.restarts) == (2, 1)


async def test_who_tries_again_at_once_keeps_no_plugin_from_coming_back() -> None:
    """Without a checkpoint of its own a refused call would never let anybody else run."""
    policy = RestartPolicy(max_restarts=3, backoff=0, backoff_max=0)
    async with open_world(manifest(restart=policy), plugins=PLUGINS) as world:
        session = world.session()
        with pytest.raises(PluginCrashedError):
            await session.execute_text("echo-tool", "crash")
        for _ in range(10_000):
            try:
                assert await session.execute_text("echo-tool", "echo") == "{}"
            except (PluginCrashedError, PluginUnavailableError) as error:
                # Nor does one error that all of them get grow with each that gets it.
                depth = len(traceback.extract_tb(error.__traceback__))
                if depth > 50:
                    pytest.fail(f"{depth} frames")
            else:
                break
        else:
            pytest.fail("it never came back")
        assert world.runtime.get("echo-tool").generation == 2


async def test_a_crash_ends_the_other_calls_in_the_instance_too(autojump_clock: MockClock) -> None:
    async with open_world(plugins=PLUGINS) as world:
        failed: list[str] = []

        async def call(tool: str) -> None:
            with pytest.raises(PluginCrashedError):
                await world.session().execute_text("echo-tool", tool)
            failed.append(tool)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, "hang")
            nursery.start_soon(call, "slow")
            await wait_all_tasks_blocked()
            nursery.start_soon(call, "crash")
        assert sorted(failed) == ["crash", "hang", "slow"]


async def test_a_caller_that_waits_for_its_turn_learns_of_a_crash(
    autojump_clock: MockClock,
) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, calls_at_once=1)}
    async with open_world(plugins=plugins) as world:

        async def waiter() -> None:
            with pytest.raises(PluginCrashedError):
                await world.session().execute_text("echo-tool", "echo")

        async with trio.open_nursery() as nursery:
            async with world.session().execute("echo-tool", "crash") as chunks:
                assert await anext(chunks) == "last piece"
                nursery.start_soon(waiter)
                await wait_all_tasks_blocked()
                with pytest.raises(PluginCrashedError):
                    await anext(chunks)
        assert len(world.tier.calls) == 1


async def test_the_callers_own_code_is_never_interrupted_by_a_crash(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        async with world.session().execute("echo-tool", "hang") as chunks:
            await anext(chunks)
            for session in world.tier.open_sessions:
                session.crash("killed")
            await trio.sleep(5)  # the caller's own doing
            with pytest.raises(PluginCrashedError, match="killed"):
                await anext(chunks)


async def crash_until_quarantined(world: World) -> None:
    while not world.runtime.get("echo-tool").quarantined:
        await world.runtime.wait_until_running("echo-tool")
        with pytest.raises(PluginCrashedError):
            await world.session().execute_text("echo-tool", "crash")
        await wait_all_tasks_blocked()


async def test_a_crash_loop_ends_in_quarantine_and_only_a_start_ends_that(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        await crash_until_quarantined(world)
        status = world.runtime.get("echo-tool")
        assert (status.state, status.restarts) == (PluginState.ERROR, 3)
        assert "segmentation fault" in status.reason
        await trio.sleep(1000)
        with pytest.raises(PluginUnavailableError) as caught:
            await world.session().execute_text("echo-tool", "echo")
        assert caught.value.reason == "quarantined"
        with pytest.raises(PluginUnavailableError, match="quarantined"):
            await world.runtime.wait_until_running("echo-tool")
        await world.runtime.start("echo-tool")
        assert await world.session().execute_text("echo-tool", "echo") == "{}"
    entries = await world.store.query(AuditFilter(action="lifecycle", result="quarantined"))
    assert len(entries) == 1


async def test_a_bad_plugin_never_touches_its_siblings(autojump_clock: MockClock) -> None:
    both = (manifest("echo-tool"), manifest("sibling"))
    async with open_world(*both, plugins={**PLUGINS, "sibling": PLUGIN}) as world:
        await crash_until_quarantined(world)
        assert await world.session().execute_text("sibling", "echo") == "{}"
        assert world.runtime.get("sibling").restarts == 0


async def test_every_step_of_every_generation_is_in_the_log_and_in_the_table(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        await crash_until_quarantined(world)
        await world.runtime.start("echo-tool")
        await world.runtime.drain("echo-tool")
    steps: dict[object, list[str]] = {}
    for entry in await world.store.query(AuditFilter(action="lifecycle")):
        if entry.result != "quarantined":
            steps.setdefault(entry.details["generation"], ["discovered"]).append(entry.result)
    assert sorted(steps, key=str) == [1, 2, 3, 4, 5]
    for states in steps.values():
        for before, after in pairwise(states):
            assert PluginState(after) in TRANSITIONS[PluginState(before)]
        assert states[-1] in ("stopped", "error")


async def test_a_failing_start_is_tried_again(autojump_clock: MockClock) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, failing_starts=2)}
    async with open_world(plugins=plugins) as world:
        assert world.runtime.get("echo-tool").generation == 3


async def test_a_start_that_takes_too_long_fails(autojump_clock: MockClock) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, start_s=math.inf)}
    settings = RuntimeSettings(start_timeout_s=2)
    async with open_world(plugins=plugins, settings=settings, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="wasn't ready within 2 s"):
            await world.runtime.wait_until_running("echo-tool")


async def test_an_unhealthy_plugin_doesnt_start(autojump_clock: MockClock) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, health=Health(HealthStatus.UNHEALTHY, "no disk"))}
    async with open_world(plugins=plugins, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="no disk"):
            await world.runtime.wait_until_running("echo-tool")
        with pytest.raises(PluginStartError, match="no disk"):
            await world.runtime.start("echo-tool")


async def test_a_temporary_plugin_stays_down_after_a_crash(autojump_clock: MockClock) -> None:
    temporary = manifest(restart=RestartPolicy(type=RestartType.TEMPORARY))
    async with open_world(temporary, plugins=PLUGINS) as world:
        with pytest.raises(PluginCrashedError):
            await world.session().execute_text("echo-tool", "crash")
        await trio.sleep(100)
        status = world.runtime.get("echo-tool")
        assert (status.state, status.quarantined) == (PluginState.ERROR, False)


async def test_a_drain_finishes_the_accepted_work_and_refuses_new(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        answers: list[str] = []

        async def call() -> None:
            answers.append(await world.session().execute_text("echo-tool", "slow"))

        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            nursery.start_soon(world.runtime.drain, "echo-tool")
            await wait_all_tasks_blocked()
            with pytest.raises(PluginUnavailableError, match="draining"):
                await world.session().execute_text("echo-tool", "echo")
        assert answers == ["done"]
        assert trio.current_time() - began == pytest.approx(10)  # not a moment longer than the work
        gone = CheckRequest("echo-tool", "tool.echo", "ws", EVERYTHING, EVERYTHING)
        assert world.runtime.explain(gone).verdict.reason == "plugin_not_registered"
        assert world.runtime.get("echo-tool").state is PluginState.STOPPED
        assert world.tier.open_sessions == []
        with pytest.raises(PluginUnavailableError, match="stopped"):
            await world.session().execute_text("echo-tool", "echo")


@pytest.mark.parametrize(("verb", "seconds"), [("drain", 30), ("stop", 5)])
async def test_an_end_is_bounded_whatever_the_plugin_does(
    autojump_clock: MockClock, verb: str, seconds: float
) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, shutdown_s=math.inf)}
    async with open_world(plugins=plugins) as world:

        async def call() -> None:
            with pytest.raises(PluginUnavailableError, match="stopped"):
                await world.session().execute_text("echo-tool", "hang")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            await getattr(world.runtime, verb)("echo-tool")
            took = trio.current_time() - began
    assert seconds <= took <= seconds + 5


async def test_a_stop_makes_a_drain_that_is_under_way_hurry(autojump_clock: MockClock) -> None:
    async with open_world(plugins=PLUGINS) as world:

        async def call() -> None:
            with pytest.raises(PluginUnavailableError, match="stopped"):
                await world.session().execute_text("echo-tool", "hang")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            nursery.start_soon(world.runtime.drain, "echo-tool")
            await trio.sleep(3)
            await world.runtime.stop("echo-tool")
        assert trio.current_time() - began <= 3 + 5 + 5


async def test_what_was_stopped_isnt_restarted_and_can_be_started(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world:
        await world.runtime.stop("echo-tool")
        await trio.sleep(1000)
        assert world.runtime.get("echo-tool").state is PluginState.STOPPED
        await world.runtime.start("echo-tool")
        status = world.runtime.get("echo-tool")
        assert (status.state, status.generation) == (PluginState.RUNNING, 2)
        await world.runtime.start("echo-tool")  # running already: fine
        assert world.runtime.get("echo-tool").generation == 2


async def test_a_stop_while_loading_ends_in_error_cancelled_and_is_no_crash(
    autojump_clock: MockClock,
) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, start_s=50)}
    async with open_world(plugins=plugins, wait=False) as world:
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await world.runtime.stop("echo-tool")
        assert trio.current_time() == began
        status = world.runtime.get("echo-tool")
        assert (status.state, status.reason) == (PluginState.ERROR, "cancelled")
        assert (status.restarts, status.quarantined) == (0, False)


async def test_a_stop_during_the_backoff_is_immediate(autojump_clock: MockClock) -> None:
    async with open_world(plugins=PLUGINS) as world:
        with pytest.raises(PluginCrashedError):
            await world.session().execute_text("echo-tool", "crash")
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await world.runtime.stop("echo-tool")
        assert trio.current_time() == began
        await trio.sleep(100)
        assert world.runtime.get("echo-tool").generation == 1


async def test_a_reload_takes_what_the_folder_holds_now(autojump_clock: MockClock) -> None:
    async with open_world(plugins=PLUGINS) as world:
        world.tier.set_plugin("echo-tool", FakePlugin(tools={"other": echo}))
        await world.runtime.reload("echo-tool")
        assert [tool.name for tool in await world.session().describe("echo-tool")] == ["other"]
        assert world.runtime.get("echo-tool").generation == 2


async def test_leaving_the_runtime_drains_every_plugin(autojump_clock: MockClock) -> None:
    done = trio.Event()
    async with trio.open_nursery() as nursery:
        async with open_world(plugins=PLUGINS) as world:

            async def call() -> None:
                assert await world.session().execute_text("echo-tool", "slow") == "done"
                done.set()

            nursery.start_soon(call)
            await wait_all_tasks_blocked()
        assert done.is_set()
    assert world.tier.open_sessions == []


async def test_leaving_the_runtime_by_an_error_is_fast_and_leaves_the_error_bare(
    autojump_clock: MockClock,
) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, shutdown_s=math.inf)}
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        with pytest.raises(ValueError, match="mine"):
            async with open_world(plugins=plugins) as world:

                async def call() -> None:
                    with pytest.raises(PluginUnavailableError):
                        await world.session().execute_text("echo-tool", "hang")

                nursery.start_soon(call)
                await wait_all_tasks_blocked()
                raise ValueError("mine")
        assert trio.current_time() - began <= 5
    assert world.tier.open_sessions == []


async def test_a_cancelled_runtime_ends_within_its_bound(autojump_clock: MockClock) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, shutdown_s=math.inf)}
    with trio.CancelScope() as scope:
        async with open_world(plugins=plugins) as world:
            scope.cancel()
            began = trio.current_time()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert trio.current_time() - began <= 5
    assert world.tier.open_sessions == []


async def test_a_cancel_while_the_runtime_drains_kills_what_is_left(
    autojump_clock: MockClock,
) -> None:
    plugins = {"echo-tool": attrs.evolve(PLUGIN, shutdown_s=math.inf)}
    began = trio.current_time()
    async with trio.open_nursery() as outside:
        with trio.CancelScope(deadline=began + 3) as scope:
            async with open_world(plugins=plugins) as world:

                async def call() -> None:
                    with pytest.raises(PluginUnavailableError):
                        await world.session().execute_text("echo-tool", "hang")

                outside.start_soon(call)
                await wait_all_tasks_blocked()
        assert scope.cancelled_caught
        assert trio.current_time() - began < 3.5
    assert world.tier.open_sessions == []


async def test_why_a_plugin_is_down_comes_with_the_remedy(autojump_clock: MockClock) -> None:
    one = manifest(restart=RestartPolicy(type=RestartType.TEMPORARY))
    one = attrs.evolve(one, config_schema={"required": ["token"]})
    async with open_world(one, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="Mend the plugin's section") as caught:
            await world.runtime.wait_until_running("echo-tool")
        assert caught.value.reason == "quarantined"  # at once: a restart would change nothing
        assert world.runtime.get("echo-tool").restarts == 0


async def test_no_store_no_runtime() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_openings=[1])
    with pytest.raises(AuditUnavailableError):
        async with open_world(audit_store=store):
            pytest.fail("it must not open")


async def test_a_plugin_isnt_started_where_that_cant_be_recorded(
    autojump_clock: MockClock,
) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=range(1, 1000))
    async with open_world(audit_store=store, wait=False) as world:
        with pytest.raises(PluginUnavailableError):
            await world.runtime.wait_until_running("echo-tool")
        assert world.tier.open_sessions == []


async def test_a_tier_that_isnt_there_is_told(autojump_clock: MockClock) -> None:
    async with open_runtime(
        manifests=[(manifest(), None)], audit_store=MemoryAuditStore(), tiers=[FakeTier(kind="vm")]
    ) as runtime:
        with pytest.raises(PluginUnavailableError, match="tier 'wasm'"):
            await runtime.wait_until_running("echo-tool")


async def test_an_engine_that_isnt_ours_is_told_with_both_versions(
    autojump_clock: MockClock,
) -> None:
    future = attrs.evolve(manifest(), engine=">= 2.0.0")
    async with open_world(future, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match=r">= 2\.0\.0.*1\.0\.0"):
            await world.runtime.wait_until_running("echo-tool")


async def test_a_configuration_is_held_against_its_schema(autojump_clock: MockClock) -> None:
    schema: JsonObject = {
        "type": "object",
        "properties": {"token": {"type": "string"}},
        "required": ["token"],
    }
    strict = attrs.evolve(manifest(), config_schema=schema)
    for config, works in (({"token": "hunter2"}, True), ({"token": 5}, False)):
        async with open_runtime(
            manifests=[(strict, None)],
            audit_store=MemoryAuditStore(),
            tiers=[FakeTier()],
            configs={"echo-tool": config},
        ) as runtime:
            if works:
                await runtime.wait_until_running("echo-tool")
            else:
                with pytest.raises(PluginUnavailableError, match="config_schema"):
                    await runtime.wait_until_running("echo-tool")


async def test_sessions_of_one_runtime_are_told_apart_in_the_log() -> None:
    async with open_world(plugins=PLUGINS) as world:
        for _ in range(2):
            await alice(world.runtime).execute_text("echo-tool", "echo")
    entries = await world.store.query(AuditFilter(action="capability_check"))
    assert len({entry.session_id for entry in entries}) == 2


async def test_a_registration_is_recorded_with_its_hashes_however_long_its_lists() -> None:
    long = manifest(capabilities=[f"tool.{'x' * 50}{number}" for number in range(200)])
    for one in (manifest(), long):
        async with open_world(one) as world:
            pass
        (entry,) = await world.store.query(AuditFilter(action="plugin_registered"))
        assert len(str(entry.details["manifest_sha256"])) == 64
        assert entry.details["generation"] == 1
        listed = entry.details["capabilities"]
        if one is long:
            assert isinstance(listed, dict)
            assert listed["count"] == 200
        else:
            assert listed == list(one.capabilities)


@pytest.mark.parametrize("steps", range(40))
async def test_a_runtime_that_is_cancelled_while_it_opens_ends(steps: int) -> None:
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            async with open_world(plugins=PLUGINS):
                await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_no_manifest_makes_a_crash_loop_without_end(autojump_clock: MockClock) -> None:
    policy = RestartPolicy(max_restarts=1000, period=1e-9, backoff=0, backoff_max=0)
    plugins = {"echo-tool": attrs.evolve(PLUGIN, failing_starts=10**6)}
    async with open_world(manifest(restart=policy), plugins=plugins, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="quarantined"):
            await world.runtime.wait_until_running("echo-tool")
        assert world.tier.starts["echo-tool"] == 31  # settings.restarts_per_minute, and the first


async def test_an_outage_of_the_log_is_no_fault_of_a_plugin(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=range(1, 4), fail_openings=[2, 3, 4])
    policy = RestartPolicy(max_restarts=0)
    async with open_world(manifest(restart=policy), audit_store=store, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="waiting"):
            await world.runtime.wait_until_running("echo-tool")
        with pytest.raises(AuditUnavailableError):
            await world.runtime.start("echo-tool")
        await trio.sleep(100)
        status = world.runtime.get("echo-tool")
        assert (status.state, status.reason) == (PluginState.RUNNING, "")


async def test_a_stop_is_never_refused_however_many_orders_wait(
    autojump_clock: MockClock,
) -> None:
    async with open_world(plugins=PLUGINS) as world, trio.open_nursery() as nursery:

        async def reload() -> None:
            with suppress(PluginUnavailableError):
                await world.runtime.reload("echo-tool")

        for _ in range(200):
            nursery.start_soon(reload)
        await trio.lowlevel.checkpoint()
        await world.runtime.stop("echo-tool")
        assert world.tier.open_sessions == []
        nursery.cancel_scope.cancel()


async def test_a_start_that_a_stop_overtook_is_void(autojump_clock: MockClock) -> None:
    async with open_world(plugins=PLUGINS) as world:
        await world.runtime.stop("echo-tool")
        actor = world.runtime._plugins.get("echo-tool")
        actor.start_nowait()
        await world.runtime.stop("echo-tool")
        await trio.sleep(100)
        assert world.runtime.get("echo-tool").state is PluginState.STOPPED


async def test_what_a_plugin_says_of_its_health_is_safe_to_show(
    autojump_clock: MockClock,
) -> None:
    said = Health(HealthStatus.DEGRADED, "\x1b[31mred\nsecond line\u202e")
    plugins = {"echo-tool": attrs.evolve(PLUGIN, health=said)}
    async with open_world(plugins=plugins) as world:
        health = world.runtime.get("echo-tool").health
        assert health is not None
        assert health.message.isprintable()
        assert health.message.startswith("\\x1b[31mred")
