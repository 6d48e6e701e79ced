"""A server and a channel on one socket pair, with methods that take and answer plain bytes."""

import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import Server
from sigil_actors.rpc.server_call import ServerCall
from sigil_actors.rpc.status import StatusCode

SERVICE = "test.Test"


@attrs.define(kw_only=True)
class Handler:
    """A method's handler, in the shape that generated code gives."""

    request_streaming: bool = False
    response_streaming: bool = False
    request_deserializer: Callable[[bytes], Any] | None = None
    response_serializer: Callable[[Any], bytes] | None = None
    unary_unary: Callable[..., Any] | None = None
    unary_stream: Callable[..., Any] | None = None
    stream_unary: Callable[..., Any] | None = None
    stream_stream: Callable[..., Any] | None = None


@attrs.define
class Seen:
    """What the handlers saw."""

    cancelled: trio.Event = attrs.field(factory=trio.Event)
    started: trio.Event = attrs.field(factory=trio.Event)
    written: int = 0
    calls: int = 0


def handlers(seen: Seen) -> dict[str, Handler]:
    async def echo(request: bytes, context: ServerCall) -> bytes:
        seen.calls += 1
        context.set_trailing_metadata((("seen", "yes"),))
        return request

    async def metadata(_: bytes, context: ServerCall) -> bytes:
        await context.send_initial_metadata((("first", "1"), ("raw-bin", b"\0\xff")))
        context.set_trailing_metadata((("last", "2"),))
        return repr(context.invocation_metadata()).encode()

    async def fail(request: bytes, context: ServerCall) -> bytes:
        await context.abort(StatusCode.NOT_FOUND, request.decode(), (("why-bin", b"\1"),))
        raise AssertionError

    async def bug(_request: bytes, _context: ServerCall) -> bytes:
        raise ZeroDivisionError("a secret of the server's")

    async def hang(_request: bytes, _context: ServerCall) -> bytes:
        seen.started.set()
        try:
            await trio.sleep_forever()
        finally:
            seen.cancelled.set()
        raise AssertionError

    async def remaining(_: bytes, context: ServerCall) -> bytes:
        return str(context.time_remaining()).encode()

    async def count(request: bytes, _context: ServerCall) -> AsyncGenerator[bytes]:
        try:
            for number in range(int(request)):
                yield str(number).encode()
                seen.written += 1
        finally:
            seen.cancelled.set()

    async def blocks(request: bytes, _context: ServerCall) -> AsyncGenerator[bytes]:
        for _ in range(int(request)):
            yield bytes(64 * 1024)
            seen.written += 1

    async def join(requests: AsyncIterator[bytes], _context: ServerCall) -> bytes:
        return b"".join([request async for request in requests])

    async def turn(requests: AsyncIterator[bytes], _context: ServerCall) -> AsyncGenerator[bytes]:
        async for request in requests:
            yield request[::-1]

    return {
        **{
            name: Handler(unary_unary=run)
            for name, run in (
                ("Echo", echo),
                ("Metadata", metadata),
                ("Fail", fail),
                ("Bug", bug),
                ("Hang", hang),
                ("Remaining", remaining),
            )
        },
        "Count": Handler(response_streaming=True, unary_stream=count),
        "Blocks": Handler(response_streaming=True, unary_stream=blocks),
        "Join": Handler(request_streaming=True, stream_unary=join),
        "Turn": Handler(request_streaming=True, response_streaming=True, stream_stream=turn),
    }


def path(method: str) -> str:
    return f"/{SERVICE}/{method}"


def new_server(seen: Seen, **options: Any) -> Server:
    server = Server(**options)
    server.add_registered_method_handlers(SERVICE, handlers(seen))
    return server


@asynccontextmanager
async def open_pair(
    seen: Seen | None = None,
    *,
    server: Server | None = None,
    server_options: dict[str, Any] | None = None,
    **options: Any,
) -> AsyncGenerator[Channel]:
    """Be connected to a server of the test's own."""
    server = server or new_server(seen or Seen(), **(server_options or {}))
    ours, theirs = socket.socketpair()
    async with open_bare_nursery() as nursery:
        nursery.start_soon(server.serve_connection, theirs)
        async with open_channel(ours, **options) as channel:
            yield channel
        nursery.cancel_scope.cancel()
