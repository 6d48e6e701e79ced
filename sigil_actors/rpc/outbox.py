"""What is to be sent: bytes that may go at once, and DATA that has to wait for its turn.

DATA waits while the peer's windows are used up, or while the output is above its high water, so
that what the application wrote early can't stand in the way of what is urgent. Streams that wait
take turns, a frame each.
"""

from collections import OrderedDict, deque
from typing import Generic

from sigil_actors.rpc.events import StreamT
from sigil_actors.rpc.frames import DATA, END_STREAM, FRAME_MAX, HEAD, WINDOW_DEFAULT


class Outbox(Generic[StreamT]):
    """The output of one connection, and its send window."""

    __slots__ = ("_high_water", "_parts", "frame_max", "has_news", "size", "waiting", "window")

    def __init__(self, high_water: int) -> None:
        self._high_water = high_water
        self._parts: list[bytes | memoryview] = []
        self.size: int = 0
        """Bytes that `take` would return."""
        self.has_news: bool = False
        """Whether something of the application's own went out: DATA or headers."""
        self.window: int = WINDOW_DEFAULT
        """Bytes of DATA that the peer takes on the whole connection."""
        self.frame_max: int = FRAME_MAX
        """Bytes of DATA that we put into one frame."""
        self.waiting: OrderedDict[int, StreamT] = OrderedDict()
        """Streams with DATA that waits, the one whose turn is next first."""

    def put(self, frames: bytes) -> None:
        """Add frames that no window governs."""
        self._parts.append(frames)
        self.size += len(frames)

    def put_data(self, stream: StreamT, data: bytes, *, end: bool) -> bool:
        """Add DATA if it may go at once and whole; return whether it could."""
        length = len(data)
        if (
            stream.pending is not None
            or length > stream.send_window
            or length > self.window
            or length > self.frame_max
            or self.size >= self._high_water
        ):
            return False
        self.has_news = True
        stream.send_window -= length
        self.window -= length
        head = HEAD.pack(length >> 8, length & 0xFF, DATA, END_STREAM if end else 0, stream.id)
        self._parts.append(head)
        self._parts.append(data)
        self.size += length + len(head)
        return True

    def hold(self, stream: StreamT, data: bytes, *, end: bool) -> None:
        """Have DATA wait for its turn."""
        if stream.pending is None:
            stream.pending = deque((memoryview(data),))
            self.waiting[stream.id] = stream
        elif data:
            stream.pending.append(memoryview(data))
        stream.end_after = stream.end_after or end

    def release(self) -> list[StreamT]:
        """Move waiting DATA into the output as far as it may go.

        Returns the streams of which nothing waits any longer. Their END_STREAM is sent with it,
        their trailers aren't.
        """
        released: list[StreamT] = []
        waiting = self.waiting
        stuck = 0
        while stuck < len(waiting) and self.size < self._high_water:
            stream = next(iter(waiting.values()))
            if not self._put_waiting(stream):
                stuck += 1
                waiting.move_to_end(stream.id)
                continue
            stuck = 0
            if stream.pending:
                waiting.move_to_end(stream.id)
            else:
                del waiting[stream.id]
                stream.pending = None
                released.append(stream)
        return released

    def _put_waiting(self, stream: StreamT) -> bool:
        """Add one frame of what waits in a stream; return whether its windows allowed any."""
        pending = stream.pending
        if not pending:
            raise AssertionError("a stream without DATA waits")
        chunk = pending[0]
        length = min(len(chunk), self.frame_max, stream.send_window, self.window)
        # An empty frame, which just ends a stream, passes at a window of zero. Below zero it would
        # too by the protocol, but not every peer agrees.
        if length < 0 or (length == 0 and len(chunk) > 0):
            return False
        self.has_news = True
        stream.send_window -= length
        self.window -= length
        if length == len(chunk):
            pending.popleft()
        else:
            pending[0] = chunk[length:]
        is_last = stream.end_after and not pending
        flags = END_STREAM if is_last else 0
        self._parts.append(HEAD.pack(length >> 8, length & 0xFF, DATA, flags, stream.id))
        self._parts.append(chunk[:length])
        self.size += HEAD.size + length
        return True

    def drop(self, stream: StreamT) -> bool:
        """Forget what waits in a stream; return whether something did."""
        if stream.pending is None:
            return False
        stream.pending = None
        del self.waiting[stream.id]
        return True

    def take(self) -> bytes:
        """Return all bytes that may go now, and forget them."""
        if not self._parts:
            return b""
        taken = b"".join(self._parts)
        self._parts.clear()
        self.size = 0
        return taken
