"""The peer's SETTINGS: what it lets us do."""

from sigil_actors.rpc.frames import (
    ENABLE_PUSH,
    FRAME_MAX,
    FRAME_MAX_LIMIT,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    SETTING_BYTES,
    STREAM_ID_MAX,
    WINDOW_DEFAULT,
    WINDOW_MAX,
    Code,
    read_settings,
)
from sigil_actors.rpc.http2_error import ViolationError

_ENTRIES_MAX = 64
"""In one frame. Seven are defined, and an entry costs its sender six bytes."""

_OUR_FRAME_MAX = 65_536
"""We send no larger frame, however large a one the peer takes: other streams wait behind it."""


class PeerSettings:
    """The values in force, at first the protocol's defaults."""

    __slots__ = ("frame_max", "header_list_max", "initial_window", "streams_max")

    def __init__(self) -> None:
        self.frame_max: int = FRAME_MAX
        self.initial_window: int = WINDOW_DEFAULT
        self.streams_max: int = STREAM_ID_MAX
        """Streams of ours at a time; without a word of the peer there is no bound."""
        self.header_list_max: int = STREAM_ID_MAX

    def apply(self, payload: bytes, *, pushes_refused: bool) -> int:
        """Take over a SETTINGS frame; return by how much the streams' windows change.

        Where a frame names one setting several times, only the change from first to last counts:
        else each pair of six bytes would cost a walk over all streams.

        Raises:
            ViolationError: A value is out of its range, or there are too many.
        """
        if len(payload) % SETTING_BYTES:
            raise ViolationError(Code.FRAME_SIZE_ERROR, "SETTINGS length")
        if len(payload) > _ENTRIES_MAX * SETTING_BYTES:
            raise ViolationError(Code.ENHANCE_YOUR_CALM, "too many settings")
        window_before = self.initial_window
        for key, value in read_settings(payload):
            _check_range(key, value, push_max=0 if pushes_refused else 1)
            if key == INITIAL_WINDOW_SIZE:
                self.initial_window = value
            elif key == MAX_FRAME_SIZE:
                self.frame_max = min(value, _OUR_FRAME_MAX)
            elif key == MAX_CONCURRENT_STREAMS:
                self.streams_max = value
            elif key == MAX_HEADER_LIST_SIZE:
                self.header_list_max = value
        return self.initial_window - window_before


def _check_range(key: int, value: int, *, push_max: int) -> None:
    if key == INITIAL_WINDOW_SIZE and value > WINDOW_MAX:
        raise ViolationError(Code.FLOW_CONTROL_ERROR, "initial window too large")
    if key == MAX_FRAME_SIZE and not FRAME_MAX <= value <= FRAME_MAX_LIMIT:
        raise ViolationError(Code.PROTOCOL_ERROR, "bad max frame size")
    if key == ENABLE_PUSH and value > push_max:
        raise ViolationError(Code.PROTOCOL_ERROR, "bad ENABLE_PUSH")
