"""An HTTP/2 connection for gRPC, either side of it, without I/O: bytes and commands in, bytes out.

`receive` takes what the socket gave and returns events. Commands and `receive` leave bytes behind,
which `data_to_send` returns: call it when the socket can take them, since DATA moves only as far as
the output drains. This module reads what the peer says, commands are in `sending.py`. What the
bytes of a stream mean is for the layer above; sockets, time and tasks too.
docs/explanation/http2-connection.md tells how it is built.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from sigil_actors.rpc import frames
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    GoawayReceived,
    HeadersReceived,
    PongReceived,
    SettingsReceived,
    StreamReset,
    StreamT,
    TrailersReceived,
)
from sigil_actors.rpc.frame_reader import FrameReader
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.header_block import Block, BlockDecoder, PartialBlock
from sigil_actors.rpc.http2_error import ViolationError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.sending import DRAIN_PING, SendingHalf

_PRIORITY_BYTES: Final = 5
_INTERIM: Final = b"1"
_SWITCHING_PROTOCOLS: Final = b"101"

_new_tuple = tuple.__new__
"""Makes an event in half the time that its own constructor takes, for those that every call has."""


class Connection(SendingHalf[StreamT]):
    """One connection. Its streams are made by `stream_factory`, and belong to it while open.

    No method blocks or waits, none raises for what the peer did: that is told by events.
    """

    def __init__(
        self,
        *,
        client: bool,
        stream_factory: Callable[[], StreamT],
        limits: Limits | None = None,
    ) -> None:
        super().__init__(client=client, stream_factory=stream_factory, limits=limits)
        limits = self.limits
        self.established = False
        """Whether the peer's first SETTINGS are here."""
        self._handlers = self._BEFORE_SETTINGS
        self._frames = FrameReader(preface_due=not client)
        self._partial: PartialBlock | None = None
        """The header block that is being read."""
        self._blocks = BlockDecoder(limits)
        self._settings_unacknowledged = True
        self._receive_window = limits.connection_window
        self._arrived = 0
        """Bytes of DATA that arrived and aren't given back to the connection's window yet."""
        self._returned_on_connection_at = limits.connection_window >> 1

    def receive(self, data: bytes, now: float = 0.0) -> list[Event[StreamT]]:
        """Take bytes that came; return what they mean. `now` is any clock's, in seconds."""
        if self.closed:
            return []
        self._flood.tick(now)
        events: list[Event[StreamT]] = []
        try:
            for kind, flags, stream_id, payload in self._frames.read(data):
                # What isn't a part of a stream costs; what is has its own bounds.
                if kind > frames.HEADERS:
                    self._flood.charge()
                handler = self._handlers.get(kind)
                if handler is not None:
                    handler(self, flags, stream_id, payload, events)
                else:
                    self._check_skippable(kind)
            if self._outbox.size > self.limits.unsent_max:
                raise ViolationError(Code.ENHANCE_YOUR_CALM, "peer does not read")  # noqa: TRY301
        except ViolationError as violation:
            events += self.close(violation.code, violation.text.encode())
            events.append(ConnectionClosed(violation.code, violation.text, by_peer=False))
        return events

    def _check_skippable(self, kind: int) -> None:
        """Pass a frame of a type that we don't know, unless another one must come now."""
        if self._partial is not None:
            raise ViolationError(Code.PROTOCOL_ERROR, "header block interrupted")
        if not self.established:
            raise ViolationError(Code.PROTOCOL_ERROR, "first frame is not SETTINGS")
        if kind == frames.PUSH_PROMISE:
            raise ViolationError(Code.PROTOCOL_ERROR, "PUSH_PROMISE")
        if kind == frames.CONTINUATION:
            raise ViolationError(Code.PROTOCOL_ERROR, "CONTINUATION without HEADERS")

    def _on_data(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        flow_length = len(payload)
        self._receive_window -= flow_length
        if self._receive_window < 0:
            raise ViolationError(Code.FLOW_CONTROL_ERROR, "connection window overrun")
        self._arrived += flow_length
        if self._arrived >= self._returned_on_connection_at:
            self._return_window()
        if flags & frames.PADDED:
            payload = _without_padding(payload)
        stream = self.streams.get(stream_id)
        if stream is None or stream.remote_done or not stream.opened:
            self._on_stray_data(stream_id, stream, events)
            return
        stream.receive_window -= flow_length
        end = flags & frames.END_STREAM != 0
        if stream.receive_window < 0:
            self._fail(stream, Code.FLOW_CONTROL_ERROR, events)
            return
        if stream.length_left is not None:
            stream.length_left -= len(payload)
            if stream.length_left < 0 or (end and stream.length_left):
                self._fail(stream, Code.PROTOCOL_ERROR, events)
                return
        if not payload and not end:
            self._flood.charge()
        events.append(_new_tuple(DataReceived, (stream, payload, flow_length, end)))
        if end:
            self._end_remote(stream)

    def _return_window(self) -> None:
        self._receive_window += self._arrived
        self._outbox.put(frames.window_update(0, self._arrived))
        self._arrived = 0

    def _fail(self, stream: StreamT, code: Code, events: list[Event[StreamT]]) -> None:
        """Reset a stream on which the peer broke a rule."""
        self.reset(stream, code)
        events.append(StreamReset(stream, code, by_peer=False))
        self._flood.charge_reset()

    def _on_stray_data(
        self, stream_id: int, stream: StreamT | None, events: list[Event[StreamT]]
    ) -> None:
        if stream is not None:
            code = Code.STREAM_CLOSED if stream.opened else Code.PROTOCOL_ERROR
            self._fail(stream, code, events)
        elif self._ids.is_idle(stream_id):
            raise ViolationError(Code.PROTOCOL_ERROR, "DATA on an idle stream")
        elif self._ids.was_reset(stream_id):
            self._flood.charge()
        else:
            raise ViolationError(Code.STREAM_CLOSED, "DATA on a closed stream")

    def _on_headers(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        if flags & frames.PADDED:
            payload = _without_padding(payload)
        if flags & frames.PRIORITY_FLAG:
            if len(payload) < _PRIORITY_BYTES:
                raise ViolationError(Code.FRAME_SIZE_ERROR, "short HEADERS")
            if _depends_on(payload) == stream_id:
                raise ViolationError(Code.PROTOCOL_ERROR, "stream depends on itself")
            payload = payload[_PRIORITY_BYTES:]
        if stream_id == 0:
            raise ViolationError(Code.PROTOCOL_ERROR, "HEADERS on stream 0")
        end = flags & frames.END_STREAM != 0
        if flags & frames.END_HEADERS:
            self._on_block(stream_id, payload, end=end, events=events)
        else:
            self._partial = PartialBlock(stream_id, payload, self.limits, end=end)
            self._handlers = self._INSIDE_BLOCK

    def _on_continuation(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        partial = self._partial
        if partial is None or partial.stream_id != stream_id:
            raise ViolationError(Code.PROTOCOL_ERROR, "header block interrupted")
        partial.add(payload)
        if flags & frames.END_HEADERS:
            self._partial = None
            self._handlers = self._OPEN
            self._on_block(stream_id, partial.joined(), end=partial.end, events=events)

    def _on_block(
        self, stream_id: int, raw: bytes, *, end: bool, events: list[Event[StreamT]]
    ) -> None:
        # Also where nobody wants it: the decoder's state belongs to the connection.
        block = self._blocks.decode(raw)
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._ids.opens(stream_id):
                self._on_request(stream_id, block, end=end, events=events)
            else:
                self._on_stray_block(stream_id)
        elif stream.remote_done:
            self._fail(stream, Code.STREAM_CLOSED, events)
        elif not stream.opened:
            self._on_response(stream, block, end=end, events=events)
        elif not end or block.wrong_trailers() or stream.length_left:
            self._fail(stream, Code.PROTOCOL_ERROR, events)
        else:
            events.append(_new_tuple(TrailersReceived, (stream, block)))
            self._end_remote(stream)

    def _on_stray_block(self, stream_id: int) -> None:
        if self._ids.is_idle(stream_id):
            raise ViolationError(Code.PROTOCOL_ERROR, "HEADERS on an idle stream")
        if not self._ids.was_reset(stream_id):
            raise ViolationError(Code.STREAM_CLOSED, "HEADERS on a closed stream")
        self._flood.charge()

    def _on_request(
        self, stream_id: int, block: Block, *, end: bool, events: list[Event[StreamT]]
    ) -> None:
        self._ids.last_peer = stream_id
        if stream_id > self._ids.last_served:
            # The peer knows from our GOAWAY that it wasn't served; just its window counts.
            self._refuse(stream_id, None)
        elif len(self.streams) >= self.limits.streams_max:
            self._refuse(stream_id, Code.REFUSED_STREAM)
        elif block.wrong_request() or (end and block.length):
            self._refuse(stream_id, Code.PROTOCOL_ERROR)
        else:
            stream = self.stream_factory()
            stream.id = stream_id
            self._admit(stream)
            self._open_remote(stream, block, end=end, events=events)

    def _refuse(self, stream_id: int, code: Code | None) -> None:
        if code is not None:
            self._outbox.put(frames.rst_stream(stream_id, code))
        self._ids.remember_reset(stream_id)
        self._flood.charge_reset()

    def _on_response(
        self, stream: StreamT, block: Block, *, end: bool, events: list[Event[StreamT]]
    ) -> None:
        wrong = block.wrong_response()
        status = block.pseudo.get(b":status", b"")
        is_interim = status.startswith(_INTERIM)
        if wrong or (is_interim and (end or status == _SWITCHING_PROTOCOLS)):
            self._fail(stream, Code.PROTOCOL_ERROR, events)
        elif is_interim:
            self._flood.charge()
        elif end and block.length:
            self._fail(stream, Code.PROTOCOL_ERROR, events)
        else:
            self._open_remote(stream, block, end=end, events=events)

    def _open_remote(
        self, stream: StreamT, block: Block, *, end: bool, events: list[Event[StreamT]]
    ) -> None:
        stream.opened = True
        stream.length_left = block.length
        events.append(_new_tuple(HeadersReceived, (stream, block, end)))
        if end:
            self._end_remote(stream)

    def _on_window_update(
        self, _flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        _check_length(payload, frames.U32_BYTES, "WINDOW_UPDATE")
        increment = frames.read_u32(payload) & frames.WINDOW_MAX
        if stream_id == 0:
            if increment == 0:
                raise ViolationError(Code.PROTOCOL_ERROR, "zero WINDOW_UPDATE")
            self._outbox.window += increment
            if self._outbox.window > frames.WINDOW_MAX:
                raise ViolationError(Code.FLOW_CONTROL_ERROR, "connection window overflow")
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            if self._ids.is_idle(stream_id):
                raise ViolationError(Code.PROTOCOL_ERROR, "WINDOW_UPDATE on an idle stream")
            return
        stream.send_window += increment
        if increment == 0:
            self._fail(stream, Code.PROTOCOL_ERROR, events)
        elif stream.send_window > frames.WINDOW_MAX:
            self._fail(stream, Code.FLOW_CONTROL_ERROR, events)

    def _on_ping(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        _check_on_connection(stream_id, "PING")
        _check_length(payload, frames.PING_BYTES, "PING")
        if not flags & frames.ACK:
            self._outbox.put(frames.ping(payload, ack=True))
        elif self.draining and not self.client and payload == DRAIN_PING:
            self._ids.last_served = min(self._ids.last_served, self._ids.last_peer)
            self._outbox.put(frames.goaway(self._ids.last_served, Code.NO_ERROR))
        else:
            events.append(PongReceived(payload))

    def _on_rst_stream(
        self, _flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        _check_length(payload, frames.U32_BYTES, "RST_STREAM")
        if self._ids.is_idle(stream_id):
            raise ViolationError(Code.PROTOCOL_ERROR, "RST_STREAM on an idle stream")
        stream = self.streams.get(stream_id)
        if stream is None:
            return
        self._drop(stream)
        events.append(StreamReset(stream, frames.read_u32(payload), by_peer=True))
        if not self.client:
            self._flood.charge_reset()

    def _on_settings(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        _check_on_connection(stream_id, "SETTINGS")
        if flags & frames.ACK:
            _check_length(payload, 0, "SETTINGS ACK")
            if self._settings_unacknowledged:
                self._settings_unacknowledged = False
                self._blocks.settings_acknowledged()
            return
        change = self._peer.apply(payload, pushes_refused=self.client)
        if change:
            for stream in self.streams.values():
                stream.send_window += change
                if stream.send_window > frames.WINDOW_MAX:
                    raise ViolationError(Code.FLOW_CONTROL_ERROR, "stream window overflow")
        self._outbox.frame_max = self._peer.frame_max
        self._outbox.put(frames.SETTINGS_ACK)
        events.append(SettingsReceived())

    def _on_first_settings(
        self, flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        if flags & frames.ACK:
            raise ViolationError(Code.PROTOCOL_ERROR, "first frame is not SETTINGS")
        self._on_settings(flags, stream_id, payload, events)
        self.established = True
        self._handlers = self._OPEN

    def _on_goaway(
        self, _flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        _check_on_connection(stream_id, "GOAWAY")
        if len(payload) < frames.GOAWAY_BYTES_MIN:
            raise ViolationError(Code.FRAME_SIZE_ERROR, "GOAWAY length")
        last_id = frames.read_u32(payload) & frames.STREAM_ID_MAX
        code = frames.read_u32(payload[frames.U32_BYTES :])
        debug = payload[frames.GOAWAY_BYTES_MIN :][: frames.DEBUG_BYTES_MAX]
        self.goaway_received = True
        events.append(GoawayReceived(code, last_id, debug))
        if self.client:
            for stream in [s for s in self.streams.values() if s.id > last_id]:
                self._drop(stream)
                events.append(StreamReset(stream, Code.REFUSED_STREAM, by_peer=True))

    def _on_priority(
        self, _flags: int, stream_id: int, payload: bytes, events: list[Event[StreamT]]
    ) -> None:
        """Check it and do nothing: priorities are deprecated, but a wrong one is still an error."""
        if stream_id == 0:
            raise ViolationError(Code.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != _PRIORITY_BYTES:
            code = Code.FRAME_SIZE_ERROR
        elif _depends_on(payload) == stream_id:
            code = Code.PROTOCOL_ERROR
        else:
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            raise ViolationError(code, "bad PRIORITY")
        self._fail(stream, code, events)

    # What may come, and what takes it: three states, of which one is in force. A type that isn't
    # listed is unknown and skipped, or isn't allowed in that state; `_check_skippable` says which.
    # Functions and not bound methods, so that a connection isn't a cycle of references.
    _Handlers = Mapping[int, Callable[..., None]]
    _BEFORE_SETTINGS: ClassVar[_Handlers] = {frames.SETTINGS: _on_first_settings}
    _INSIDE_BLOCK: ClassVar[_Handlers] = {frames.CONTINUATION: _on_continuation}
    _OPEN: ClassVar[_Handlers] = {
        frames.DATA: _on_data,
        frames.HEADERS: _on_headers,
        frames.PRIORITY: _on_priority,
        frames.RST_STREAM: _on_rst_stream,
        frames.SETTINGS: _on_settings,
        frames.PING: _on_ping,
        frames.GOAWAY: _on_goaway,
        frames.WINDOW_UPDATE: _on_window_update,
    }


def _without_padding(payload: bytes) -> bytes:
    if not payload:
        raise ViolationError(Code.FRAME_SIZE_ERROR, "no pad length")
    padding = payload[0]
    if padding >= len(payload):
        raise ViolationError(Code.PROTOCOL_ERROR, "padding exceeds frame")
    return payload[1 : len(payload) - padding]


def _depends_on(priority: bytes) -> int:
    return frames.read_u32(priority) & frames.STREAM_ID_MAX


def _check_length(payload: bytes, length: int, what: str) -> None:
    if len(payload) != length:
        raise ViolationError(Code.FRAME_SIZE_ERROR, f"{what} length")


def _check_on_connection(stream_id: int, what: str) -> None:
    if stream_id != 0:
        raise ViolationError(Code.PROTOCOL_ERROR, f"{what} on a stream")
