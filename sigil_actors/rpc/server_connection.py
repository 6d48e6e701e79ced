"""One client of a server: its calls, and the tasks that run their handlers."""

import logging
import math
import socket
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Final

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
from sigil_actors.rpc.server_call import AbortError, MethodHandler, ServerCall
from sigil_actors.rpc.session import Session
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.rpc.transport import Transport

if TYPE_CHECKING:
    from sigil_actors.rpc.server import Server

_LOG = logging.getLogger(__name__)

_IDLE_WORKERS_MAX: Final = 64
"""Tasks of a connection that wait for its next call: cheaper than one anew for each."""
_SHOWN_MAX: Final = 200
_CLOSE_GENERATOR_S: Final = 5.0
"""How long a handler may take to clean up after its caller has gone."""


class ServerConnection(Session[ServerCall]):
    """One client."""

    def __init__(self, server: "Server", transport: Transport, nursery: trio.Nursery) -> None:
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
        self._progress = trio.lowlevel.ParkingLot()
        """Where those wait who want the calls to be over."""
        self.handlers = {
            HeadersReceived: self._on_request,
            DataReceived: self._on_data,
            TrailersReceived: self._on_trailers,
            StreamReset: self._on_reset,
        }

    async def wait_idle(self) -> None:
        """Wait until no call is in flight."""
        while self._calls:
            await self._progress.park()

    async def drain(self) -> None:
        """Take no more calls, and hang up when those in flight are over and their answers sent."""
        connection = self.connection
        connection.drain()
        self.flush()
        while not connection.closed and not self._is_drained():
            await self._progress.park()
        self.end()

    def _is_drained(self) -> bool:
        connection = self.connection
        is_over = not self._calls and not connection.streams and not self.transport.is_blocked
        return is_over and connection.last_is_told

    def handle(self, events: list[Any]) -> None:
        """Do what there is to do about events."""
        super().handle(events)
        self._progress.unpark_all()

    def all_sent(self) -> None:
        """Take it that the socket has taken all that there was."""
        self._progress.unpark_all()

    def stream_drained(self, stream: ServerCall) -> None:
        """Let its handler go on writing."""
        stream.drained()

    # Events.

    def _on_request(self, event: HeadersReceived[ServerCall]) -> None:
        call, block, end = event
        head = read_request(block)
        server = self._server
        call.prepare(self, server.bounds.message_max, server.held)
        call.method = head.path
        call.names_encoding = head.names_encoding
        call.request_metadata = head.metadata
        if head.error is not None:
            first = None if head.http_status == b"200" else encode([(b":status", head.http_status)])
            call.end(head.error.code(), head.error.details(), head=first)
            return
        handler = server.find(head.path, head.metadata)
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
            call.take(data)
        except RpcError as error:
            self._refuse(call, error)
            return
        if not call.messages:
            unread, call.unread = call.unread, 0
            self.connection.consumed(call, unread)
        if len(call.messages) > 1 and not call.handler.request_streaming:
            self._refuse(call, RpcError(StatusCode.INTERNAL, "more than one request message"))
        elif end:
            self._half_close(call)
        elif call.messages:
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
        task = trio.lowlevel.current_task()
        fresh = copy_context()
        current: ServerCall | None = call
        del call
        while current is not None:
            try:
                await self._serve(current)
            finally:
                self._calls -= 1
                self._progress.unpark_all()
            if len(self._idle) >= _IDLE_WORKERS_MAX:
                return
            current = None  # else the worker would hold its last call while it waits
            # What a handler set in its context variables isn't for the next call.
            task.context = fresh.copy()
            current = await _IdleWorker().wait(self._idle)

    async def _serve(self, call: ServerCall) -> None:
        deadline = math.inf if call.deadline is None else call.deadline
        scope = call.scope = trio.CancelScope(deadline=deadline)
        try:
            with scope:
                if call.over:
                    return
                await self._run(call)
        except Exception as error:  # noqa: BLE001 - a handler is not ours, and one call its size
            # Outside of the scope, which takes the Cancelled out of a handler's groups.
            self._fail(call, _bare(error))
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

    def _fail(self, call: ServerCall, error: Exception) -> None:
        """End a call whose handler raised."""
        if isinstance(error, AbortError):
            call.end_as_set()
        elif isinstance(error, RpcError):
            call.end(error.code() or StatusCode.UNKNOWN, error.details(), error.trailing_metadata())
        elif isinstance(error, UsageError):
            pass  # the client has gone
        elif isinstance(error, NotImplementedError) and call.was_failed:
            call.end_as_set()  # a method that the author left as it was generated
        else:
            _LOG.error("the handler of %s failed", call.method[:_SHOWN_MAX], exc_info=error)
            call.end(StatusCode.UNKNOWN, f"Unexpected {type(error).__name__}")

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


def _bare(error: Exception) -> Exception:
    """Return what a handler raised, without the groups that its nurseries put around it."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


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
