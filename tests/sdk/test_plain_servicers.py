"""A servicer that is written for grpcio's own server is served as it is."""

import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import grpc
import pytest
import trio

from sigil_actors._proto.plugin.v1 import tool_pb2, tool_pb2_grpc
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import Server, listen_unix, open_server
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.sdk.caller import current_session
from sigil_actors.sdk.plain_context import PlainContext
from sigil_actors.sdk.registry import Registry


def text(value: str) -> tool_pb2.ExecuteChunk:
    return tool_pb2.ExecuteChunk(text=value)


class PlainTool(tool_pb2_grpc.ToolServicer):
    """As somebody wrote it for grpcio; what `Execute` does depends on the tool's name."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.over = threading.Event()
        self.leave = threading.Event()

    def Execute(  # noqa: N802
        self, request: tool_pb2.ExecuteRequest, context: Any
    ) -> Iterator[tool_pb2.ExecuteChunk]:
        getattr(self, request.tool_name)(context)
        if request.tool_name == "endless":
            try:
                while True:
                    yield text("x" * 10_000)
            finally:
                self.over.set()
        yield text(current_session())
        yield text(request.tool_name)

    def plain(self, context: Any) -> None:
        self.seen += [threading.current_thread() is threading.main_thread(), context.is_active()]

    endless = plain

    def told(self, context: Any) -> None:
        self.seen += [
            dict(context.invocation_metadata())["key"],
            context.peer(),
            context.time_remaining() > 1,
            context.code(),
        ]
        context.send_initial_metadata((("first", "1"),))
        context.set_trailing_metadata((("last", "2"),))
        context.add_callback(self.over.set)

    def abort(self, context: Any) -> None:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    def bug(self, _context: Any) -> None:
        raise ZeroDivisionError

    def told_bug(self, context: Any) -> None:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("gone")
        raise ZeroDivisionError

    def cancel(self, context: Any) -> None:
        context.cancel()

    def block(self, context: Any) -> None:
        context.add_callback(self.over.set)
        self.leave.wait(10)


@asynccontextmanager
async def served(
    folder: Path, add: Callable[[Any, Any], None], servicer: object
) -> AsyncGenerator[Channel]:
    server = Server()
    add(servicer, Registry(server))
    path = folder / "socket"
    async with open_server(server, listen_unix(path)), open_channel(f"unix:{path}") as channel:
        yield channel


@pytest.fixture
def tool() -> PlainTool:
    """Give the servicer."""
    return PlainTool()


async def execute(folder: Path, tool: PlainTool, name: str, **options: Any) -> list[str]:
    async with served(folder, tool_pb2_grpc.add_ToolServicer_to_server, tool) as channel:
        stub: Any = tool_pb2_grpc.ToolStub(channel)  # type: ignore[no-untyped-call]
        request = tool_pb2.ExecuteRequest(tool_name=name, session_id="token")
        call = stub.Execute(request, **options)
        said = [chunk.text async for chunk in call]
        tool.seen += [await call.initial_metadata(), call.trailing_metadata()]
        return said


async def failure(
    folder: Path, tool: PlainTool, name: str, **options: Any
) -> tuple[StatusCode, str]:
    async with served(folder, tool_pb2_grpc.add_ToolServicer_to_server, tool) as channel:
        stub: Any = tool_pb2_grpc.ToolStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(RpcError) as caught:
            async for _ in stub.Execute(tool_pb2.ExecuteRequest(tool_name=name), **options):
                pass
    return caught.value.code(), caught.value.details()


async def test_its_methods_run_in_threads_and_know_for_whom(
    tmp_path: Path, tool: PlainTool
) -> None:
    assert await execute(tmp_path, tool, "plain") == ["token", "plain"]
    assert tool.seen[:2] == [False, True]


async def test_its_context_tells_and_takes_what_grpcios_does(
    tmp_path: Path, tool: PlainTool
) -> None:
    await execute(tmp_path, tool, "told", metadata=(("key", "value"),), timeout=10)
    assert tool.seen == ["value", "unix:", True, None, (("first", "1"),), (("last", "2"),)]
    assert tool.over.is_set()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("abort", (StatusCode.NOT_FOUND, "no such thing")),
        ("bug", (StatusCode.UNKNOWN, "Unexpected ZeroDivisionError")),
        ("told_bug", (StatusCode.DATA_LOSS, "gone")),
        ("cancel", (StatusCode.CANCELLED, "cancelled by the server")),
    ],
)
async def test_it_fails_as_under_grpcio(
    tmp_path: Path, tool: PlainTool, name: str, told: tuple[StatusCode, str]
) -> None:
    assert await failure(tmp_path, tool, name) == told


async def test_a_method_that_nobody_wrote_is_unimplemented(tmp_path: Path, tool: PlainTool) -> None:
    async with served(tmp_path, tool_pb2_grpc.add_ToolServicer_to_server, tool) as channel:
        stub: Any = tool_pb2_grpc.ToolStub(channel)  # type: ignore[no-untyped-call]
        with pytest.raises(RpcError) as caught:
            await stub.Describe(tool_pb2.DescribeRequest())
    assert caught.value.code() is StatusCode.UNIMPLEMENTED


async def test_one_that_streams_ends_when_its_caller_goes(tmp_path: Path, tool: PlainTool) -> None:
    async with served(tmp_path, tool_pb2_grpc.add_ToolServicer_to_server, tool) as channel:
        stub: Any = tool_pb2_grpc.ToolStub(channel)  # type: ignore[no-untyped-call]
        async with stub.Execute(tool_pb2.ExecuteRequest(tool_name="endless")) as call:
            await call.read()
        assert await trio.to_thread.run_sync(tool.over.wait, 5)


async def test_one_that_blocks_holds_nobody_up(tmp_path: Path, tool: PlainTool) -> None:
    with trio.fail_after(5):
        code, _ = await failure(tmp_path, tool, "block", timeout=0.05)
        assert code is StatusCode.DEADLINE_EXCEEDED
        assert await trio.to_thread.run_sync(tool.over.wait, 5)
    tool.leave.set()


class AllKinds:
    """One method of each kind, on bytes; and one that is asynchronous behind a decorator."""

    def stream_unary(self, requests: Iterator[bytes], _context: PlainContext) -> bytes:
        return b"+".join(requests)

    def stream_stream(self, requests: Iterator[bytes], _context: PlainContext) -> Iterator[bytes]:
        for request in requests:
            yield b"<" + request + b">"

    @staticmethod
    def decorated(method: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(method)
        def run(*arguments: Any) -> Any:
            return method(*arguments)

        return run


ALL_KINDS = AllKinds()


@AllKinds.decorated
async def hidden_unary(request: bytes, _context: object) -> bytes:
    await trio.lowlevel.checkpoint()
    return request + b"!"


@AllKinds.decorated
async def hidden_stream(request: bytes, _context: object) -> AsyncGenerator[bytes]:
    for number in range(2):
        yield request + str(number).encode()


def add_all_kinds(servicer: AllKinds, registry: Any) -> None:
    """As grpcio-tools generates it."""
    handlers = {
        "StreamUnary": grpc.stream_unary_rpc_method_handler(servicer.stream_unary),
        "StreamStream": grpc.stream_stream_rpc_method_handler(servicer.stream_stream),
        "HiddenUnary": grpc.unary_unary_rpc_method_handler(hidden_unary),
        "HiddenStream": grpc.unary_stream_rpc_method_handler(hidden_stream),
    }
    # The older of the two ways in which generated code registers.
    registry.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("k.Kinds", handlers),))


async def test_every_kind_of_method_is_served(tmp_path: Path) -> None:
    async with served(tmp_path, add_all_kinds, ALL_KINDS) as channel:
        joined = channel.stream_unary("/k.Kinds/StreamUnary")
        assert await joined([b"a", b"b"]) == b"a+b"
        each = channel.stream_stream("/k.Kinds/StreamStream")
        assert [one async for one in each([b"a", b"b"])] == [b"<a>", b"<b>"]
        assert await channel.unary_unary("/k.Kinds/HiddenUnary")(b"a") == b"a!"
        hidden = channel.unary_stream("/k.Kinds/HiddenStream")
        assert [one async for one in hidden(b"a")] == [b"a0", b"a1"]
        with pytest.raises(RpcError, match="UNIMPLEMENTED"):
            await channel.unary_unary("/k.Kinds/Nothing")(b"")


async def test_a_thread_that_waits_for_requests_ends_when_the_caller_goes(tmp_path: Path) -> None:
    over = threading.Event()

    class Waiting(AllKinds):
        def stream_stream(
            self, requests: Iterator[bytes], _context: PlainContext
        ) -> Iterator[bytes]:
            try:
                yield from super().stream_stream(requests, _context)
            finally:
                over.set()

    async with served(tmp_path, add_all_kinds, Waiting()) as channel:
        async with channel.stream_stream("/k.Kinds/StreamStream")() as call:
            await call.write(b"a")
            assert await call.read() == b"<a>"
        assert await trio.to_thread.run_sync(over.wait, 5)
