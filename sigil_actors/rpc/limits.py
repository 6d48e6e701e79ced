"""What one HTTP/2 connection lets its peer do, as numbers, each with its reason."""

from typing import Final

import attrs

from sigil_actors.rpc.frames import WINDOW_DEFAULT

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB


@attrs.frozen(kw_only=True)
class Limits:
    """The bounds of one connection.

    What it holds for a peer is at most `unsent_max`, one frame, one header block and, where the
    application doesn't read, `streams_max` times `stream_window`.

    Where another implementation has a like bound it is named: h2 is Python's library, nghttp2 the
    one in C, Go is `golang.org/x/net/http2` and grpc-go.
    """

    stream_window: int = 1 * _MIB
    """Bytes of a stream that wait unread before its sender must stop. The protocol's 64 KiB would
    halve the speed of a bulk stream; Go's server has 1 MiB too. At least 65,535."""
    connection_window: int = 16 * _MIB
    """Bytes in flight on the whole connection. Given back on arrival, not on reading: else one
    stream that nobody reads would stop all the others. At least 65,535."""
    streams_max: int = 256
    """Streams that the peer may have open at a time. Go has 250, nghttp2 100."""
    header_block_max: int = 16 * _KIB
    """Compressed bytes of one header block, so that decoding one stays below 10 ms. One frame."""
    header_list_max: int = 16 * _KIB
    """The same, decoded, as RFC 7541 counts it: 32 bytes a field besides its text. gRPC's
    implementations have 8 to 16 KiB."""
    continuations_max: int = 8
    """Frames after HEADERS in one block, an empty one costs nothing to send (CVE-2024-27316 and its
    siblings). h2 has 64, nghttp2 8."""
    control_burst: int = 1000
    """Frames that ask for work and carry none (PING, SETTINGS, WINDOW_UPDATE, PRIORITY, RST_STREAM,
    empty DATA, unknown ones) since we last sent something useful; nghttp2 queues 1,000 answers."""
    control_rate: float = 500.0
    """Of them a second, beyond the burst. An honest peer that only receives sends a handful."""
    reset_burst: int = 512
    """Streams that the peer opened and reset, or that had to be refused, beyond those that were
    answered (rapid reset, CVE-2023-44487). Twice `streams_max`, as Go and nghttp2 (1,000) do."""
    reset_rate: float = 50.0
    """Of them a second, beyond the burst: callers do cancel. nghttp2 has 33."""
    unsent_max: int = 4 * _MIB
    """Bytes waiting for a peer that doesn't read while it makes us answer."""
    high_water: int = 128 * _KIB
    """Above it DATA waits in its stream instead of in the output: late enough that a write is never
    short of bytes, early enough that a new small call is not behind a megabyte of a bulk one."""
    table_size: int = 0
    """HPACK's dynamic table that we offer. None: then a block means the same whenever it comes, can
    be cached by its bytes, and no peer can make us keep a table."""
    cached_blocks_max: int = 256
    """Decoded header blocks that are kept. A peer's calls repeat a handful."""

    def __attrs_post_init__(self) -> None:
        for name in ("stream_window", "connection_window"):
            if getattr(self, name) < WINDOW_DEFAULT:
                # A peer may send so much before it has read our first frame.
                raise ValueError(f"{name} is below {WINDOW_DEFAULT}")
