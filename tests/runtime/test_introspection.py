"""The tree and the event stream: what they tell, in order, bounded, of a runtime that lives."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditUnavailableError,
    MemoryAuditStore,
    PluginCrashedError,
    PluginState,
    open_runtime,
)
from sigil_actors.runtime.clock import SystemClock
from sigil_actors.runtime.events import EVENTS_MAX, EventKind, Events, EventStream, RuntimeEvent
from sigil_actors.runtime.tree import NodeKind
from sigil_actors.testing import FakePlugin, FakeTier
from sigil_actors.testing.faults import Crash, Hang
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from tests.runtime.world import World, manifest, open_world

NAME = "echo-tool"


async def test_the_tree_shows_who_supervises_whom(autojump_clock: MockClock) -> None:
    async with open_world(manifest("a"), manifest("b")) as world:
        tree = world.runtime.tree()
        assert [node.name for node in tree.children] == ["enforcer", "manager", "plugins"]
        plugins = tree.find("plugins")
        assert plugins is not None
        assert [node.name for node in plugins.children] == ["a", "b"]
        a = plugins.children[0]
        assert (a.kind, a.state, a.generation) == (NodeKind.ACTOR, "running", 1)
        assert [(node.kind, node.state) for node in a.children] == [(NodeKind.INSTANCE, "running")]
        assert a.mailbox is not None
        assert (a.mailbox.waiting, a.mailbox.orders, a.mailbox.dead_letters) == (0, 0, 0)
        assert list(tree.lines()) == [
            "runtime  running",
            "├─ enforcer  running",
            "├─ manager  waiting",
            "└─ plugins  running",
            "   ├─ a  running",
            "   │  └─ generation 1  running",
            "   └─ b  running",
            "      └─ generation 1  running",
        ]


async def test_calls_restarts_and_the_last_error_are_in_the_tree(autojump_clock: MockClock) -> None:
    plugins = {NAME: FakePlugin(on_call={1: Crash("out of memory"), 2: Hang()})}
    async with open_world(plugins=plugins) as world, trio.open_nursery() as nursery:
        with pytest.raises(PluginCrashedError):
            await world.session().execute_text(NAME, "echo")
        await wait_all_tasks_blocked()
        await world.runtime.wait_until_running(NAME)
        nursery.start_soon(world.session().execute_text, NAME, "echo")
        await wait_all_tasks_blocked()
        node = world.runtime.tree().find(NAME)
        assert node is not None
        assert (node.restarts, node.in_flight, node.generation) == (1, 1, 2)
        assert "out of memory" in node.last_error
        assert "1 in flight  1 restart  last error: plugin 'echo-tool'" in next(node.lines())
        assert node.children[0].in_flight == 1
        nursery.cancel_scope.cancel()


async def test_an_enforcer_that_refuses_shows_why(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(
        MemoryAuditStore(), fail_appends=range(6, 1000), fail_openings=range(2, 1000)
    )
    async with open_world(audit_store=store) as world:
        assert world.runtime.tree().children[0].state == "running"
        while store.appends < 6:
            with suppress(AuditUnavailableError):
                await world.session().execute_text(NAME, "echo")
        await wait_all_tasks_blocked()
        enforcer = world.runtime.tree().children[0]
        assert enforcer.state == "refusing"
        assert "as the test asked" in enforcer.last_error


async def lifecycle(world: World, verb: str) -> list[RuntimeEvent]:
    async with world.runtime.events() as stream:
        await getattr(world.runtime, verb)(NAME)
        await wait_all_tasks_blocked()
        events: list[RuntimeEvent] = []
        with trio.move_on_after(1):
            async for event in stream:
                events.append(event)  # noqa: PERF401 - what came before the timeout counts
    return events


async def test_every_step_is_an_event_in_order(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        events = await lifecycle(world, "drain")
        assert [event.state for event in events] == [
            PluginState.DRAINING,
            PluginState.STOPPING,
            PluginState.STOPPED,
        ]
        events = await lifecycle(world, "start")
        assert [event.state for event in events if event.kind is EventKind.LIFECYCLE] == [
            PluginState.VALIDATING,
            PluginState.LOADING,
            PluginState.RUNNING,
        ]
        assert {event.generation for event in events} == {2}
        numbers = [event.seq for event in events]
        assert numbers == sorted(set(numbers))


async def test_a_swap_is_told_with_both_generations(autojump_clock: MockClock) -> None:
    async with open_world() as world:
        events = await lifecycle(world, "reload")
        told = [(event.generation, event.kind, event.state) for event in events]
        swapped = told.index((2, EventKind.SWAPPED, None))
        assert told[swapped - 1] == (2, EventKind.LIFECYCLE, PluginState.RUNNING)
        assert (1, EventKind.LIFECYCLE, PluginState.STOPPED) in told[swapped:]


async def test_a_crash_a_restart_and_a_quarantine_are_told(autojump_clock: MockClock) -> None:
    plugins = {NAME: FakePlugin(failing_starts=100)}
    async with open_world(plugins=plugins, wait=False) as world:
        kinds: list[EventKind] = []
        async with world.runtime.events() as stream:
            async for event in stream:
                if event.kind is not EventKind.LIFECYCLE:
                    kinds.append(event.kind)
                if event.kind is EventKind.QUARANTINED:
                    assert "fails to start" in event.reason
                    break
        assert kinds == [EventKind.RESTART] * 3 + [EventKind.QUARANTINED]


async def test_a_stream_ends_with_the_runtime_after_its_last_event(
    autojump_clock: MockClock,
) -> None:
    seen: list[PluginState | None] = []

    async def follow(stream: EventStream) -> None:
        seen.extend([event.state async for event in stream])

    async with trio.open_nursery() as nursery:
        async with open_runtime(
            manifests=[(manifest(), None)], audit_store=MemoryAuditStore(), tiers=[FakeTier()]
        ) as runtime:
            await runtime.wait_until_running(NAME)
            events = runtime.events()
            nursery.start_soon(follow, await events.__aenter__())
        await wait_all_tasks_blocked()
        await events.__aexit__(None, None, None)
    assert seen[-1] is PluginState.STOPPED


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many() -> None:
    events = Events(SystemClock())
    async with events.open_stream() as stream:
        for _ in range(EVENTS_MAX + 5):
            events.publish("p", EventKind.ADDED)
        first = await anext(stream)
        assert (first.seq, first.missed) == (6, 5)
        assert (await anext(stream)).missed == 0


async def test_a_reader_that_is_cancelled_loses_nothing() -> None:
    events = Events(SystemClock())
    async with events.open_stream() as stream:
        with trio.CancelScope() as scope:
            scope.cancel()
            events.publish("p", EventKind.ADDED)
            await anext(stream)
        assert (await anext(stream)).seq == 1


async def test_a_stream_opened_after_the_end_ends_at_once() -> None:
    events = Events(SystemClock())
    events.end()
    async with events.open_stream() as stream:
        assert [event async for event in stream] == []
