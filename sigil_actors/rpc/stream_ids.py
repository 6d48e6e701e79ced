"""Which ids of streams are in use, were, or will be: what a frame on an absent stream means."""

from sigil_actors.rpc.frames import STREAM_ID_MAX

_RESETS_KEPT = 1024
"""Ids of streams that we reset, of which frames may still be under way. A peer keeps some 256 open,
so that these are the last four generations."""


class StreamIds:
    """The ids of one connection.

    Clients take odd ones, upwards. Nobody takes even ones: a server would, for push, which nobody
    is offered.
    """

    __slots__ = ("_client", "_evicted_max", "_reset", "last_peer", "last_served", "next_own")

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self.next_own: int = 1
        """The client's next stream. A server opens none."""
        self.last_peer: int = 0
        """The newest stream that the peer has opened."""
        self.last_served: int = STREAM_ID_MAX
        """The newest that is still served, once we have announced it."""
        self._reset: dict[int, None] = {}
        self._evicted_max = 0

    def is_idle(self, stream_id: int) -> bool:
        """Whether nobody has opened this stream yet, so that nothing may be said about it."""
        if stream_id % 2 == 0:
            return True
        return stream_id >= self.next_own if self._client else stream_id > self.last_peer

    def opens(self, stream_id: int) -> bool:
        """Whether HEADERS with this id open a new stream of the peer."""
        return not self._client and stream_id % 2 == 1 and stream_id > self.last_peer

    def remember_reset(self, stream_id: int) -> None:
        """Note that we reset it, which its peer may not know yet."""
        self._reset[stream_id] = None
        if len(self._reset) > _RESETS_KEPT:
            oldest = next(iter(self._reset))
            del self._reset[oldest]
            self._evicted_max = max(self._evicted_max, oldest)

    def was_reset(self, stream_id: int) -> bool:
        """Whether we reset it, so that frames on it are no fault; in doubt, of old ones, yes."""
        return stream_id in self._reset or stream_id <= self._evicted_max
