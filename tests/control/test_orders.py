"""What operators have done to plugins through the socket: it happens, and is on record before."""

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from sigil_actors import MemoryAuditStore, RuntimeSettings
from sigil_actors.control import operations, operator_log, server
from sigil_actors.control.client import ControlClient
from sigil_actors.control.error_report import ReportedError
from sigil_actors.control.protocol import (
    ApproveRequest,
    CallRequest,
    DescribeRequest,
    EventsRequest,
    ExplainRequest,
    HeldRequest,
    ListRequest,
    OrderRequest,
    Verb,
    encode,
)
from sigil_actors.control.socket_file import (
    SupervisorUnreachableError,
    listening_socket,
    socket_path,
)
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.runtime.clock import SystemClock
from sigil_actors.runtime.events import EVENTS_MAX, EventKind, Events
from tests.control.test_server import ECHO, PATIENCE_S, PLUGINS, controlled
from tests.runtime.folder_world import break_plugin, open_folder_world, write_plugin
from tests.runtime.world import open_world

START = OrderRequest(verb=Verb.START, plugin="echo-tool")
STOP = OrderRequest(verb=Verb.STOP, plugin="echo-tool")


async def state_of(client: ControlClient) -> object:
    listed = await client.list(ListRequest(plugin="echo-tool"))
    assert isinstance(listed["plugins"], list)
    [status] = listed["plugins"]
    assert isinstance(status, dict)
    return status["state"]


def orders_in(entries: list[AuditEntry]) -> list[tuple[str, str, str]]:
    return [
        (entry.actor, entry.plugin, entry.result)
        for entry in entries
        if entry.action == operator_log.ACTION
    ]


@pytest.mark.parametrize(
    ("verb", "state"),
    [
        (Verb.STOP, "stopped"),
        (Verb.DRAIN, "stopped"),
        (Verb.START, "running"),
        (Verb.RELOAD, "running"),
    ],
)
async def test_an_order_is_carried_out_and_recorded_before_under_the_operators_uid(
    verb: Verb, state: str, tmp_path: Path
) -> None:
    async with controlled(tmp_path) as one:
        if verb is Verb.START:
            await one.client.order(STOP)
        answer = await one.client.order(OrderRequest(verb=verb, plugin="echo-tool"))
        assert answer["state"] == state
        assert await state_of(one.client) == state
        entries = list(one.world.store.entries)
    assert orders_in(entries)[-1] == (f"uid:{os.getuid()}", "echo-tool", str(verb))
    recorded = next(n for n, e in enumerate(entries) if (e.action, e.result) == ("operator", verb))
    effects = {"stop": "draining", "drain": "draining", "start": "running", "reload": "running"}
    happened = [
        n for n, e in enumerate(entries) if (e.action, e.result) == ("lifecycle", effects[verb])
    ]
    assert happened[-1] > recorded


@pytest.mark.parametrize("verb", Verb)
async def test_an_order_for_a_plugin_that_isnt_there_is_refused_and_not_recorded(
    verb: Verb, tmp_path: Path
) -> None:
    async with controlled(tmp_path) as one:
        with pytest.raises(ReportedError) as caught:
            await one.client.order(OrderRequest(verb=verb, plugin="echo-tol"))
        assert caught.value.report.kinds[0] == "PluginNotFoundError"
        assert orders_in(list(one.world.store.entries)) == []


async def test_a_bad_manifest_is_no_matter_to_a_plugin_that_runs(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "alpha", "one")
    async with open_folder_world(plugins) as world, trio.open_nursery() as nursery:
        await nursery.start(server.serve_control, world.runtime, tmp_path)
        client = ControlClient(tmp_path)
        await world.running("alpha")
        break_plugin(plugins, "alpha")
        await world.rescan()
        assert world.runtime.problems
        async with client.call(CallRequest(plugin="alpha", tool="who", arguments={})) as chunks:
            assert [chunk async for chunk in chunks] == ["one"]
        await client.describe(DescribeRequest(plugin="alpha"))
        await client.explain(ExplainRequest(plugin="alpha", capability="tool.who"))
        assert (await client.held(HeldRequest(plugin="alpha")))["held"] is None
        assert (await client.list(ListRequest(plugin="alpha")))["plugins"]
        for verb, state in [
            (Verb.START, "running"),
            (Verb.STOP, "stopped"),
            (Verb.DRAIN, "stopped"),
        ]:
            answer = await client.order(OrderRequest(verb=verb, plugin="alpha"))
            assert answer["state"] == state
        with pytest.raises(ReportedError, match="can't be loaded again"):
            await client.order(OrderRequest(verb=Verb.START, plugin="alpha"))
        nursery.cancel_scope.cancel()


async def test_of_a_plugin_that_was_never_loaded_its_bad_manifest_is_told(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "alpha", "one")
    break_plugin(plugins, "alpha")
    async with open_folder_world(plugins) as world, trio.open_nursery() as nursery:
        await nursery.start(server.serve_control, world.runtime, tmp_path)
        client = ControlClient(tmp_path)
        for verb in Verb:
            with pytest.raises(ReportedError) as caught:
                await client.order(OrderRequest(verb=verb, plugin="alpha"))
            told = "ManifestError" if verb is Verb.START else "PluginNotFoundError"
            assert caught.value.report.kinds[0] == told
        with pytest.raises(ReportedError) as caught:
            await client.list(ListRequest(plugin="alpha"))
        assert caught.value.report.kinds[0] == "ManifestError"
        nursery.cancel_scope.cancel()


class Breakable(MemoryAuditStore):
    """A store that is down, or that never answers, from when somebody says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_down = False
        self.goes_on = trio.Event()
        self.goes_on.set()

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        await self.goes_on.wait()
        if self.is_down:
            raise AuditUnavailableError("the disk is full", remedy="Make room")
        return await super().append(entries)


@asynccontextmanager
async def breakable(state: Path) -> AsyncGenerator[tuple[ControlClient, Breakable]]:
    store = Breakable()
    with trio.fail_after(PATIENCE_S):
        async with (
            open_world(plugins=PLUGINS, audit_store=store) as world,
            trio.open_nursery() as nursery,
        ):
            await nursery.start(server.serve_control, world.runtime, state)
            yield ControlClient(state), store
            store.is_down = False
            store.goes_on.set()
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.DRAIN])
async def test_a_stop_works_though_the_audit_log_is_down_and_is_recorded_when_it_is_back(
    verb: Verb, tmp_path: Path
) -> None:
    async with breakable(tmp_path) as (client, store):
        store.is_down = True
        answer = await client.order(OrderRequest(verb=verb, plugin="echo-tool"))
        assert answer["state"] == "stopped"
    entries = list(store.entries)
    assert orders_in(entries) == [(f"uid:{os.getuid()}", "echo-tool", str(verb))]
    assert [e.details for e in entries if e.action == operator_log.ACTION] == [{"late": True}]


async def test_a_stop_doesnt_wait_for_a_log_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_log, "STOP_RECORDED_S", 0.05)
    async with breakable(tmp_path) as (client, store):
        store.goes_on = trio.Event()
        # The enforcer itself would wait for twice as long.
        with trio.fail_after(RuntimeSettings().audit_timeout_s / 2):
            assert (await client.order(STOP))["state"] == "stopped"
    assert {"late": True} in [entry.details for entry in store.entries]


@pytest.mark.parametrize("verb", [Verb.START, Verb.RELOAD])
async def test_what_would_run_something_is_refused_while_the_audit_log_is_down(
    verb: Verb, tmp_path: Path
) -> None:
    async with breakable(tmp_path) as (client, store):
        before = await client.order(STOP)
        store.is_down = True
        with pytest.raises(ReportedError) as caught:
            await client.order(OrderRequest(verb=verb, plugin="echo-tool"))
        assert "AuditUnavailableError" in caught.value.report.kinds
        listed = await client.list(ListRequest())
        assert listed["plugins"] == [before]
        with pytest.raises(ReportedError):
            await client.rescan()
        approval = ApproveRequest(plugin="echo-tool", snapshot_sha256="0" * 64)
        with pytest.raises(ReportedError) as caught:
            await client.approve(approval)
        assert "AuditUnavailableError" in caught.value.report.kinds


async def test_nothing_is_held_of_a_plugin_that_runs_and_nothing_can_be_approved(
    tmp_path: Path,
) -> None:
    async with controlled(tmp_path) as one:
        answer = await one.client.held(HeldRequest(plugin="echo-tool"))
        assert (answer["held"], answer["state"]) == (None, "running")
        with pytest.raises(ReportedError, match="nothing of it is held"):
            await one.client.approve(ApproveRequest(plugin="echo-tool", snapshot_sha256="0" * 64))


async def test_the_tree_is_told_as_data_and_as_text(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        answer = await one.client.tree()
        tree = one.world.runtime.tree()
    assert isinstance(answer["tree"], dict)
    assert answer["tree"]["name"] == tree.name
    assert str(answer["text"]).splitlines() == list(tree.lines())


async def test_a_supervisor_tells_which_plugins_folder_it_has(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        assert await one.client.about() == {
            "plugins": None,
            "stop_grace_s": RuntimeSettings().stop_grace_s,
        }


async def test_events_are_told_from_the_beginning_of_the_block_to_the_end_of_the_runtime(
    tmp_path: Path,
) -> None:
    told: list[JsonObject] = []
    async with trio.open_nursery() as nursery, controlled_to_the_end(tmp_path) as client:
        following = trio.Event()

        async def follow() -> None:
            async with client.events(EventsRequest(plugin="echo-tool")) as events:
                following.set()
                told.extend([event async for event in events])

        nursery.start_soon(follow)
        await following.wait()
        await client.order(STOP)
    states = [event["state"] for event in told if event["kind"] == "lifecycle"]
    assert states == ["draining", "stopping", "stopped"]
    assert all(event["plugin"] == "echo-tool" and event["missed"] == 0 for event in told)


async def test_events_of_others_are_left_out_and_what_was_missed_is_counted_all_the_same() -> None:
    events = Events(SystemClock())
    async with events.open_stream() as stream:
        for number in range(EVENTS_MAX + 3):
            plugin = "mine" if number == EVENTS_MAX + 2 else "other"
            events.publish(plugin, EventKind.ADDED)
        told = await anext(operations._EventsOf(stream, "mine"))
    assert (told["plugin"], told["missed"]) == ("mine", 3)


@asynccontextmanager
async def controlled_to_the_end(state: Path) -> AsyncGenerator[ControlClient]:
    """Serve as `run` does: the clients are there until the runtime has ended."""
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as clients:
            async with open_world(plugins=PLUGINS) as world:
                await clients.start(server.serve_control, world.runtime, state)
                yield ControlClient(state)


async def test_a_supervisor_that_stops_is_looked_at_until_its_runtime_has_ended(
    tmp_path: Path,
) -> None:
    stopping = trio.Event()
    client = ControlClient(tmp_path)
    with trio.fail_after(PATIENCE_S):
        async with trio.open_nursery() as clients:
            async with open_world(plugins=PLUGINS) as world:
                serve = partial(server.serve_control, stopping=stopping)
                await clients.start(serve, world.runtime, tmp_path)
                stopping.set()
                listed = await client.list(ListRequest())
                assert isinstance(listed["plugins"], list)
                assert len(listed["plugins"]) == 1
                assert (await client.tree())["text"]
                with pytest.raises(ReportedError, match="is stopping") as caught:
                    await client.order(STOP)
                assert caught.value.report.kinds[0] == "SupervisorStoppingError"
                with pytest.raises(ReportedError, match="is stopping"):
                    await client.rescan()
                with pytest.raises(ReportedError, match="is stopping"):
                    async with client.call(ECHO) as chunks:
                        await anext(chunks)
                assert client.is_supervised()
            assert orders_in(list(world.store.entries)) == []
        assert not client.is_supervised()
        assert not socket_path(tmp_path).exists()


async def test_events_of_a_plugin_that_isnt_there_are_refused(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        with pytest.raises(ReportedError, match="is not known"):
            async with one.client.events(EventsRequest(plugin="nobody")):
                pass


async def test_a_follower_that_hangs_up_is_forgotten(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        for _ in range(3):
            async with one.client.events(EventsRequest()):
                pass
        await one.check_that_it_serves()


@pytest.mark.parametrize("answer", [{"done": {}}, {"event": {}}, {"event": 5}])
async def test_a_stream_of_events_that_begins_wrongly_is_refused(
    answer: JsonObject, tmp_path: Path
) -> None:
    async def answer_wrongly(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(encode(answer))

    with trio.fail_after(PATIENCE_S), listening_socket(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(trio.serve_listeners, answer_wrongly, [listening])
            with pytest.raises(Exception, match="isn't one of this protocol"):
                async with ControlClient(tmp_path).events(EventsRequest()):
                    pass
            nursery.cancel_scope.cancel()


async def test_whoever_follows_learns_that_the_supervisor_was_killed(tmp_path: Path) -> None:
    async def say_one_and_go(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(encode({"event": None}) + encode({"event": {"seq": 1}}))

    with trio.fail_after(PATIENCE_S), listening_socket(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(trio.serve_listeners, say_one_and_go, [listening])
            async with ControlClient(tmp_path).events(EventsRequest()) as events:
                assert await anext(events) == {"seq": 1}
                with pytest.raises(SupervisorUnreachableError, match="went away"):
                    await anext(events)
            nursery.cancel_scope.cancel()
