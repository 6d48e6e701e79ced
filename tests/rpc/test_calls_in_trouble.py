"""Calls that are late, left, opened by several, or whose iterators and handlers go wrong."""

from collections.abc import AsyncGenerator
from contextvars import ContextVar
from typing import Any

import grpc
import pytest
import trio
import trio.testing

from sigil_actors._proto.plugin.v1 import tool_pb2, tool_pb2_grpc
from sigil_actors.rpc.channel import Channel
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.server_call import ServerCall
from sigil_actors.rpc.status import RpcError, StatusCode
from tests.rpc.serving import Handler, Seen, new_server, open_pair, path

ONE_AT_A_TIME = {"limits": Limits(streams_max=1)}
NARROW = {"limits": Limits(stream_window=128 * 1024)}


async def settle(channel: Channel) -> None:
    """Have the server's settings here."""
    assert await channel.unary_unary(path("Echo"))(b"on") == b"on"


async def test_stubs_and_servicers_work_as_they_are_generated() -> None:
    class Tools(tool_pb2_grpc.ToolServicer):
        async def Execute(self, request: Any, _: ServerCall) -> AsyncGenerator[Any]:  # noqa: N802
            yield tool_pb2.ExecuteChunk(text=request.arguments)

    server = new_server(Seen())
    add: Any = tool_pb2_grpc.add_ToolServicer_to_server
    add(Tools(), server)
    async with open_pair(server=server) as channel:
        new_stub: Any = tool_pb2_grpc.ToolStub
        stub = new_stub(channel)
        chunks = stub.Execute(tool_pb2.ExecuteRequest(arguments="dig"))
        assert [chunk.text async for chunk in chunks] == ["dig"]
        # What the author left out is answered as the generated base class wants it.
        with pytest.raises(RpcError, match="Method not implemented!") as raised:
            await stub.Describe(tool_pb2.DescribeRequest())
        assert raised.value.code() is StatusCode.UNIMPLEMENTED


async def test_a_status_has_details_that_grpcs_own_library_would_read() -> None:
    async def fail(_: bytes, context: ServerCall) -> bytes:
        details = (("grpc-status-details-bin", b"\x08\x05"),)
        await context.abort(grpc.StatusCode.NOT_FOUND, "gone", details)
        raise AssertionError

    server = new_server(Seen())
    server.add_registered_method_handlers("more", {"Fail": Handler(unary_unary=fail)})
    async with open_pair(server=server) as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary("/more/Fail")(b"")
        assert raised.value.status_details() == b"\x08\x05"


@pytest.mark.parametrize("timeout", [0, -1])
async def test_a_caller_who_is_late_already_is_told_so(timeout: float) -> None:  # noqa: ASYNC109
    async with open_pair() as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Echo"))(b"", timeout=timeout)
        assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
        with pytest.raises(RpcError) as raised:
            await channel.unary_stream(path("Count"))(b"1000000", timeout=timeout).read()
        assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED


async def test_a_call_that_ends_before_its_deadline_leaves_no_task() -> None:
    async with open_pair() as channel:
        await trio.testing.wait_all_tasks_blocked()
        before = len(channel._nursery.child_tasks)
        for _ in range(3):
            assert [_ async for _ in channel.unary_stream(path("Count"))(b"1", timeout=1000)]
        await trio.testing.wait_all_tasks_blocked()
        assert len(channel._nursery.child_tasks) == before


async def test_a_turn_isnt_lost_where_the_request_cant_be_encoded() -> None:
    def broken(_: bytes) -> bytes:
        raise LookupError

    async def ask() -> None:
        with pytest.raises(LookupError):
            await channel.unary_unary(path("Echo"), broken)(b"")

    async with open_pair(server_options=ONE_AT_A_TIME) as channel:
        await settle(channel)
        async with trio.open_nursery() as nursery:
            async with channel.stream_stream(path("Turn"))():
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(settle, channel)
                await trio.testing.wait_all_tasks_blocked()


async def test_a_turn_isnt_lost_where_its_call_was_cancelled_meanwhile() -> None:
    async with open_pair(server_options=ONE_AT_A_TIME) as channel:
        await settle(channel)
        first = channel.stream_stream(path("Turn"))()
        second = channel.stream_stream(path("Turn"))()

        async def read() -> None:
            with pytest.raises(RpcError) as raised:
                await second.read()
            assert raised.value.code() is StatusCode.CANCELLED

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(settle, channel)
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()  # gives its turn to the second, which is over before it can use it
            second.cancel()
        assert not channel.connection.streams


async def test_a_call_waits_for_its_turn_no_longer_than_its_deadline(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with open_pair(server_options=ONE_AT_A_TIME) as channel:
        await settle(channel)
        async with channel.stream_stream(path("Turn"))():
            late = channel.unary_stream(path("Count"))(b"3", timeout=5)
            with pytest.raises(RpcError) as raised:
                await late.read()
            assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
            assert trio.current_time() == pytest.approx(5, abs=0.1)
        await settle(channel)


async def test_reader_and_writer_may_wait_for_one_calls_turn_together() -> None:
    async with open_pair(server_options=ONE_AT_A_TIME) as channel:
        await settle(channel)
        first = channel.stream_stream(path("Turn"))()
        second = channel.stream_stream(path("Turn"))()
        answers = []

        async def read() -> None:
            answers.append(await second.read())

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(second.write, b"ab")
            await trio.testing.wait_all_tasks_blocked()
            first.cancel()
        assert answers == [b"ba"]
        second.cancel()


async def test_a_cancelled_read_ends_the_call_that_has_no_block() -> None:
    seen = Seen()
    async with open_pair(seen) as channel:
        call = channel.stream_stream(path("Turn"))()
        with trio.move_on_after(0.01):
            await call.read()
        assert call.code() is StatusCode.CANCELLED
        assert not channel.connection.streams


async def test_a_cancelled_read_inside_the_calls_block_loses_nothing() -> None:
    async with open_pair() as channel, channel.stream_stream(path("Turn"))() as call:
        with trio.move_on_after(0.01):
            await call.read()
        await call.write(b"ab")
        assert await call.read() == b"ba"


async def test_a_cancelled_write_ends_the_call_that_has_no_block() -> None:
    async with open_pair(server_options=NARROW, limits=Limits(stream_window=65_535)) as channel:
        call = channel.stream_stream(path("Turn"))()
        with trio.move_on_after(0.05) as scope:
            while True:
                await call.write(bytes(64 * 1024))
        assert scope.cancelled_caught
        assert not channel.connection.streams
        await settle(channel)


async def test_many_messages_may_be_written_by_hand_for_one_answer() -> None:
    async with open_pair() as channel, channel.stream_unary(path("Join"))() as call:
        await call.write(b"a")
        await call.write(b"b")
        await call.done_writing()
        assert await call == b"ab"


async def test_two_readers_of_one_call_are_refused_and_the_first_goes_on() -> None:
    async with open_pair() as channel, channel.stream_stream(path("Turn"))() as call:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call.read)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await call.read()
            await call.write(b"ab")


async def test_the_iterator_of_requests_is_closed_when_its_call_ends() -> None:
    closed = trio.Event()

    async def requests() -> AsyncGenerator[bytes]:
        try:
            while True:
                yield bytes(64 * 1024)
        finally:
            closed.set()

    async with open_pair(server_options=NARROW) as channel:
        async with channel.stream_stream(path("Turn"))(requests()):
            await trio.testing.wait_all_tasks_blocked(0.01)
        await trio.testing.wait_all_tasks_blocked()
        assert closed.is_set()


async def test_a_handler_that_fails_while_it_is_cancelled_harms_nobody_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(_request: bytes, _context: ServerCall) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise LookupError  # beside the Cancelled of its sibling, so in a group with it

    server = new_server(Seen())
    server.add_registered_method_handlers("more", {"Fail": Handler(unary_unary=fail)})
    async with open_pair(server=server) as channel:
        with pytest.raises(RpcError):
            await channel.unary_unary("/more/Fail")(b"", timeout=0.01)
        await settle(channel)
        await trio.testing.wait_all_tasks_blocked()
    assert "LookupError" in caplog.text


async def test_an_abort_inside_a_handlers_nursery_is_an_abort() -> None:
    async def fail(_: bytes, context: ServerCall) -> bytes:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(context.abort, StatusCode.NOT_FOUND, "gone")
        raise AssertionError

    server = new_server(Seen())
    server.add_registered_method_handlers("more", {"Fail": Handler(unary_unary=fail)})
    async with open_pair(server=server) as channel:
        with pytest.raises(RpcError, match="NOT_FOUND: gone"):
            await channel.unary_unary("/more/Fail")(b"")


async def test_what_a_handler_sets_in_its_context_isnt_there_for_the_next_call() -> None:
    who = ContextVar("who", default=b"nobody")

    async def greet(request: bytes, _: ServerCall) -> bytes:
        before = who.get()
        who.set(request)
        return before

    server = new_server(Seen())
    server.add_registered_method_handlers("more", {"Greet": Handler(unary_unary=greet)})
    async with open_pair(server=server) as channel:
        for name in (b"a", b"b", b"c"):
            assert await channel.unary_unary("/more/Greet")(name) == b"nobody"
