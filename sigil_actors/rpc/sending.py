"""The half of an HTTP/2 connection that the application drives: commands in, bytes to send out.

Owns the streams while they are open, and what may be said on them when. The other half, which reads
what the peer says, is in `connection.py`; the two share their state by inheritance, since each of
them ends streams that the other one has to know of.
"""

from collections.abc import Callable
from typing import Final, Generic

from sigil_actors.rpc import frames
from sigil_actors.rpc.events import ConnectionClosed, Event, StreamReset, StreamT
from sigil_actors.rpc.flood_guard import FloodGuard
from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.outbox import Outbox
from sigil_actors.rpc.peer_settings import PeerSettings
from sigil_actors.rpc.stream_ids import StreamIds

DRAIN_PING: Final = b"drain\0\0\0"
"""Its answer tells that the peer has read our first GOAWAY."""


class SendingHalf(Generic[StreamT]):
    """Streams, commands and output. Use `Connection`, which is one with ears."""

    def __init__(
        self,
        *,
        client: bool,
        stream_factory: Callable[[], StreamT],
        limits: Limits | None = None,
    ) -> None:
        self.client = client
        self.limits = limits = limits or Limits()
        self.stream_factory = stream_factory
        self.streams: dict[int, StreamT] = {}
        """The streams that aren't over yet, by id."""
        self.drained: list[StreamT] = []
        """Streams of which nothing waits any longer to be sent. The layer above empties it."""
        self.closed = False
        self.draining = False
        self.goaway_received = False
        self._ids = StreamIds(client=client)
        self._peer = PeerSettings()
        self._flood = FloodGuard(limits)
        self._outbox: Outbox[StreamT] = Outbox(limits.high_water)
        self._has_sent_block = False
        self._returned_at = limits.stream_window >> 1
        """A stream's window is given back in halves: one WINDOW_UPDATE for many frames, and never a
        stop before it."""
        self._send_preface()

    def _send_preface(self) -> None:
        limits = self.limits
        pairs = [
            (frames.HEADER_TABLE_SIZE, limits.table_size),
            (frames.INITIAL_WINDOW_SIZE, limits.stream_window),
            (frames.MAX_HEADER_LIST_SIZE, limits.header_list_max),
        ]
        if self.client:
            self._outbox.put(frames.PREFACE)
            pairs.append((frames.ENABLE_PUSH, 0))
        else:
            pairs.append((frames.MAX_CONCURRENT_STREAMS, limits.streams_max))
        self._outbox.put(frames.settings(pairs))
        if increment := limits.connection_window - frames.WINDOW_DEFAULT:
            self._outbox.put(frames.window_update(0, increment))

    # What may be asked for.

    @property
    def next_id(self) -> int:
        """Return the id that `request` would give."""
        return self._ids.next_own

    @property
    def peer_list(self) -> int:
        """Return how large a header list the peer takes, as RFC 7541 counts."""
        return self._peer.header_list_max

    @property
    def unsent(self) -> int:
        """Return how many bytes `data_to_send` would return, besides DATA that waits."""
        return self._outbox.size

    @property
    def last_is_told(self) -> bool:
        """Whether a server that drains has said which stream is the last: no more will come."""
        return self.draining and self._ids.last_served < frames.STREAM_ID_MAX

    def can_open(self) -> bool:
        """Whether a client may open a stream now."""
        return (
            len(self.streams) < self._peer.streams_max
            and not (self.goaway_received or self.draining or self.closed)
            and self._ids.next_own <= frames.STREAM_ID_MAX
        )

    # Sending.

    def data_to_send(self) -> bytes:
        """Return all that may go out now; it is the caller's then."""
        outbox = self._outbox
        if outbox.waiting:
            self._release()
        if outbox.has_news:
            outbox.has_news = False
            self._flood.pardon()
        return outbox.take()

    def request(self, block: bytes, *, end: bool = False) -> StreamT:
        """Open a stream, as a client, with an encoded header block; `end` if no DATA follows.

        Raises:
            UsageError: None can be opened now, see `can_open`.
        """
        if not self.client or not self.can_open():
            raise UsageError("no stream can be opened now")
        stream = self.stream_factory()
        stream.id = self._ids.next_own
        self._ids.next_own += 2
        self._admit(stream)
        self._put_headers(stream, block, end=end)
        stream.sealed = stream.local_done = end
        return stream

    def send_headers(self, stream: StreamT, block: bytes, *, end: bool = False) -> None:
        """Send a server's first header block, or (with `end`) trailers, after the DATA before it.

        Raises:
            UsageError: The stream is over, or DATA waits and this isn't its end.
        """
        if stream.sealed:
            raise UsageError("the stream is over")
        if stream.pending is None:
            self._put_headers(stream, block, end=end)
            if end:
                self._end_local(stream)
        elif end:
            stream.sealed = True
            stream.trailers = block
        else:
            raise UsageError("headers behind DATA that end nothing")

    def send_data(self, stream: StreamT, data: bytes, *, end: bool = False) -> None:
        """Send DATA. What windows don't allow yet waits in the stream, see `drained`.

        Raises:
            UsageError: The stream is over, or its end has been sent already.
        """
        if stream.sealed:
            raise UsageError("the stream is over")
        if not data and not end:
            return
        if self._outbox.put_data(stream, data, end=end):
            if end:
                self._end_local(stream)
        else:
            stream.sealed = end
            self._outbox.hold(stream, data, end=end)
            self._release()

    def reset(self, stream: StreamT, code: int = Code.CANCEL) -> None:
        """End a stream before its time. No event follows; nothing, if it is over already."""
        if self.streams.get(stream.id) is stream:
            self._outbox.put(frames.rst_stream(stream.id, code))
            self._ids.remember_reset(stream.id)
            self._drop(stream)

    def consumed(self, stream: StreamT, flow_length: int) -> None:
        """Note that DATA of this cost was read, so that its sender may send as much again."""
        stream.unreturned += flow_length
        if stream.unreturned >= self._returned_at and not stream.remote_done:
            stream.receive_window += stream.unreturned
            self._outbox.put(frames.window_update(stream.id, stream.unreturned))
            stream.unreturned = 0

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life: `PongReceived` has the same eight bytes."""
        if len(data) != frames.PING_BYTES:
            raise UsageError(f"a PING has {frames.PING_BYTES} bytes")
        self._outbox.put(frames.ping(data))

    def drain(self) -> None:
        """Take no new streams and finish those that are open.

        A server first says that it will, and only after a PING has come back, when the peer must
        have read it, which stream was the last: so none that is under way is lost.
        """
        if self.draining or self.closed:
            return
        self.draining = True
        if self.client:
            self._outbox.put(frames.goaway(0, Code.NO_ERROR))
        else:
            self._outbox.put(frames.goaway(frames.STREAM_ID_MAX, Code.NO_ERROR))
            self._outbox.put(frames.ping(DRAIN_PING))

    def close(self, code: Code = Code.NO_ERROR, debug: bytes = b"") -> list[Event[StreamT]]:
        """End the connection now. Returns the ends of the streams that die with it."""
        if self.closed:
            return []
        self._outbox.put(frames.goaway(self._ids.last_peer, code, debug))
        return self._die()

    def eof(self) -> list[Event[StreamT]]:
        """Note that no more bytes come. Returns how streams and connection ended."""
        if self.closed:
            return []
        return [*self._die(), ConnectionClosed(Code.NO_ERROR, "connection lost", by_peer=True)]

    def _put_headers(self, stream: StreamT, block: bytes, *, end: bool) -> None:
        if not self._has_sent_block:
            self._has_sent_block = True
            block = TABLE_SIZE_ZERO + block
        frame_max = self._peer.frame_max
        self._outbox.put(frames.headers(stream.id, block, end=end, frame_max=frame_max))
        self._outbox.has_news = True

    def _release(self) -> None:
        """Let DATA go that waits, and what waits behind it."""
        for stream in self._outbox.release():
            self.drained.append(stream)
            if stream.trailers is not None:
                self._put_headers(stream, stream.trailers, end=True)
                self._end_local(stream)
            elif stream.end_after:
                self._end_local(stream)

    # The life of streams.

    def _admit(self, stream: StreamT) -> None:
        stream.sealed = False
        stream.send_window = self._peer.initial_window
        stream.receive_window = self.limits.stream_window
        self.streams[stream.id] = stream

    def _end_local(self, stream: StreamT) -> None:
        stream.sealed = stream.local_done = True
        self._flood.stream_answered()
        if stream.remote_done:
            self._drop(stream)
        elif not self.client:
            # Answered in full, the rest of the request isn't wanted (RFC 9113, 8.1).
            self.reset(stream, Code.NO_ERROR)

    def _end_remote(self, stream: StreamT) -> None:
        stream.remote_done = True
        if stream.local_done:
            self._drop(stream)

    def _drop(self, stream: StreamT) -> None:
        """Take a stream out, whatever state it is in."""
        del self.streams[stream.id]
        stream.sealed = stream.local_done = stream.remote_done = True
        stream.trailers = None
        if self._outbox.drop(stream):
            self.drained.append(stream)  # its writer waits for nothing now

    def _die(self) -> list[Event[StreamT]]:
        self.closed = True
        streams = list(self.streams.values())
        for stream in streams:
            self._drop(stream)
        return [StreamReset(stream, None, by_peer=True) for stream in streams]
