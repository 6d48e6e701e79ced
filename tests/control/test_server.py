"""The control socket under hostile clients: each ends its own connection and nothing else."""

import json
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.control import operations, server, socket_file
from sigil_actors.control.client import ControlClient
from sigil_actors.control.error_report import ReportedError
from sigil_actors.control.protocol import (
    CallRequest,
    ControlProtocolError,
    DescribeRequest,
    EventsRequest,
    ExplainRequest,
    ListRequest,
    OrderRequest,
    Verb,
    encode,
    encode_request,
)
from sigil_actors.control.socket_file import (
    ControlSocketError,
    SupervisorUnreachableError,
    listening_socket,
    socket_path,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing.fake_tier import FakePlugin
from tests.runtime.world import World, open_world

PATIENCE_S = 30.0
PIECE = "x" * 100_000


async def echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments
    yield "done"


async def hang(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "started"
    await trio.sleep_forever()


async def flood(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    while True:
        yield PIECE


PLUGINS = {"echo-tool": FakePlugin(tools={"echo": echo, "hang": hang, "flood": flood})}
ECHO = CallRequest(plugin="echo-tool", tool="echo", arguments={"a": 1})


@attrs.frozen
class Controlled:
    """A runtime that is served at a socket."""

    world: World
    state: Path
    client: ControlClient

    async def connect(self) -> trio.SocketStream:
        return await trio.open_unix_socket(str(socket_path(self.state)))

    async def wait_in_flight(self, count: int) -> None:
        """Wait until so many calls are in the plugin; nothing tells that but a look."""
        while self.world.runtime.get("echo-tool").in_flight != count:  # noqa: ASYNC110
            await trio.sleep(0.001)

    async def check_that_it_serves(self) -> None:
        async with self.client.call(ECHO) as chunks:
            assert [chunk async for chunk in chunks] == ['{"a": 1}', "done"]


@asynccontextmanager
async def controlled(state: Path) -> AsyncGenerator[Controlled]:
    with trio.fail_after(PATIENCE_S):
        async with open_world(plugins=PLUGINS) as world, trio.open_nursery() as nursery:
            await nursery.start(server.serve_control, world.runtime, state)
            yield Controlled(world, state, ControlClient(state))
            nursery.cancel_scope.cancel()


async def all_of(stream: trio.SocketStream) -> bytes:
    received = b""
    try:
        async for some in stream:
            received += some
    except trio.BrokenResourceError:
        pass
    return received


async def test_calls_lists_descriptions_and_explanations_are_served(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        await one.check_that_it_serves()
        listed = await one.client.list(ListRequest())
        assert listed["problems"] == []
        assert [plugin["name"] for plugin in listed["plugins"]] == ["echo-tool"]  # type: ignore[index,union-attr,call-overload]
        described = await one.client.describe(DescribeRequest(plugin="echo-tool"))
        assert len(described["tools"]) == 3  # type: ignore[arg-type]
        explained = await one.client.explain(
            ExplainRequest(plugin="echo-tool", capability="tool.echo", workspace_allow=("kv.*",))
        )
        assert (explained["allowed"], explained["reason"]) == (False, "workspace_allow_missing")


async def test_an_error_keeps_its_type_and_a_denial_its_explanation(tmp_path: Path) -> None:
    denied = attrs.evolve(ECHO, user_permissions=("kv.*",))
    async with controlled(tmp_path) as one:
        with pytest.raises(ReportedError) as caught:
            async with one.client.call(denied) as chunks:
                await anext(chunks)
        report = caught.value.report
        assert report.kinds[0] == "CapabilityDeniedError"
        assert any("user_permissions" in line for line in report.explanation)


async def test_whom_the_kernel_names_is_the_actor_whatever_the_client_says(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        await one.check_that_it_serves()
        stream = await one.connect()
        async with stream:
            fields = json.loads(encode_request(ECHO))
            await stream.send_all(encode({**fields, "uid": 0, "actor": "root"}))
            assert b"ControlProtocolError" in await all_of(stream)
    actors = {entry.actor for entry in one.world.store.entries if entry.capability == "tool.echo"}
    assert actors == {f"uid:{os.getuid()}"}


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00\xff\xfe garbage\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\n",
        b"[]\n",
        b'{"version":1,"operation":"call"}\n',
        b'{"version":99}\n',
    ],
)
async def test_garbage_is_answered_with_an_error_and_hung_up_on(
    sent: bytes, tmp_path: Path
) -> None:
    async with controlled(tmp_path) as one:
        async with await one.connect() as stream:
            await stream.send_all(sent)
            answer = json.loads((await all_of(stream)).splitlines()[0])
            assert answer["error"]["type"] == "ControlProtocolError"
        await one.check_that_it_serves()


async def test_a_line_without_end_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_BYTES_MAX", 1000)
    async with controlled(tmp_path) as one:
        for end in (b"", b"\n"):
            async with await one.connect() as stream:
                await stream.send_all(b"x" * 2000 + end)
                assert b"longer than 1000 bytes" in await all_of(stream)
        await one.check_that_it_serves()


async def test_who_says_nothing_is_hung_up_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.05)
    async with controlled(tmp_path) as one:
        for start in (b"", b'{"version":'):
            async with await one.connect() as stream:
                if start:
                    await stream.send_all(start)
                assert await all_of(stream) == b""
        await one.check_that_it_serves()


async def test_who_ends_in_the_middle_of_a_request_is_told(tmp_path: Path) -> None:
    async with controlled(tmp_path) as one:
        async with await one.connect() as stream:
            await stream.send_all(encode_request(ECHO)[:-1])
            await stream.send_eof()
            assert b"middle of a line" in await all_of(stream)
        await one.check_that_it_serves()


@pytest.mark.parametrize("how", ["close", "half", "more"])
async def test_who_hangs_up_or_goes_on_talking_cancels_the_call(how: str, tmp_path: Path) -> None:
    hanging = encode_request(attrs.evolve(ECHO, tool="hang"))
    async with controlled(tmp_path) as one:
        async with await one.connect() as stream:
            await stream.send_all(hanging)
            assert b"started" in await stream.receive_some()
            assert one.world.runtime.get("echo-tool").in_flight == 1
            if how == "half":
                await stream.send_eof()
            elif how == "more":
                await stream.send_all(b"x")
            if how != "close":
                assert await all_of(stream) == b""
        await one.wait_in_flight(0)
        await one.check_that_it_serves()


async def test_a_reader_that_takes_nothing_is_hung_up_on_and_its_call_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SEND_S", 0.05)
    flooding = encode_request(attrs.evolve(ECHO, tool="flood"))
    async with controlled(tmp_path) as one:
        async with await one.connect() as stream:
            await stream.send_all(flooding)
            await one.wait_in_flight(1)
            await one.check_that_it_serves()
            await one.wait_in_flight(0)
        await one.check_that_it_serves()


async def test_too_many_clients_are_told_so_and_later_ones_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENTS_MAX", 2)
    hanging = attrs.evolve(ECHO, tool="hang")
    async with controlled(tmp_path) as one:
        async with one.client.call(hanging) as first, one.client.call(hanging) as second:
            assert [await anext(first), await anext(second)] == ["started", "started"]
            with pytest.raises(ReportedError, match="serves 2 clients already"):
                await one.client.list(ListRequest())
        await one.wait_in_flight(0)
        await one.check_that_it_serves()


async def test_event_streams_leave_room_for_calls_and_are_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "EVENT_STREAMS_MAX", 2)
    async with controlled(tmp_path) as one:
        async with one.client.events(EventsRequest()), one.client.events(EventsRequest()):
            with pytest.raises(ReportedError, match="serves 2 event streams already"):
                async with one.client.events(EventsRequest()):
                    pass
            await one.check_that_it_serves()
        while not await can_follow(one.client):
            pass


async def can_follow(client: ControlClient) -> bool:
    """Tell whether there is room: a stream is let go of once its client has hung up."""
    try:
        async with client.events(EventsRequest()):
            return True
    except ReportedError:
        return False


async def test_calls_and_event_streams_leave_room_for_looks_and_orders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "LASTING_MAX", 2)
    hanging = attrs.evolve(ECHO, tool="hang")
    async with controlled(tmp_path) as one:
        async with one.client.call(hanging) as call, one.client.events(EventsRequest()):
            assert await anext(call) == "started"
            with pytest.raises(ReportedError, match="serves 2 calls and event streams already"):
                async with one.client.call(ECHO) as chunks:
                    await anext(chunks)
            await one.client.list(ListRequest())
            stopping = OrderRequest(verb=Verb.STOP, plugin="echo-tool")
            assert (await one.client.order(stopping))["state"] == "stopped"


def test_the_default_bounds_leave_room() -> None:
    assert server.EVENT_STREAMS_MAX < server.LASTING_MAX < server.CLIENTS_MAX


async def test_another_user_is_sent_away_on_either_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with controlled(tmp_path) as one:
        monkeypatch.setattr(socket_file, "peer_uid", lambda _connection: 4242)
        with pytest.raises(SupervisorUnreachableError, match="another user"):
            await one.client.list(ListRequest())
        monkeypatch.undo()
        monkeypatch.setattr(server, "is_ours", lambda _connection: False)
        with pytest.raises(SupervisorUnreachableError, match="went away"):
            await one.client.list(ListRequest())
        monkeypatch.undo()
        await one.check_that_it_serves()


def test_where_the_kernel_doesnt_say_who_connects_nobody_is_ours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here, there = socket.socketpair()
    with here, there:
        assert socket_file.is_ours(here)
        monkeypatch.delattr(socket, "SO_PEERCRED")
        assert not socket_file.is_ours(here)


async def test_a_bug_in_serving_a_client_is_logged_and_told_and_hurts_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_arguments: object) -> None:
        raise ZeroDivisionError("a secret of ours")

    async with controlled(tmp_path) as one:
        monkeypatch.setattr(operations.RuntimeOperations, "list", broken)
        with pytest.raises(ReportedError, match="a bug of its own") as caught:
            await one.client.list(ListRequest())
        assert "secret" not in str(caught.value.report)
        assert "a secret of ours" in caplog.text
        monkeypatch.setattr(server, "decode_request", broken)
        with pytest.raises(SupervisorUnreachableError):
            await one.client.list(ListRequest())
        monkeypatch.undo()
        await one.check_that_it_serves()


async def test_no_socket_and_a_stale_one_are_no_supervisor(tmp_path: Path) -> None:
    client = ControlClient(tmp_path)
    assert not client.is_supervised()
    with pytest.raises(SupervisorUnreachableError, match="no supervisor is listening"):
        await client.list(ListRequest())
    (tmp_path / "control").mkdir()
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(socket_path(tmp_path)))
    stale.close()
    assert not client.is_supervised()
    async with controlled(tmp_path) as one:
        assert one.client.is_supervised()
        await one.check_that_it_serves()
    assert not socket_path(tmp_path).exists()


def test_a_supervisor_that_takes_nobody_is_unreachable(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir()
    waiting: list[socket.socket | None] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(socket_path(tmp_path)))
        listener.listen(0)
        with pytest.raises(SupervisorUnreachableError, match="can't be reached"):
            waiting.extend(socket_file.connected_socket(tmp_path) for _ in range(10))
    for connection in waiting:
        assert connection is not None
        connection.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"", SupervisorUnreachableError),
        (b"garbage\n", ControlProtocolError),
        (b'{"chunk": 5}\n', ControlProtocolError),
        (b'{"done": 5}\n', ControlProtocolError),
        (b'{"error": {}}\n', ControlProtocolError),
        (b'{"done": {', ControlProtocolError),
    ],
)
async def test_an_answer_that_isnt_one_is_a_typed_error(
    answer: bytes, error: type[Exception], tmp_path: Path
) -> None:
    async def answer_wrongly(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(answer)

    with trio.fail_after(PATIENCE_S), listening_socket(tmp_path) as listener:
        async with trio.open_nursery() as nursery:
            listening = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
            nursery.start_soon(trio.serve_listeners, answer_wrongly, [listening])
            with pytest.raises(error):
                await ControlClient(tmp_path).list(ListRequest())
            nursery.cancel_scope.cancel()


def test_a_control_folder_that_is_a_file_or_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "control").symlink_to(tmp_path / "elsewhere")
    with (
        pytest.raises(ControlSocketError, match="not a folder of this user"),
        listening_socket(tmp_path),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
    (tmp_path / "control").unlink()
    (tmp_path / "control").touch()
    with pytest.raises(ControlSocketError), listening_socket(tmp_path):
        pass


def test_a_control_folder_that_others_may_enter_is_closed_to_them(tmp_path: Path) -> None:
    (tmp_path / "control").mkdir(mode=0o755)
    with listening_socket(tmp_path):
        assert (tmp_path / "control").stat().st_mode & 0o077 == 0


def test_the_socket_of_the_next_holder_is_left_alone(tmp_path: Path) -> None:
    with listening_socket(tmp_path):
        with listening_socket(tmp_path):
            theirs = socket_path(tmp_path).lstat()
            socket_path(tmp_path).rename(tmp_path / "kept")
        (tmp_path / "kept").rename(socket_path(tmp_path))
    assert os.path.samestat(socket_path(tmp_path).lstat(), theirs)
