"""A server: accepts connections and runs the handlers that generated code registers."""

import errno
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import attrs
import trio

from sigil_actors.rpc.call_headers import read_request
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import (
    DataReceived,
    HeadersReceived,
    StreamReset,
    TrailersReceived,
)
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.hpack_encoding import encode
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.messages import MESSAGE_BYTES_MAX
from sigil_actors.rpc.server_call import AbortError, MethodHandler, ServerCall
from sigil_actors.rpc.session import Keepalive, Session
from sigil_actors.rpc.status import Metadata, RpcError, StatusCode
from sigil_actors.rpc.transport import Transport

_LOG = logging.getLogger(__name__)

_IDLE_WORKERS_MAX: Final = 64
"""Tasks of a connection that wait for its next call: cheaper than one anew for each."""
_SHOWN_MAX: Final = 200
_CLOSE_GENERATOR_S: Final = 5.0
"""How long a handler may take to clean up after its caller has gone."""


class CallDetails(NamedTuple):
    """What generic handlers choose a method's handler by."""

    method: str
    invocation_metadata: Metadata


class GenericHandler(Protocol):
    """What generated code registers for a service; `grpc.GenericRpcHandler` is one."""

    def service(self, handler_call_details: Any, /) -> Any:
        """Return the handler of the method, or None."""


@attrs.frozen(kw_only=True)
class ServerBounds:
    """What clients of a server may do, each with its reason."""

    connections_max: int = 64
    """At a time; more are closed at once. A host has one or two to its plugin."""
    message_max: int = MESSAGE_BYTES_MAX
    """Bytes of a request's message: gRPC's own default."""
    send_max: int = 64 * 1024 * 1024
    """Bytes of an answer's message: a bug of a handler, not a plan."""
    stall_s: float = 30.0
    """Seconds that a finished call waits for its client to read the rest."""
    handshake_s: float = 10.0
    """Seconds for TLS to agree, and again for the client's first frame."""


class Server:
    """The methods that are served, and to whom.

    Pass it to the `add_…Servicer_to_server` functions that grpcio-tools generates; the methods of
    the servicer are asynchronous: coroutines, or asynchronous generators where they stream.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        bounds: ServerBounds | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        self.tls = tls
        self.limits = limits
        self.bounds = bounds or ServerBounds()
        self.keepalive = keepalive
        self.connections: set[ServerConnection] = set()
        self._generic: list[GenericHandler] = []
        self._methods: dict[str, MethodHandler] = {}

    # What generated code calls.

    def add_generic_rpc_handlers(self, handlers: Iterable[GenericHandler]) -> None:
        """Serve what these choose."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, MethodHandler]
    ) -> None:
        """Serve the methods of a service by their names."""
        for name, handler in handlers.items():
            self._methods[f"/{service}/{name}"] = handler

    def find(self, method: str, metadata: Metadata) -> MethodHandler | None:
        """Return the handler of a method, or None."""
        handler = self._methods.get(method)
        if handler is not None:
            return handler
        details = CallDetails(method, metadata)
        for generic in self._generic:
            found: MethodHandler | None = generic.service(details)
            if found is not None:
                return found
        return None

    async def serve_connection(self, sock: socket.socket) -> None:
        """Serve one connected socket until it ends; closes it."""
        try:
            transport = Transport(sock, self.tls, is_server=True)
        except BaseException:
            sock.close()
            raise
        try:
            try:
                await transport.handshake(self.bounds.handshake_s)
            except OSError as error:
                _LOG.info("a connection ended in its TLS handshake: %s", error)
                return
            async with trio.open_nursery() as nursery:
                connection = ServerConnection(self, transport, nursery)
                self.connections.add(connection)
                try:
                    nursery.start_soon(connection.keep_writing)
                    nursery.start_soon(connection.keep_alive)
                    await connection.read()
                finally:
                    self.connections.discard(connection)
                    connection.end()
                    nursery.cancel_scope.cancel()
        finally:
            transport.close()

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled; the listener stays the caller's."""
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                sock = await _accept(listener)
                if len(nursery.child_tasks) >= self.bounds.connections_max:
                    sock.close()
                    continue
                nursery.start_soon(self.serve_connection, sock)

    async def drain(self, grace_s: float) -> None:
        """Take no new calls; return when those in flight are over, or after the grace."""
        for connection in self.connections:
            connection.connection.drain()
            connection.flush()
        with trio.move_on_after(grace_s):
            for connection in tuple(self.connections):
                await connection.wait_idle()


class ServerConnection(Session[ServerCall]):
    """One client."""

    def __init__(self, server: Server, transport: Transport, nursery: trio.Nursery) -> None:
        connection: Connection[ServerCall] = Connection(
            client=False, limits=server.limits, stream_factory=ServerCall
        )
        super().__init__(transport, connection, server.keepalive)
        self.peer = _peer(transport.sock)
        self.send_max = server.bounds.send_max
        self._server = server
        self._nursery = nursery
        self._idle: list[_IdleWorker] = []
        self._calls = 0
        self._all_done = trio.Event()
        self.handlers = {
            HeadersReceived: self._on_request,
            DataReceived: self._on_data,
            TrailersReceived: self._on_trailers,
            StreamReset: self._on_reset,
        }

    async def wait_idle(self) -> None:
        """Wait until no call is in flight."""
        while self._calls:
            self._all_done = trio.Event()
            await self._all_done.wait()

    def stream_drained(self, stream: ServerCall) -> None:
        """Let its handler go on writing."""
        stream.drained()

    # Events.

    def _on_request(self, event: HeadersReceived[ServerCall]) -> None:
        call, block, end = event
        head = read_request(block)
        call.prepare(self, self._server.bounds.message_max)
        call.method = head.path
        call.names_encoding = head.names_encoding
        call.request_metadata = head.metadata
        if head.error is not None:
            first = None if head.http_status == b"200" else encode([(b":status", head.http_status)])
            call.end(head.error.code(), head.error.details(), head=first)
            return
        handler = self._server.find(head.path, head.metadata)
        if handler is None:
            call.end(StatusCode.UNIMPLEMENTED, f"there is no method {head.path[:_SHOWN_MAX]}")
            return
        call.handler = handler
        if head.timeout_s is not None:
            call.deadline = trio.current_time() + head.timeout_s
        call.half_closed = end
        # A call with one message starts when it is here, unless its deadline may come before.
        if end or head.timeout_s is not None or handler.request_streaming:
            self._start(call)

    def _on_data(self, event: DataReceived[ServerCall]) -> None:
        call, data, length, end = event
        if call.over:
            return
        call.unread += length
        try:
            call.feed(data)
        except RpcError as error:
            self._refuse(call, error)
            return
        if not call.messages:
            unread, call.unread = call.unread, 0
            self.connection.consumed(call, unread)
        if end:
            self._half_close(call)
        elif call.messages:
            if len(call.messages) > 1 and not call.handler.request_streaming:
                self._refuse(call, RpcError(StatusCode.INTERNAL, "more than one request message"))
            else:
                call.data_arrived()

    def _on_trailers(self, event: TrailersReceived[ServerCall]) -> None:
        if not event.stream.over:
            self._half_close(event.stream)

    def _on_reset(self, event: StreamReset[ServerCall]) -> None:
        event.stream.kill()

    def _half_close(self, call: ServerCall) -> None:
        if call.is_inside_message:
            self._refuse(call, RpcError(StatusCode.INTERNAL, "the last message is cut off"))
            return
        call.half_closed = True
        if call.is_started:
            call.data_arrived()
        else:
            self._start(call)

    def _refuse(self, call: ServerCall, error: RpcError) -> None:
        call.end(error.code(), error.details())
        call.kill()

    # Running calls.

    def _start(self, call: ServerCall) -> None:
        call.is_started = True
        self._calls += 1
        if self._idle:
            self._idle.pop().take(call)
        else:
            self._nursery.start_soon(self._work, call)

    async def _work(self, call: ServerCall) -> None:
        """Run calls, one after another."""
        current: ServerCall | None = call
        del call
        while current is not None:
            try:
                await self._serve(current)
            finally:
                self._calls -= 1
                if not self._calls:
                    self._all_done.set()
            if len(self._idle) >= _IDLE_WORKERS_MAX:
                return
            current = None  # else the worker would hold its last call while it waits
            current = await _IdleWorker().wait(self._idle)

    async def _serve(self, call: ServerCall) -> None:
        deadline = float("inf") if call.deadline is None else call.deadline
        scope = call.scope = trio.CancelScope(deadline=deadline)
        with scope:
            if call.over:
                return
            try:
                await self._run(call)
            except AbortError:
                call.end_as_set()
            except RpcError as error:
                call.end(
                    error.code() or StatusCode.UNKNOWN, error.details(), error.trailing_metadata()
                )
            except UsageError:
                pass  # the client has gone
            except Exception as error:  # noqa: BLE001 - a handler is not ours, and one call its size
                _LOG.exception("the handler of %s failed", call.method[:_SHOWN_MAX])
                call.end(StatusCode.UNKNOWN, f"Unexpected {type(error).__name__}")
        if not call.over:
            if scope.cancelled_caught:
                call.end(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
            else:
                call.end(StatusCode.CANCELLED)
        call.scope = None
        if call.pending is not None:
            with trio.move_on_after(self._server.bounds.stall_s):
                await call.wait_drained()
            if call.pending is not None:
                self.connection.reset(call, Code.CANCEL)
                self.flush()

    async def _run(self, call: ServerCall) -> None:
        handler = call.handler
        request: Any = call
        if not handler.request_streaming:
            request = await call.read()
            if request is None:
                call.end(StatusCode.INTERNAL, "there is no request message")
                return
        method = _method(handler)
        if not handler.response_streaming:
            response = await method(request, call)
            if not call.was_failed:
                call.queue(response)
            call.end_as_set()
            return
        answer = method(request, call)
        if not hasattr(answer, "__aiter__"):
            await answer  # the handler writes by itself
            call.end_as_set()
            return
        try:
            async for message in answer:
                await call.write(message)
        finally:
            if hasattr(answer, "aclose"):
                with trio.move_on_after(_CLOSE_GENERATOR_S) as closing:
                    closing.shield = True
                    await answer.aclose()
        call.end_as_set()


class _IdleWorker:
    """A task that waits for the next call of its connection."""

    __slots__ = ("_call", "_task")

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._call: ServerCall | None = None

    def take(self, call: ServerCall) -> None:
        """Give it a call."""
        self._call = call
        trio.lowlevel.reschedule(self._task)

    async def wait(self, idle: "list[_IdleWorker]") -> ServerCall | None:
        """Be among the idle ones until a call comes."""
        idle.append(self)

        def abort(_: object) -> trio.lowlevel.Abort:
            idle.remove(self)
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        return self._call


def _method(handler: MethodHandler) -> Callable[..., Any]:
    if handler.request_streaming:
        method = handler.stream_stream if handler.response_streaming else handler.stream_unary
    else:
        method = handler.unary_stream if handler.response_streaming else handler.unary_unary
    if method is None:
        raise AssertionError("a handler has the method of its kind")
    return method


def _peer(sock: socket.socket) -> str:
    if sock.family == socket.AF_UNIX:
        return "unix:"
    try:
        host, port = sock.getpeername()[:2]
    except OSError:
        return "unknown"
    return f"ipv{4 if sock.family == socket.AF_INET else 6}:{host}:{port}"


_ACCEPT_AGAIN_S: Final = 0.05
_OUT_OF_SOMETHING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno in _OUT_OF_SOMETHING:
                await trio.sleep(_ACCEPT_AGAIN_S)
            elif error.errno != errno.ECONNABORTED:
                raise


def listen_unix(path: Path | str) -> socket.socket:
    """Return a listening socket at the path, for its owner alone.

    Raises:
        OSError: there is something at the path already, or no folder to put it in.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_loopback(port: int = 0) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


_BACKLOG: Final = 64


@asynccontextmanager
async def open_server(server: Server, listener: socket.socket) -> AsyncGenerator[Server]:
    """Serve for as long as the block lasts; closes the listener. Calls in flight are cut off."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener)
            try:
                yield server
            finally:
                nursery.cancel_scope.cancel()
    finally:
        listener.close()
