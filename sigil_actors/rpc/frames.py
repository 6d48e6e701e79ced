"""The bytes of HTTP/2 frames: constants, builders, and readers of the small fixed ones.

Pure functions, no state. The words and numbers are those of RFC 9113; the names of flags, settings
and codes too.
"""

import struct
from enum import IntEnum
from typing import Final

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9
# Plain numbers, since each frame is compared with them and an enum costs ten times as much.

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

HEADER_TABLE_SIZE: Final = 1
ENABLE_PUSH: Final = 2
MAX_CONCURRENT_STREAMS: Final = 3
INITIAL_WINDOW_SIZE: Final = 4
MAX_FRAME_SIZE: Final = 5
MAX_HEADER_LIST_SIZE: Final = 6

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client sends before its first frame."""

HEAD: Final = struct.Struct(">HBBBL")
"""A frame's first nine bytes: the length (as 16 and 8 bits), type, flags, stream."""

HEAD_BYTES: Final = HEAD.size
FRAME_MAX: Final = 16_384
"""What a peer may put into one frame: the smallest bound that the protocol allows, and plenty."""

FRAME_MAX_LIMIT: Final = 0xFF_FFFF
"""More than this a peer can't offer to take in one frame."""

WINDOW_DEFAULT: Final = 65_535
WINDOW_MAX: Final = 0x7FFF_FFFF
STREAM_ID_MAX: Final = 0x7FFF_FFFF
"""Also the mask that takes the reserved bit away."""

PING_BYTES: Final = 8
DEBUG_BYTES_MAX: Final = 512
"""Of GOAWAY's debug data, sent or taken: it is for people, and a sentence or two is enough."""

_SETTING = struct.Struct(">HL")
_GOAWAY = struct.Struct(">LL")
_U32_BYTES = 4


class Code(IntEnum):
    """Why a stream or a connection ended (RFC 9113, 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return any frame. That its parts fit together is the caller's business."""
    return head(len(payload), kind, flags, stream_id) + payload


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """Return a frame's first nine bytes."""
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings(pairs: list[tuple[int, int]]) -> bytes:
    """Return SETTINGS with these identifiers and values."""
    return frame(SETTINGS, 0, 0, b"".join([_SETTING.pack(key, value) for key, value in pairs]))


SETTINGS_ACK: Final = frame(SETTINGS, ACK, 0)


def window_update(stream_id: int, increment: int) -> bytes:
    """Return WINDOW_UPDATE; stream 0 is the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(_U32_BYTES, "big"))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return RST_STREAM."""
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(_U32_BYTES, "big"))


def ping(payload: bytes, *, ack: bool = False) -> bytes:
    """Return PING, or the answer to one. `payload` is eight bytes."""
    return frame(PING, ACK if ack else 0, 0, payload)


def goaway(last_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return GOAWAY; `last_id` is the newest of the peer's streams that is still served."""
    return frame(GOAWAY, 0, 0, _GOAWAY.pack(last_id, code) + debug[:DEBUG_BYTES_MAX])


def headers(stream_id: int, block: bytes, *, end: bool, frame_max: int) -> bytes:
    """Return a header block as HEADERS, and CONTINUATIONs where it exceeds the peer's frames."""
    flags = END_STREAM if end else 0
    if len(block) <= frame_max:
        length = len(block)
        return (
            HEAD.pack(length >> 8, length & 0xFF, HEADERS, flags | END_HEADERS, stream_id) + block
        )
    parts = [frame(HEADERS, flags, stream_id, block[:frame_max])]
    for start in range(frame_max, len(block), frame_max):
        last = start + frame_max >= len(block)
        part = block[start : start + frame_max]
        parts.append(frame(CONTINUATION, END_HEADERS if last else 0, stream_id, part))
    return b"".join(parts)


def read_u32(payload: bytes) -> int:
    """Return the first four bytes as a number."""
    return int.from_bytes(payload[:_U32_BYTES], "big")


def read_settings(payload: bytes) -> list[tuple[int, int]]:
    """Return the identifiers and values in a SETTINGS frame of a valid length."""
    return list(_SETTING.iter_unpack(payload))


SETTING_BYTES: Final = _SETTING.size
GOAWAY_BYTES_MIN: Final = _GOAWAY.size
U32_BYTES: Final = _U32_BYTES
