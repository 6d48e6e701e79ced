"""What a hostile peer of HTTP/2 tries, as data: the bytes, and how it has to end.

Each goes on for ever if it is let, or is one large blow. `run` plays it against a connection and
tells what it cost us.
"""

import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, repeat

import attrs

from sigil_actors.rpc import frames
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import ConnectionClosed, DataReceived, Event, HeadersReceived
from sigil_actors.rpc.frames import FRAME_MAX, frame
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO, encode, encode_integer, header
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.messages import MessageStream
from sigil_actors.rpc.status import RpcError
from tests.rpc.valid_peer import REQUEST, RESPONSE, TRAILERS, Pairs

_KIB = 1024
_MIB = 1024 * _KIB
_STEP_S = 1e-4
"""Between two chunks: ten thousand a second."""

BYTES_MAX = 256 * _KIB
"""Where an attack is stopped that the connection lets go on."""

FIRST_BLOCK = TABLE_SIZE_ZERO + encode(REQUEST)
BLOCK = encode(REQUEST)


@attrs.frozen(kw_only=True)
class Attack:
    """One attack and the bounds that it must run into."""

    name: str
    chunks: Callable[[], Iterator[bytes]]
    ends: str = ""
    """What the connection is closed with. Empty: it goes on, since it costs the peer more than
    us."""
    taken_max: int = 2 * BYTES_MAX
    """Bytes that the connection may have taken until then."""
    stopped_at: int = BYTES_MAX
    """Bytes after which it is enough."""
    memory_max: int = 512 * _KIB
    """Bytes that we may have held at a time."""
    client: bool = False
    """Whether the victim is a client, which has made one request."""
    answer_bytes: int = 0
    """With how much the victim answers each request at once; 0 if it doesn't."""
    acknowledges: bool = True
    """Whether the peer has acknowledged our settings, and with them that there is no table."""
    step_s: float = _STEP_S
    reads_nothing: bool = False
    """The peer takes nothing of what we send."""
    limits: Limits | None = None
    consumes: bool = True
    """Whether what arrives is read."""


@attrs.frozen
class Damage:
    """What an attack did."""

    ends: str
    taken: int
    sent: int
    memory: int
    """The most bytes that we held at a time, besides what one chunk brought."""
    worst_call_s: float
    """CPU time of the most expensive call."""
    cpu_s: float


def request(number: int, block: bytes | None = None, *, end: bool = False) -> bytes:
    """Return the HEADERS of the nth request, from 0 on."""
    if block is None:
        block = BLOCK if number else FIRST_BLOCK
    return frames.headers(2 * number + 1, block, end=end, frame_max=FRAME_MAX)


def with_fields(extra: Pairs) -> bytes:
    """Return the block of a request with more fields."""
    return TABLE_SIZE_ZERO + BLOCK + encode(extra)


def after_request(*more: Iterator[bytes]) -> Iterator[bytes]:
    """Open stream 1, then go on."""
    yield request(0)
    for chunks in more:
        yield from chunks


def _rapid_reset() -> Iterator[bytes]:
    for number in count():
        yield request(number) + frames.rst_stream(2 * number + 1, 8)


def _reset_after_answer() -> Iterator[bytes]:
    """Each answer that we give must not buy more than one reset."""
    for number in count():
        yield request(3 * number) + request(3 * number + 1) + request(3 * number + 2)
        for offset in range(3):
            yield frames.rst_stream(2 * (3 * number + offset) + 1, 8)


def _resets_between_answers() -> Iterator[bytes]:
    """One request that is answered, and three that are reset at once, over and over."""
    for number in count(0, 4):
        yield request(number, end=True)
        yield b"".join(
            request(other) + frames.rst_stream(2 * other + 1, 8)
            for other in range(number + 1, number + 4)
        )


def _malformed() -> Iterator[bytes]:
    for number in count():
        yield request(number, (b"" if number else TABLE_SIZE_ZERO) + encode([(b"x", b"y")]))


def _too_many_streams() -> Iterator[bytes]:
    for number in count():
        yield request(number)


def _window_overruns() -> Iterator[bytes]:
    """On one stream after the other, so that only streams end by it."""
    for number in count():
        yield request(number)
        yield from repeat(frame(frames.DATA, 0, 2 * number + 1, bytes(FRAME_MAX)), 65)


def _wrong_lengths() -> Iterator[bytes]:
    block = BLOCK + header(b"content-length", b"3")
    for number in count():
        data = frame(frames.DATA, 1, 2 * number + 1, b"four")
        yield request(number, block if number else TABLE_SIZE_ZERO + block) + data


def _cache_filler() -> Iterator[bytes]:
    for number in count():
        block = BLOCK + header(b"x", b"%d" % number + bytes(300).replace(b"\0", b"v"))
        first = b"" if number else TABLE_SIZE_ZERO
        yield request(number, first + block, end=True)


def _slow_headers() -> Iterator[bytes]:
    """As much of Huffman's code as one block may have: the slowest to decode."""
    for number in count():
        first = b"" if number else TABLE_SIZE_ZERO
        text = b"%08d" % number
        field = b"\0\x01x" + encode_integer(len(text), 7, 0) + text
        slow = b"\0\x01y" + encode_integer(9500, 7, 0x80) + bytes(9500)
        yield request(number, first + BLOCK + field + slow, end=True)


def _large_headers() -> Iterator[bytes]:
    for number in count():
        first = b"" if number else TABLE_SIZE_ZERO
        value = b"%012d" % number + b"v" * 14_000
        yield request(number, first + BLOCK + header(b"x", value), end=True)


def _window_toggles() -> Iterator[bytes]:
    for number in range(256):
        yield request(number)
    zero = frames.settings([(frames.INITIAL_WINDOW_SIZE, 0)])
    most = frames.settings([(frames.INITIAL_WINDOW_SIZE, frames.WINDOW_MAX)])
    yield from repeat(zero + most)


def _many_toggles_a_frame() -> Iterator[bytes]:
    for number in range(256):
        yield request(number)
    pair = [(frames.INITIAL_WINDOW_SIZE, 0), (frames.INITIAL_WINDOW_SIZE, frames.WINDOW_MAX)]
    yield from repeat(frames.settings(pair * 32))


def _one_byte_windows() -> Iterator[bytes]:
    yield frames.settings([(frames.INITIAL_WINDOW_SIZE, 0)])
    yield request(0, end=True)
    yield from repeat(frames.window_update(1, 1), 100_000)


def _tiny_fragments() -> Iterator[bytes]:
    """One message of 3 MiB, a byte a frame."""
    yield request(0)
    yield frame(frames.DATA, 0, 1, b"\0\0\x30\0\0")
    yield from repeat(frame(frames.DATA, 0, 1, b"x") * 50)


def _byte_by_byte() -> Iterator[bytes]:
    data = request(0) + frame(frames.DATA, 0, 1, bytes(FRAME_MAX)) * 4
    for at in range(len(data)):
        yield data[at : at + 1]


def _empty_continuations() -> Iterator[bytes]:
    yield frame(frames.HEADERS, 0, 1, FIRST_BLOCK)
    yield from repeat(frame(frames.CONTINUATION, 0, 1))


def _long_continuations() -> Iterator[bytes]:
    yield frame(frames.HEADERS, 0, 1, FIRST_BLOCK)
    yield from repeat(frame(frames.CONTINUATION, 0, 1, b"\0\1a\1b" * 1000))


def _pings_a_second(pings: int) -> Iterator[bytes]:
    return repeat(frames.ping(b"12345678") * pings)


def _once(data: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter((data,))


def _many(data: bytes, *, at_once: int = 50) -> Callable[[], Iterator[bytes]]:
    return lambda: repeat(data * at_once)


def _on_stream(data: bytes, *, at_once: int = 50) -> Callable[[], Iterator[bytes]]:
    return lambda: after_request(repeat(data * at_once))


_CONTROL = "control frame flood"
_RESETS = "stream reset flood"
_HUFFMAN = b"\0\x01a" + encode_integer(16_000, 7, 0x80) + bytes(16_000)
"""Zeros have the shortest code: five bits for each character "0"."""
_ENTRY = b"\x40\x01x" + encode_integer(3900, 7, 0) + b"v" * 3900
"""Goes into the dynamic table, and nearly fills it."""
_FIRST_RESPONSE = TABLE_SIZE_ZERO + encode(RESPONSE)
_INTERIM = frames.headers(
    1, TABLE_SIZE_ZERO + encode([(b":status", b"103")]), end=False, frame_max=FRAME_MAX
)

ATTACKS: tuple[Attack, ...] = (
    Attack(name="PING", chunks=_many(frames.ping(b"12345678")), ends=_CONTROL, taken_max=20_000),
    Attack(
        name="PING answers nobody asked for",
        chunks=_many(frames.ping(b"12345678", ack=True)),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="SETTINGS",
        chunks=_many(frames.settings([(frames.INITIAL_WINDOW_SIZE, 70_000)])),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="SETTINGS with 2,700 entries",
        chunks=_once(frames.settings([(99, 1)] * 2700)),
        ends="too many settings",
    ),
    Attack(
        name="SETTINGS acknowledgements",
        chunks=_many(frames.SETTINGS_ACK),
        ends=_CONTROL,
        taken_max=10_000,
    ),
    Attack(
        name="windows up and down on 256 streams", chunks=_window_toggles, ends=_CONTROL
    ),
    Attack(
        name="windows up and down 32 times a frame",
        chunks=_many_toggles_a_frame,
        ends=_CONTROL,
        stopped_at=_MIB,
    ),
    Attack(
        name="a window that overflows by settings",
        chunks=lambda: after_request(
            iter((
                frames.window_update(1, 1),
                frames.settings([(frames.INITIAL_WINDOW_SIZE, frames.WINDOW_MAX)]),
            ))
        ),
        ends="stream window overflow",
    ),
    Attack(
        name="a connection window that overflows",
        chunks=_many(frames.window_update(0, frames.WINDOW_MAX), at_once=1),
        ends="connection window overflow",
        taken_max=100,
    ),
    Attack(
        name="WINDOW_UPDATE of the connection",
        chunks=_many(frames.window_update(0, 1)),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="WINDOW_UPDATE of a stream",
        chunks=_on_stream(frames.window_update(1, 1)),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(name="windows of one byte", chunks=_one_byte_windows, answer_bytes=100_000),
    Attack(
        name="PRIORITY",
        chunks=lambda: (
            frame(frames.PRIORITY, 0, 1 + 2 * number, b"\0\0\0\0\0") for number in count()
        ),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="unknown frames",
        chunks=_many(frame(99, 0, 0, bytes(1000)), at_once=1),
        ends=_CONTROL,
        stopped_at=2 * _MIB,
        taken_max=2 * _MIB,
    ),
    Attack(
        name="GOAWAY",
        chunks=_many(frames.goaway(frames.STREAM_ID_MAX, 0, bytes(500))),
        ends=_CONTROL,
        stopped_at=2 * _MIB,
        taken_max=2 * _MIB,
    ),
    Attack(name="rapid reset", chunks=_rapid_reset, ends=_RESETS, taken_max=128 * _KIB),
    Attack(
        name="rapid reset of what is answered at once",
        chunks=_rapid_reset,
        ends=_RESETS,
        answer_bytes=1000,
    ),
    Attack(
        name="resets after answers",
        chunks=_reset_after_answer,
        answer_bytes=1000,
    ),
    Attack(
        name="resets between answers",
        chunks=_resets_between_answers,
        ends=_RESETS,
        answer_bytes=10,
    ),
    Attack(
        name="HEADERS on a stream that was answered",
        chunks=_on_stream(frames.headers(1, BLOCK, end=False, frame_max=FRAME_MAX)),
        answer_bytes=10,
        ends=_CONTROL,
    ),
    Attack(
        name="RST_STREAM of a stream that is over",
        chunks=_on_stream(frames.rst_stream(1, 8)),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="more streams than allowed", chunks=_too_many_streams, ends=_RESETS, taken_max=_MIB
    ),
    Attack(name="malformed requests", chunks=_malformed, ends=_RESETS, taken_max=_MIB),
    Attack(name="wrong content-length", chunks=_wrong_lengths, ends=_RESETS, taken_max=_MIB),
    Attack(
        name="HEADERS split into empty frames",
        chunks=_empty_continuations,
        ends="header block too long",
        taken_max=1000,
    ),
    Attack(
        name="HEADERS that never end",
        chunks=_long_continuations,
        ends="header block too long",
        taken_max=64 * _KIB,
    ),
    Attack(
        name="empty DATA",
        chunks=_on_stream(frame(frames.DATA, 0, 1)),
        ends=_CONTROL,
        taken_max=20_000,
    ),
    Attack(
        name="DATA of padding only",
        chunks=_on_stream(frame(frames.DATA, frames.PADDED, 1, b"\xff" + bytes(255))),
        ends=_CONTROL,
        taken_max=512 * _KIB,
    ),
    Attack(
        name="DATA of one byte, one message",
        chunks=_tiny_fragments,
        ends=_CONTROL,
        taken_max=_MIB,
    ),
    Attack(
        name="DATA on a stream that was answered",
        chunks=lambda: after_request(repeat(frame(frames.DATA, 0, 1, bytes(10)) * 50)),
        answer_bytes=1000,
        ends=_CONTROL,
        taken_max=64 * _KIB,
    ),
    Attack(
        name="DATA on a stream that is closed",
        chunks=lambda: iter((request(0, end=True), frame(frames.DATA, 0, 1, b"x"))),
        answer_bytes=1000,
        ends="DATA on a closed stream",
    ),
    Attack(
        name="DATA beyond the window, on stream after stream",
        chunks=_window_overruns,
        stopped_at=24 * _MIB,
        taken_max=25 * _MIB,
        consumes=False,
    ),
    Attack(
        name="a header integer of 16 KB",
        chunks=_once(request(0, b"\x0f" + b"\xff" * 16_000 + b"\0")),
        ends="HPACK: HPACKDecodingError",
    ),
    Attack(
        name="a Huffman string of 16 KB",
        chunks=_once(request(0, FIRST_BLOCK + _HUFFMAN)),
        ends="header list too large",
    ),
    Attack(
        name="16,000 references to the static table",
        chunks=_once(request(0, b"\x83" * 16_000)),
        ends="header list too large",
    ),
    Attack(
        name="16,000 empty fields",
        chunks=_once(request(0, b"\0\0\0" * 5000)),
        ends="header list too large",
    ),
    Attack(
        name="a header table of 1 GiB",
        chunks=_once(request(0, b"\x3f\xe1\xff\xff\xff\x03")),
        ends="HPACK: InvalidTableSizeError",
    ),
    Attack(
        name="a reference that multiplies",
        chunks=_once(request(0, _ENTRY + b"\xbe" * 9000)),
        acknowledges=False,
        ends="header list too large",
    ),
    Attack(name="blocks that fill the cache", chunks=_cache_filler, answer_bytes=1000),
    Attack(name="the largest headers, over and over", chunks=_large_headers, answer_bytes=1000),
    Attack(name="the slowest headers", chunks=_slow_headers, answer_bytes=1000),
    Attack(
        name="interim responses without end",
        chunks=_many(_INTERIM),
        client=True,
        ends=_CONTROL,
        taken_max=64 * _KIB,
    ),
    Attack(
        name="PUSH_PROMISE",
        chunks=_once(frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2" + BLOCK)),
        client=True,
        ends="PUSH_PROMISE",
    ),
    Attack(
        name="a response to nothing",
        chunks=_once(frames.headers(77, _FIRST_RESPONSE, end=True, frame_max=FRAME_MAX)),
        client=True,
        ends="HEADERS on an idle stream",
    ),
    Attack(
        name="trailers twice",
        chunks=_once(
            frames.headers(1, _FIRST_RESPONSE, end=False, frame_max=FRAME_MAX)
            + frames.headers(1, encode(TRAILERS), end=True, frame_max=FRAME_MAX) * 2
        ),
        client=True,
        ends="HEADERS on a closed stream",
    ),
    Attack(name="a peer that sends single bytes", chunks=_byte_by_byte),
    Attack(
        name="a peer that never reads",
        chunks=lambda: _pings_a_second(400),
        step_s=1.0,
        reads_nothing=True,
        ends="peer does not read",
        limits=Limits(unsent_max=64 * _KIB),
    ),
    Attack(
        name="a frame of 16 MB",
        chunks=_once(frames.head(frames.FRAME_MAX_LIMIT, frames.DATA, 0, 1)),
        ends="frame too large",
        taken_max=10,
    ),
    Attack(name="HTTP/1", chunks=_once(b"GET / HTTP/1.1\r\n\r\n"), ends="frame too large"),
)  # fmt: skip


class _Victim:
    """A connection, and an application that reads and answers."""

    def __init__(self, attack: Attack) -> None:
        self.attack = attack
        self.connection = Connection(
            client=attack.client, stream_factory=MessageStream, limits=attack.limits
        )
        self.ends = ""
        self.sent = 0
        hello = frames.settings([]) + frames.window_update(0, 1 << 30)
        if attack.acknowledges:
            hello += frames.SETTINGS_ACK
        if attack.client:
            self.connection.request(FIRST_BLOCK, end=True)
        else:
            hello = frames.PREFACE + hello
        self.connection.data_to_send()
        self.connection.receive(hello, 0.0)
        self.connection.data_to_send()

    def take(self, chunk: bytes, now: float) -> None:
        for event in self.connection.receive(chunk, now):
            self.see(event)
        if not self.attack.reads_nothing:
            self.sent += len(self.connection.data_to_send())

    def see(self, event: Event[MessageStream]) -> None:
        connection = self.connection
        match event:
            case HeadersReceived(stream, _, _) if self.attack.answer_bytes and not stream.sealed:
                connection.send_headers(stream, encode(RESPONSE))
                connection.send_data(stream, bytes(self.attack.answer_bytes))
                connection.send_headers(stream, encode(TRAILERS), end=True)
            case DataReceived(stream, data, flow_length, _) if self.attack.consumes:
                try:
                    stream.feed(data)
                except RpcError:
                    connection.reset(stream)
                stream.messages.clear()
                connection.consumed(stream, flow_length)
            case ConnectionClosed(_, text, _):
                self.ends = text
            case _:
                pass


def run(attack: Attack) -> Damage:
    """Play it until it is stopped, runs out, or it is enough."""
    victim = _Victim(attack)
    taken = 0
    now = cpu_s = worst_s = 0.0
    tracemalloc.start()
    try:
        for chunk in attack.chunks():
            began = time.process_time()
            victim.take(chunk, now)
            took_s = time.process_time() - began
            cpu_s += took_s
            worst_s = max(worst_s, took_s)
            taken += len(chunk)
            now += attack.step_s
            if victim.connection.closed or taken >= attack.stopped_at:
                break
        _, memory = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return Damage(victim.ends, taken, victim.sent, memory, worst_s, cpu_s)
