"""Cuts the bytes of a connection into frames, whatever pieces they arrive in."""

from collections.abc import Iterator
from typing import TypeAlias

from sigil_actors.rpc.frames import (
    FRAME_MAX,
    HEAD,
    HEAD_BYTES,
    PREFACE,
    STREAM_ID_MAX,
    Code,
)
from sigil_actors.rpc.http2_error import ViolationError

Frame: TypeAlias = tuple[int, int, int, bytes]
"""Type, flags, stream and payload. A bare tuple, since this is the hottest loop of all."""


class FrameReader:
    """Holds the bytes of the frame that isn't whole yet: less than one frame, at any time."""

    __slots__ = ("_needed", "_preface_due", "_rest")

    def __init__(self, *, preface_due: bool) -> None:
        self._preface_due = preface_due
        self._rest = bytearray()
        self._needed = len(PREFACE) if preface_due else HEAD_BYTES
        """Bytes that `_rest` must have before looking at them again is of use. So a peer that sends
        single bytes makes each of them cost one append, and not one look at the whole frame."""

    def read(self, data: bytes) -> Iterator[Frame]:
        """Give the frames that are whole with these bytes. To be read to its end.

        Raises:
            ViolationError: The preface is wrong, or a frame is longer than we let it be. The frames
                before it have been given then.
        """
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._needed:
                return
            data = bytes(rest)
            rest.clear()
        position = 0
        end = len(data)
        if self._preface_due:
            if data[: len(PREFACE)] != PREFACE[:end]:
                raise ViolationError(Code.PROTOCOL_ERROR, "bad preface")
            if end < len(PREFACE):
                rest += data
                return
            self._preface_due = False
            position = len(PREFACE)
        self._needed = HEAD_BYTES
        unpack = HEAD.unpack_from
        while end - position >= HEAD_BYTES:
            length_high, length_low, kind, flags, stream_id = unpack(data, position)
            length = length_high << 8 | length_low
            if length > FRAME_MAX:
                raise ViolationError(Code.FRAME_SIZE_ERROR, "frame too large")
            start = position + HEAD_BYTES
            after = start + length
            if after > end:
                self._needed = HEAD_BYTES + length
                break
            position = after
            yield kind, flags, stream_id & STREAM_ID_MAX, data[start:after]
        if position < end:
            rest += data[position:]

    @property
    def held(self) -> int:
        """Return how many bytes wait for the rest of their frame."""
        return len(self._rest)
