"""A peer that breaks the contract is an error for whoever called it, within bounds."""

import math
from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
import pytest
import trio
import trio.testing

from sigil_actors._proto.grpc.health.v1 import health_pb2, health_pb2_grpc
from sigil_actors._proto.plugin import stdio_pb2, stdio_pb2_grpc
from sigil_actors._proto.plugin.v1 import (
    lifecycle_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    tool_pb2,
    tool_pb2_grpc,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.provider_calls import ChatRequest, Done
from sigil_actors.errors import PluginCallError, PluginCrashedError, PluginStartError
from sigil_actors.ports.tier import TierSession
from sigil_actors.rpc.call import Call
from sigil_actors.rpc.channel import Channel
from sigil_actors.tiers.remote import calls, ending
from sigil_actors.tiers.remote import session as session_module
from sigil_actors.tiers.remote.ending import Ending
from sigil_actors.tiers.remote.go_services import Stdio, check_health, shut_down
from sigil_actors.tiers.remote.session import RemoteSession
from tests.tiers.remote.in_process import Scripted, open_peer

REQUEST = ExecuteRequest(tool_name="t", arguments="{}", session_id="s")
CHUNK = tool_pb2.ExecuteChunk


def session_on(channel: Channel) -> RemoteSession:
    def crash() -> PluginCrashedError:
        return PluginCrashedError("peer", "closed its connection", last_words=["bye"])

    return RemoteSession("peer", channel, Ending("peer", crash))


def tool(execute: Any) -> tuple[Any, Scripted]:
    return tool_pb2_grpc.add_ToolServicer_to_server, Scripted(Execute=execute)


async def texts(session: TierSession) -> list[str]:
    async with session.execute(REQUEST) as chunks:
        return [piece async for piece in chunks]


# Health, shutdown, stdio


async def test_a_plugin_that_is_not_serving_is_refused() -> None:
    async def check(request: health_pb2.HealthCheckRequest, _: object) -> object:
        await trio.lowlevel.checkpoint()
        assert request.service == "plugin"
        return health_pb2.HealthCheckResponse(status=answers.pop(0))

    status = health_pb2.HealthCheckResponse
    answers = [status.SERVING, status.UNKNOWN, status.NOT_SERVING]
    add = health_pb2_grpc.add_HealthServicer_to_server
    async with open_peer((add, Scripted(Check=check))) as channel:
        await check_health("peer", channel)
        for _ in range(2):
            with pytest.raises(PluginStartError, match="isn't serving"):
                await check_health("peer", channel)


async def test_a_plugin_without_a_health_service_is_refused() -> None:
    async with open_peer() as channel:
        with pytest.raises(PluginStartError, match="UNIMPLEMENTED"):
            await check_health("peer", channel)


async def test_asking_a_plugin_to_stop_never_fails() -> None:
    async with open_peer() as channel:
        await shut_down(channel)
        channel.close()
        await shut_down(channel)


async def test_a_plugin_without_a_stdio_stream_has_two_outputs_that_end() -> None:
    async with open_peer() as channel:
        stdio = Stdio()
        await stdio.read(channel)
        assert await stdio.stdout.receive_some(10) == b""
        assert await stdio.stderr.receive_some(10) == b""


async def test_outputs_keep_their_bytes_apart_and_in_order_in_pieces_of_any_size() -> None:
    data = stdio_pb2.StdioData

    async def stream(_request: object, _context: object) -> AsyncIterator[object]:
        for number in range(10):
            yield data(channel=data.STDOUT, data=f"out{number};".encode())
            yield data(channel=data.STDERR, data=f"err{number};".encode())
            yield data(channel=data.INVALID, data=b"nowhere")
            yield data(channel=data.STDOUT)

    add = stdio_pb2_grpc.add_GRPCStdioServicer_to_server
    async with open_peer((add, Scripted(StreamStdio=stream))) as channel:
        stdio = Stdio()
        said = {"out": b"", "err": b""}

        async def gather(name: str, output: Any) -> None:
            while piece := await output.receive_some(3):
                assert len(piece) <= 3
                said[name] += piece

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stdio.read, channel)
            nursery.start_soon(gather, "out", stdio.stdout)
            nursery.start_soon(gather, "err", stdio.stderr)
    for name in ("out", "err"):
        assert said[name] == b"".join(f"{name}{number};".encode() for number in range(10))


# Calls


async def test_nothing_that_follows_an_answers_end_is_passed_on() -> None:
    async def execute(_request: object, _context: object) -> AsyncIterator[object]:
        yield CHUNK(text="a")
        yield CHUNK()
        yield CHUNK(done=False)
        yield CHUNK(text="")
        yield CHUNK(text="b")
        yield CHUNK(done=True)
        yield CHUNK(text="more")
        yield CHUNK(error="and an error")

    async with open_peer(tool(execute)) as channel:
        assert await texts(session_on(channel)) == ["a", "b"]


async def test_an_error_is_told_once_and_then_the_answer_is_over() -> None:
    async def execute(_request: object, _context: object) -> AsyncIterator[object]:
        yield CHUNK(error="\x1b[31m")
        yield CHUNK(text="more")

    async with open_peer(tool(execute)) as channel:
        async with session_on(channel).execute(REQUEST) as chunks:
            with pytest.raises(PluginCallError) as caught:
                await anext(chunks)
            assert caught.value.reason == "\\x1b[31m"
            for _ in range(2):
                with pytest.raises(StopAsyncIteration):
                    await anext(chunks)


@pytest.mark.parametrize("last", [CHUNK(done=True), CHUNK(error="no")], ids=["done", "error"])
async def test_a_plugin_that_does_not_return_after_its_last_piece_is_cancelled(
    last: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calls, "TRAIL_S", 0.05)
    returned = trio.Event()

    async def execute(_request: object, _context: object) -> AsyncIterator[object]:
        try:
            yield last
            await trio.sleep_forever()
        finally:
            returned.set()

    async with open_peer(tool(execute)) as channel:
        with trio.fail_after(5):
            if last == CHUNK(done=True):
                assert await texts(session_on(channel)) == []
            else:
                with pytest.raises(PluginCallError, match="no"):
                    await texts(session_on(channel))
            await returned.wait()


async def test_leaving_an_answer_early_is_told_to_the_plugin() -> None:
    stopped = trio.Event()

    async def execute(_request: object, _context: object) -> AsyncIterator[object]:
        try:
            yield CHUNK(text="started")
            await trio.sleep_forever()
        finally:
            stopped.set()

    async with open_peer(tool(execute)) as channel:
        async with session_on(channel).execute(REQUEST) as chunks:
            assert await anext(chunks) == "started"
        with trio.fail_after(5):
            await stopped.wait()
        with pytest.raises(PluginCallError, match="its block left"):
            await anext(chunks)


async def test_a_plugin_that_serves_no_tools_has_none() -> None:
    async with open_peer() as channel:
        assert await session_on(channel).describe() == ()


async def test_a_plugin_may_do_what_it_has_to_after_its_last_piece() -> None:
    did_it = False

    async def execute(_request: object, _context: object) -> AsyncIterator[object]:
        nonlocal did_it
        yield CHUNK(done=True)
        await trio.sleep(0.05)
        did_it = True

    async with open_peer(tool(execute)) as channel:
        await texts(session_on(channel))
    assert did_it


async def test_a_chat_is_over_after_its_done() -> None:
    event = provider_pb2.ChatEvent

    async def chat(_request: object, _context: object) -> AsyncIterator[object]:
        yield event()
        yield event(done=True)
        yield event(error="after the end")

    add = provider_pb2_grpc.add_ProviderServicer_to_server
    async with open_peer((add, Scripted(Chat=chat))) as channel:
        request = ChatRequest(model="m", messages=[])
        async with session_on(channel).chat(request, session_id="s") as events:
            assert [said async for said in events] == [Done()]


async def test_a_malformed_answer_is_an_error_that_names_it() -> None:
    async def describe(_request: object, _context: object) -> object:
        await trio.lowlevel.checkpoint()
        answer = tool_pb2.DescribeResponse()
        answer.tools.add(name="x").input_schema.fields["n"].number_value = math.inf
        return answer

    add = tool_pb2_grpc.add_ToolServicer_to_server
    async with open_peer((add, Scripted(Describe=describe))) as channel:
        with pytest.raises(PluginCallError, match="malformed: a number"):
            await session_on(channel).describe()


async def test_what_cannot_be_written_is_the_callers_error_and_nothing_is_called() -> None:
    async with open_peer() as channel:
        session = session_on(channel)
        with pytest.raises(PluginCallError, match="doesn't fit"):
            await texts_of(session, '"\ud800"')
        with pytest.raises(PluginStartError, match="doesn't fit"):
            await session.init({"n": 1 << 60})


async def texts_of(session: TierSession, arguments: str) -> None:
    request = ExecuteRequest(tool_name="t", arguments=arguments, session_id="s")
    async with session.execute(request) as chunks:
        await anext(chunks)


async def test_a_plugin_without_a_lifecycle_cannot_be_started() -> None:
    async with open_peer() as channel:
        with pytest.raises(PluginStartError, match="couldn't be given its configuration"):
            await session_on(channel).init({})


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
)
async def test_no_status_of_a_plugins_is_taken_for_its_end(code: grpc.StatusCode) -> None:
    async def health(_request: object, context: Any) -> None:
        await context.abort(code, "\x1b so")

    add = lifecycle_pb2_grpc.add_PluginLifecycleServicer_to_server
    async with open_peer((add, Scripted(Health=health))) as channel:
        session = session_on(channel)
        for _ in range(2):
            with pytest.raises(PluginCallError) as caught:
                await session.health()
            assert caught.value.reason.isprintable()


class Endless:
    """A call that always has a message, and so never has anybody wait."""

    def __init__(self, message: object) -> None:
        self._message = message
        self.given = 0

    def __aiter__(self) -> "Endless":
        return self

    async def __anext__(self) -> object:
        self.given += 1
        return self._message


@pytest.mark.parametrize("message", [CHUNK(), CHUNK(text="x")], ids=["empty", "small"])
async def test_a_flood_of_small_messages_leaves_other_tasks_their_turns(message: object) -> None:
    call = Endless(message)
    plugin_calls: Any = calls.PluginCalls("p", *([None] * 2))  # type: ignore[arg-type]
    pieces = calls.Pieces[str](plugin_calls, cast("Call", call), session_module._text_of)

    async def take_turns() -> None:
        for _ in range(100):
            await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_turns)
        async for _ in pieces:
            assert call.given < 100_000
    assert call.given <= 110 * calls.IN_A_ROW_MAX


# The end


async def test_a_plugin_that_closes_its_connection_and_lives_on_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ending, "TOLD_S", 0.05)
    async with open_peer(tool(_hang)) as channel:
        session = session_on(channel)
        channel.connection.eof()
        channel.transport.stop()
        with pytest.raises(PluginCrashedError, match="closed its connection"):
            await session.health()
        end = await session.wait_ended()
        assert end.last_words == ("bye",)
        assert await session.shutdown(grace_s=1) is False


async def test_a_lost_connection_is_explained_by_the_programs_end() -> None:
    known: list[str] = []

    def crash() -> PluginCrashedError:
        return PluginCrashedError("peer", known[0] if known else "closed its connection")

    async with open_peer(tool(_hang)) as channel:
        its_end = Ending("peer", crash)
        session = RemoteSession("peer", channel, its_end)
        async with trio.open_nursery() as nursery:

            async def call() -> None:
                with pytest.raises(PluginCrashedError, match="exited with status 3"):
                    await texts(session)

            nursery.start_soon(call)
            await trio.testing.wait_all_tasks_blocked(0.01)
            channel.transport.stop()
            await trio.testing.wait_all_tasks_blocked(0.01)
            known.append("exited with status 3")
            its_end.end()


async def test_what_is_called_while_the_host_stops_it_is_told_so_and_is_no_end() -> None:
    async with open_peer(tool(_hang)) as channel:
        its_end = Ending("peer", lambda: PluginCrashedError("peer", "crashed"))
        session = RemoteSession("peer", channel, its_end)
        its_end.close()
        its_end.end()
        for _ in range(2):
            with pytest.raises(PluginCrashedError, match="is being stopped"):
                await session.health()
        with trio.move_on_after(0.01) as scope:
            await session.wait_ended()
        assert scope.cancelled_caught


async def test_an_end_that_many_callers_are_told_of_does_not_grow() -> None:
    its_end = Ending("peer", lambda: PluginCrashedError("peer", "crashed"))
    its_end.end()

    def depth() -> int:
        with pytest.raises(PluginCrashedError) as caught:
            its_end.check()
        traceback, count = caught.value.__traceback__, 0
        while traceback is not None:
            traceback, count = traceback.tb_next, count + 1
        return count

    assert {depth() for _ in range(20)} == {depth()}


async def _hang(_request: object, _context: object) -> AsyncIterator[object]:
    yield CHUNK(text="started")
    await trio.sleep_forever()
