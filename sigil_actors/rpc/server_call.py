"""One call as the server sees it; also the context that its handler is given."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import trio

from sigil_actors.rpc.call_headers import OK_TRAILERS, RESPONSE, trailers_block
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.held_bytes import MESSAGE_COST, HeldBytes
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.messages import PREFIX_BYTES, MessageStream, pack
from sigil_actors.rpc.metadata import Given, encode_metadata
from sigil_actors.rpc.status import Metadata, RpcError, StatusCode, status_code
from sigil_actors.rpc.waiter import Waiter

if TYPE_CHECKING:
    from sigil_actors.rpc.server_connection import ServerConnection


class AbortError(Exception):
    """Raised by `abort`, to leave the handler."""


class MethodHandler(Protocol):
    """What generated code registers for a method; `grpc.RpcMethodHandler` is one."""

    request_streaming: bool
    response_streaming: bool
    request_deserializer: Callable[[bytes], Any] | None
    response_serializer: Callable[[Any], bytes] | None
    unary_unary: Callable[..., Any] | None
    unary_stream: Callable[..., Any] | None
    stream_unary: Callable[..., Any] | None
    stream_stream: Callable[..., Any] | None


class ServerCall(MessageStream):
    """One call. Handlers of streams iterate over it, or over what they are given as request."""

    __slots__ = (
        "_code",
        "_details",
        "_held",
        "_held_answer",
        "_held_by_all",
        "_initial",
        "_readers",
        "_sent_headers",
        "_session",
        "_trailing",
        "_writers",
        "deadline",
        "half_closed",
        "handler",
        "is_started",
        "method",
        "over",
        "request_metadata",
        "scope",
    )

    def __init__(self) -> None:
        super().__init__()
        self._session: ServerConnection
        self._held_by_all: HeldBytes
        self._held = 0
        """Bytes of the request that are here: read or not, where it is one message."""
        self._held_answer = 0
        """Bytes of the answer that the client doesn't take yet."""
        self.handler: MethodHandler
        self.method = ""
        self.request_metadata: Metadata = ()
        self.deadline: float | None = None
        self.scope: trio.CancelScope | None = None
        self.over = False
        """The answer is complete, or nobody wants it any more."""
        self.half_closed = False
        """The whole request is here."""
        self.is_started = False
        self._sent_headers = False
        self._initial: Metadata = ()
        self._trailing: Metadata = ()
        self._code: StatusCode | None = None
        self._details = ""
        self._readers = Waiter()
        self._writers = Waiter()

    def prepare(self, session: "ServerConnection", message_max: int, held: HeldBytes) -> None:
        """Set whose call it is."""
        self._session = session
        self._held_by_all = held
        self.receive_max = message_max

    # What handlers use: the names are those of grpcio's context.

    def invocation_metadata(self) -> Metadata:
        """Return what the client sent along."""
        return self.request_metadata

    def peer(self) -> str:
        """Return who the client is: `unix:`, or `ipv4:` with its address."""
        return self._session.peer

    def time_remaining(self) -> float | None:
        """Return the seconds until the client gives up, None where it didn't say."""
        if self.deadline is None:
            return None
        return max(0.0, self.deadline - trio.current_time())

    def is_active(self) -> bool:
        """Tell whether somebody still waits for the answer."""
        return not self.over

    def set_code(self, code: object) -> None:
        """Set the status that the call ends with."""
        self._code = status_code(code)

    def set_details(self, details: str) -> None:
        """Set the text of the status."""
        self._details = details

    def set_trailing_metadata(self, metadata: Given) -> None:
        """Set what goes with the status."""
        self._trailing = _pairs(metadata)

    async def send_initial_metadata(self, metadata: Given) -> None:
        """Send metadata now, before the first message."""
        if self._sent_headers:
            raise ValueError("the initial metadata has been sent already")
        self._initial = _pairs(metadata)
        self._send_head()
        self._session.flush()
        await trio.lowlevel.checkpoint_if_cancelled()

    async def abort(self, code: object, details: str = "", trailing_metadata: Given = ()) -> None:
        """End the call with a status, and leave the handler."""
        self._code = status_code(code) or StatusCode.UNKNOWN
        self._details = details
        if trailing_metadata:
            self._trailing = _pairs(trailing_metadata)
        raise AbortError

    async def abort_with_status(self, status: Any) -> None:
        """End the call with a status that has details, as grpcio-status makes it."""
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    async def read(self) -> Any | None:
        """Return the next message of the request, or None at its end.

        Raises:
            RpcError: INTERNAL; it can't be decoded.
        """
        body = await self._next_body()
        decode = self.handler.request_deserializer
        if body is None or decode is None:
            return body
        try:
            return decode(body)
        except Exception as error:
            raise RpcError(
                StatusCode.INTERNAL, f"the request can't be decoded: {type(error).__name__}"
            ) from error

    def __aiter__(self) -> "ServerCall":
        return self

    async def __anext__(self) -> Any:
        message = await self.read()
        if message is None:
            raise StopAsyncIteration
        return message

    async def write(self, message: Any) -> None:
        """Send a message; wait while the client reads too slowly.

        Raises:
            RpcError: CANCELLED; nobody wants it any more.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self.queue(message)
        except UsageError:
            raise RpcError(StatusCode.CANCELLED, "the call is over") from None
        self._session.flush_soon()
        while self.pending is not None:
            await self._writers.wait()

    # What the server uses.

    def queue(self, message: Any) -> None:
        """Put a message on its way, without waiting.

        Raises:
            UsageError: the call is over.
            RpcError: RESOURCE_EXHAUSTED; it is over its bound.
        """
        encode = self.handler.response_serializer
        body = message if encode is None else encode(message)
        if len(body) > self._session.send_max:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "the response is too large")
        self._held_by_all.take(len(body))
        self._held_answer += len(body)
        try:
            self._send(body)
        finally:
            if self.pending is None:
                self._let_answer_go()

    def take(self, data: bytes) -> None:
        """Take what came with DATA.

        Raises:
            RpcError: it can't be cut into messages, or something is over its bound.
        """
        before = len(self.messages)
        self.feed(data)
        amount = len(data) + MESSAGE_COST * (len(self.messages) - before)
        self._held_by_all.take(amount)
        self._held += amount

    def _send(self, body: bytes) -> None:
        if not self._sent_headers:
            self._send_head()
        self._session.connection.send_data(self, pack(body))

    def end(
        self,
        code: StatusCode = StatusCode.OK,
        details: str = "",
        trailing: Metadata = (),
        head: bytes | None = None,
    ) -> None:
        """Send how the call ended. The first word counts."""
        if self.over:
            return
        self._close()
        connection = self._session.connection
        if code and self.pending is not None:
            # The client doesn't read: an error doesn't wait for it.
            connection.reset(self, Code.CANCEL)
            self._session.flush()
            return
        try:
            if code or details or trailing:
                block = trailers_block(code, details, trailing)
            else:
                block = OK_TRAILERS
            if not self._sent_headers:
                block = (head or RESPONSE + encode_metadata(self._initial)) + block
            connection.send_headers(self, block, end=True)
        except UsageError:
            pass  # the client has gone
        self._session.flush_soon()

    def end_as_set(self) -> None:
        """Send the status that the handler set; OK where it set none."""
        self.end(self._code or StatusCode.OK, self._details, self._trailing)

    @property
    def was_failed(self) -> bool:
        """Whether the handler set a status other than OK."""
        return bool(self._code)

    def kill(self) -> None:
        """Take it that nobody waits for the answer any more."""
        self._close()
        if self.scope is not None:
            self.scope.cancel()

    def data_arrived(self) -> None:
        """Let the handler look."""
        self._readers.wake()

    def drained(self) -> None:
        """Let the handler go on writing."""
        self._let_answer_go()
        self._writers.wake()

    async def wait_drained(self) -> None:
        """Wait until the client has room for all that was written."""
        while self.pending is not None:
            await self._writers.wait()

    async def _next_body(self) -> bytes | None:
        waiting = self.messages
        while not waiting:
            if self.half_closed:
                return None
            await self._readers.wait()
        body = waiting.popleft()
        if self.handler.request_streaming and not self.over:
            # The one message of another kind of call is the handler's as long as it runs.
            amount = PREFIX_BYTES + len(body) + MESSAGE_COST
            self._held -= amount
            self._held_by_all.give_back(amount)
        if not waiting and self.unread:
            unread, self.unread = self.unread, 0
            self._session.connection.consumed(self, unread)
            if self._session.connection.unsent:
                self._session.flush_soon()
        return body

    def _close(self) -> None:
        self.over = True
        self.forget_messages()
        self._held_by_all.give_back(self._held)
        self._held = 0

    def _let_answer_go(self) -> None:
        self._held_by_all.give_back(self._held_answer)
        self._held_answer = 0

    def _send_head(self) -> None:
        self._sent_headers = True
        block = RESPONSE + encode_metadata(self._initial) if self._initial else RESPONSE
        self._session.connection.send_headers(self, block)


def _pairs(given: Given) -> Metadata:
    pairs = tuple(given.items() if hasattr(given, "items") else given)
    encode_metadata(pairs)  # what can't be sent is told where it is given
    return pairs
