"""A client's connection: what stubs that grpcio-tools generates call their methods on."""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.rpc.call import Call
from sigil_actors.rpc.call_headers import read_response, read_trailers
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.dialing import Address, connect
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    GoawayReceived,
    HeadersReceived,
    SettingsReceived,
    StreamReset,
    TrailersReceived,
)
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.hpack_encoding import header
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.messages import MESSAGE_BYTES_MAX
from sigil_actors.rpc.metadata import Given, encode_metadata, encode_timeout
from sigil_actors.rpc.methods import (
    Decode,
    Encode,
    StreamStream,
    StreamUnary,
    UnaryStream,
    UnaryUnary,
)
from sigil_actors.rpc.session import Keepalive, Session
from sigil_actors.rpc.status import Metadata, RpcError, StatusCode, status_of_reset
from sigil_actors.rpc.transport import Transport

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""A TLS handshake on one machine takes milliseconds."""

CALLS_BEFORE_SETTINGS: Final = 100
"""Calls at a time until the server has said how many it takes: fewer than that none offers, as the
protocol recommends it."""


class Channel(Session[Call]):
    """A connection to a server. `open_channel` makes one; a stub takes it as it is."""

    def __init__(
        self,
        transport: Transport,
        nursery: trio.Nursery,
        *,
        authority: str,
        scheme: bytes,
        limits: Limits | None,
        message_max: int,
        keepalive: Keepalive | None,
    ) -> None:
        connection: Connection[Call] = Connection(
            client=True, limits=limits, stream_factory=self._new_call
        )
        super().__init__(transport, connection, keepalive)
        self.authority = authority.encode()
        self.scheme = scheme
        self.message_max = message_max
        self._nursery = nursery
        self._next: Call | None = None
        self._slots = trio.lowlevel.ParkingLot()
        self._waiting = 0
        self.handlers = {
            HeadersReceived: self._on_headers,
            DataReceived: self._on_data,
            TrailersReceived: self._on_trailers,
            StreamReset: self._on_reset,
            SettingsReceived: self._on_settings,
            GoawayReceived: self._on_goaway,
            ConnectionClosed: self._on_closed,
        }

    # What generated stubs call.

    def unary_unary(
        self,
        path: str,
        request_serializer: Encode = None,
        response_deserializer: Decode = None,
        **_options: object,
    ) -> UnaryUnary:
        """Return a method that takes one message and answers one."""
        return UnaryUnary(self, path, request_serializer, response_deserializer)

    def unary_stream(
        self,
        path: str,
        request_serializer: Encode = None,
        response_deserializer: Decode = None,
        **_options: object,
    ) -> UnaryStream:
        """Return a method that takes one message and answers many."""
        return UnaryStream(self, path, request_serializer, response_deserializer)

    def stream_unary(
        self,
        path: str,
        request_serializer: Encode = None,
        response_deserializer: Decode = None,
        **_options: object,
    ) -> StreamUnary:
        """Return a method that takes many messages and answers one."""
        return StreamUnary(self, path, request_serializer, response_deserializer)

    def stream_stream(
        self,
        path: str,
        request_serializer: Encode = None,
        response_deserializer: Decode = None,
        **_options: object,
    ) -> StreamStream:
        """Return a method that takes many messages and answers many."""
        return StreamStream(self, path, request_serializer, response_deserializer)

    # What calls use.

    @property
    def is_usable(self) -> bool:
        """Whether a new call has a chance."""
        return not self.connection.closed and not self.connection.goaway_received

    def must_wait(self) -> bool:
        """Tell whether a new call has to wait for its turn.

        Raises:
            RpcError: UNAVAILABLE; no call can be made any more.
        """
        if self._can_open() and not self._waiting:
            return False
        self._check_usable()
        return True

    async def wait_for_turn(self) -> None:
        """Wait until the server takes one more call.

        Raises:
            RpcError: UNAVAILABLE; it takes none any more.
        """
        self._waiting += 1
        try:
            while not self._can_open():
                self._check_usable()
                await self._slots.park()
        finally:
            self._waiting -= 1

    def give_turn_back(self) -> None:
        """Let the next one have a turn that came too late to be of use."""
        self._free_slot()

    def open(self, call: Call, head: bytes) -> None:
        """Send the first block of a call."""
        self._next = call
        try:
            self.connection.request(head)
        except UsageError:
            raise RpcError(StatusCode.UNAVAILABLE, self.reason) from None
        finally:
            self._next = None

    def send(self, call: Call, data: bytes, *, end: bool = False) -> None:
        """Send a part of a call; where it is over meanwhile, its status tells."""
        try:
            self.connection.send_data(call, data, end=end)
        except UsageError:
            return
        self.flush_soon()

    def consumed(self, call: Call, length: int) -> None:
        """Give the server back what was read."""
        self.connection.consumed(call, length)
        if self.connection.unsent:
            self.flush_soon()

    def reset(self, call: Call, code: Code) -> None:
        """Tell the server that the call is over."""
        self.connection.reset(call, code)
        self.flush()
        self._free_slot()

    def start_soon(self, work: Callable[..., Awaitable[object]], *arguments: object) -> None:
        """Run something for a call, at most as long as the channel is open."""
        self._nursery.start_soon(work, *arguments)

    def head(self, block: bytes, timeout: float | None, metadata: Given | None) -> bytes:
        """Return the first block of a call.

        Raises:
            RpcError: RESOURCE_EXHAUSTED; the server doesn't take so much.
            ValueError: the metadata can't be sent.
        """
        if timeout is not None:
            block += header(b"grpc-timeout", encode_timeout(timeout))
        if metadata:
            block += encode_metadata(metadata)
        if len(block) > self.connection.peer_list:
            raise RpcError(StatusCode.RESOURCE_EXHAUSTED, "metadata exceeds the server's limit")
        return block

    # Events.

    def _new_call(self) -> Call:
        if self._next is None:
            raise AssertionError("only `open` has the connection make a stream")
        return self._next

    def _can_open(self) -> bool:
        connection = self.connection
        if not connection.established and len(connection.streams) >= CALLS_BEFORE_SETTINGS:
            return False
        return connection.can_open()

    def _free_slot(self) -> None:
        if self._waiting:
            self._slots.unpark()
        self._close_if_done()

    def _close_if_done(self) -> None:
        """Hang up on a server that goes away, after the last call: it waits for that."""
        connection = self.connection
        if connection.goaway_received and not connection.streams and not connection.closed:
            self.end()

    def _finish(
        self, call: Call, code: StatusCode, details: str = "", trailing: Metadata = ()
    ) -> None:
        call.finish(code, details, trailing)
        if call.id in self.connection.streams:
            self.connection.reset(call, Code.CANCEL if code else Code.NO_ERROR)
        self._free_slot()

    def _fail(self, call: Call, error: RpcError) -> None:
        self._finish(call, error.code(), error.details(), error.trailing_metadata())

    def _on_headers(self, event: HeadersReceived[Call]) -> None:
        call, block, end = event
        head = read_response(block)
        call.names_encoding = head.names_encoding
        call.take_initial(() if end else head.metadata)
        if end:
            self._end(call, event.block, head.error)
        elif head.error is not None:
            self._fail(call, head.error)

    def _on_data(self, event: DataReceived[Call]) -> None:
        call, data, length, end = event
        call.unread += length
        try:
            call.feed(data)
        except RpcError as error:
            self._fail(call, error)
            return
        if not call.messages:
            unread, call.unread = call.unread, 0
            self.connection.consumed(call, unread)
        if end:
            self._finish(call, StatusCode.INTERNAL, "the stream ended without a status")
        elif call.messages:
            call.data_arrived()

    def _on_trailers(self, event: TrailersReceived[Call]) -> None:
        self._end(event.stream, event.block, None)

    def _end(self, call: Call, block: Any, error: RpcError | None) -> None:
        trailers = read_trailers(block)
        if trailers.code is None:
            self._fail(
                call, error or RpcError(StatusCode.INTERNAL, "the answer has no grpc-status")
            )
        elif not trailers.code and call.is_inside_message:
            self._finish(call, StatusCode.INTERNAL, "the last message is cut off")
        else:
            self._finish(call, trailers.code, trailers.details, trailers.metadata)

    def _on_reset(self, event: StreamReset[Call]) -> None:
        code, text = status_of_reset(event.code, by_peer=event.by_peer)
        event.stream.finish(code, self.reason if event.code is None else text)
        self._free_slot()

    def _on_settings(self, _: SettingsReceived) -> None:
        if self._waiting:
            self._slots.unpark_all()

    def _on_goaway(self, event: GoawayReceived) -> None:
        said = event.debug[:100].decode("latin-1")
        self.reason = f"the server is going away (code {event.code}{', ' if said else ''}{said})"
        self._slots.unpark_all()
        self._close_if_done()

    def _on_closed(self, event: ConnectionClosed) -> None:
        self.reason = event.text

    def _check_usable(self) -> None:
        if not self.is_usable:
            raise RpcError(StatusCode.UNAVAILABLE, self.reason)

    def stream_drained(self, stream: Call) -> None:
        """Let its writer go on."""
        stream.drained()

    def ended(self) -> None:
        """Let everybody who waits for a turn see that there is none."""
        self._slots.unpark_all()

    def close(self) -> None:
        """End it at once: each call ends with UNAVAILABLE."""
        if not self.connection.closed:
            self.reason = "the channel was closed"
        self.end()


@asynccontextmanager
async def open_channel(
    address: Address,
    *,
    tls: ssl.SSLContext | None = None,
    server_hostname: str = "localhost",
    authority: str = "localhost",
    limits: Limits | None = None,
    message_max: int = MESSAGE_BYTES_MAX,
    keepalive: Keepalive | None = None,
    handshake_timeout_s: float = HANDSHAKE_TIMEOUT_S,
) -> AsyncGenerator[Channel]:
    """Be connected to a server for as long as the block lasts.

        async with open_channel("unix:/run/plugin.sock") as channel:
            answer = await ToolStub(channel).Describe(DescribeRequest())

    Args:
        address: `unix:PATH`, `HOST:PORT`, or a connected socket, which is closed here.
        tls: With which to speak TLS, of `rpc.tls`; plain text without.
        server_hostname: The name that the server's certificate is to be for.
        authority: What the server is told that it is called.
        limits: What the server may make this side hold.
        message_max: Bytes that a message may have.
        keepalive: When a silent server is asked whether it is there; never by default.
        handshake_timeout_s: How long TLS may take to agree, and then the server's first frame to
            come: every call fails as UNAVAILABLE where it doesn't.

    Raises:
        OSError: nobody listens there, or TLS can't agree.
    """
    sock = await connect(address)
    try:
        transport = Transport(sock, tls, is_server=False, server_hostname=server_hostname)
    except BaseException:
        sock.close()
        raise
    try:
        await transport.handshake(handshake_timeout_s)
        async with open_bare_nursery() as nursery:
            channel = Channel(
                transport,
                nursery,
                authority=authority,
                scheme=b"http" if tls is None else b"https",
                limits=limits,
                message_max=message_max,
                keepalive=keepalive,
            )
            nursery.start_soon(channel.keep_writing)
            nursery.start_soon(channel.keep_flushing)
            nursery.start_soon(channel.read)
            nursery.start_soon(channel.keep_alive)
            nursery.start_soon(channel.expect_settings, handshake_timeout_s)
            try:
                yield channel
            finally:
                channel.close()
                nursery.cancel_scope.cancel()
    finally:
        transport.close()
