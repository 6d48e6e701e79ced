"""Bytes that a peer could send that keeps to the protocol, whatever it does with its freedom.

Frames in any legal order, padded, split into CONTINUATIONs, between unknown ones; from a real HPACK
encoder, with its table as long as the receiver allows it. What the fuzzers start from.
"""

from collections.abc import Callable
from itertools import pairwise
from random import Random

import attrs
import hpack

from sigil_actors.rpc import frames
from sigil_actors.rpc.frames import frame

Pairs = list[tuple[bytes, bytes]]

REQUEST: Pairs = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/a/b"),
    (b":authority", b"x"),
    (b"content-type", b"application/grpc"),
    (b"te", b"trailers"),
]
RESPONSE: Pairs = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: Pairs = [(b"grpc-status", b"0")]
CLIENT_STREAMS_MAX = 12

_REPEATED: Pairs = [(b"x-a", b"1"), (b"x-a", b"2"), (b"x-c", b"3"), (b"x-d", b"4")]
_NAMES = (b"x-a", b"x-b-bin", b"grpc-timeout", b"x-c")
_LENGTHS = (1, 126, 127, 128, 300, 3000)
_SETTING_VALUES = {
    frames.HEADER_TABLE_SIZE: (0, 4096, 100),
    frames.MAX_CONCURRENT_STREAMS: (1000, 5000),
    frames.INITIAL_WINDOW_SIZE: (0, 1, 65_535, 1 << 20),
    frames.MAX_FRAME_SIZE: (16_384, 20_000, 16_777_215),
    frames.MAX_HEADER_LIST_SIZE: (8192, 100_000),
}


@attrs.frozen
class Script:
    """What a peer sends."""

    to_server: bool
    data: bytes
    requests: int
    """That the receiver, where it is a client, has made before: streams 1, 3, 5 …"""


def script(random: Random, *, to_server: bool) -> Script:
    """Return a random one."""
    peer = _Peer(random, to_server=to_server)
    peer.play()
    sent = peer.sent
    if random.random() < 0.2:
        start = 1 if to_server else 0  # the preface is no frame
        sent = sent[:start] + [_with_reserved_bit(random, part) for part in sent[start:]]
    return Script(to_server=to_server, data=b"".join(sent), requests=peer.requests)


def _with_reserved_bit(random: Random, frames_sent: bytes) -> bytes:
    """Set the bit of the first frame that everyone has to ignore, now and then."""
    if random.random() < 0.5:
        return frames_sent
    changed = bytearray(frames_sent)
    changed[frames.HEAD_BYTES - 4] |= 0x80
    return bytes(changed)


def settings_frame(random: Random) -> bytes:
    """Return SETTINGS with up to three values, each in its range."""
    keys = random.choices(sorted(_SETTING_VALUES), k=random.randint(0, 3))
    return frames.settings([(key, random.choice(_SETTING_VALUES[key])) for key in keys])


class _Peer:
    """Plays one side, and knows which of its streams takes what."""

    def __init__(self, random: Random, *, to_server: bool) -> None:
        self.random = random
        self.to_server = to_server
        self.encoder = hpack.Encoder()
        self.sent: list[bytes] = [frames.PREFACE] if to_server else []
        self.requests = 0 if to_server else random.randint(1, CLIENT_STREAMS_MAX)
        self.next_id = 1
        # A response may begin on these; DATA and trailers may come on those that are open.
        self.idle = [2 * number + 1 for number in range(self.requests)]
        self.open: list[int] = []
        self.half: list[int] = []  # requests that are whole and not answered
        self.acknowledged = False
        self.plays_with_headers = False
        self.is_over = False

    def play(self) -> None:
        moves: tuple[tuple[int, Callable[[], None]], ...]
        self.sent.append(settings_frame(self.random))
        moves = (
            (25, self.begin),
            (30, self.send_data),
            (7, self.end_with_trailers),
            (6, self.reset),
            (6, self.ping),
            (6, self.change_settings),
            (3, self.acknowledge),
            (7, self.widen),
            (3, self.prioritize),
            (4, self.say_unknown),
            (6, self.go_away),
        )
        if self.random.random() < 0.3:
            self.plays_with_headers = True
            moves = (
                (40, self.begin),
                (40, self.end_with_trailers),
                (2, self.acknowledge),
            )
        weights = [weight for weight, _ in moves]
        for _ in range(self.random.randint(1, 40 if self.plays_with_headers else 14)):
            (_, move) = self.random.choices(moves, weights)[0]
            move()
            if self.is_over:
                break

    def begin(self) -> None:
        if self.to_server:
            stream_id = self.next_id
            self.next_id += self.random.choice((2, 2, 4))
            end = self.random.random() < 0.3
            self.put_headers(stream_id, self.fields(REQUEST), end=end)
            (self.half if end else self.open).append(stream_id)
        elif self.idle:
            stream_id = self.random.choice(self.idle)
            if self.random.random() < 0.15:
                self.put_headers(stream_id, [(b":status", b"103")], end=False)
            end = self.random.random() < 0.2
            self.put_headers(stream_id, self.fields(RESPONSE), end=end)
            self.idle.remove(stream_id)
            if not end:
                self.open.append(stream_id)

    def send_data(self) -> None:
        if not self.open:
            return
        stream_id = self.random.choice(self.open)
        payload = self.random.randbytes(self.random.choice((0, 1, 5, 100, 1000, 16_000)))
        end = self.random.random() < 0.25
        flags = frames.END_STREAM if end else 0
        if self.random.random() < 0.2:
            padding = self.random.randint(0, 200)
            payload = bytes((padding,)) + payload + bytes(padding)
            flags |= frames.PADDED
        self.sent.append(frame(frames.DATA, flags, stream_id, payload))
        if end:
            self.finish(stream_id)

    def end_with_trailers(self) -> None:
        if self.open:
            stream_id = self.random.choice(self.open)
            self.put_headers(stream_id, self.fields(TRAILERS), end=True)
            self.finish(stream_id)

    def finish(self, stream_id: int) -> None:
        self.open.remove(stream_id)
        if self.to_server:
            self.half.append(stream_id)

    def reset(self) -> None:
        if live := self.open + self.half + self.idle:
            stream_id = self.random.choice(live)
            code = self.random.choice((0, 2, 7, 8, 11, 99))
            self.sent.append(frames.rst_stream(stream_id, code))
            for streams in (self.open, self.half, self.idle):
                if stream_id in streams:
                    streams.remove(stream_id)

    def ping(self) -> None:
        ack = self.random.random() < 0.3
        self.sent.append(frames.ping(self.random.randbytes(8), ack=ack))

    def change_settings(self) -> None:
        self.sent.append(settings_frame(self.random))

    def acknowledge(self) -> None:
        if not self.acknowledged:
            self.acknowledged = True
            self.sent.append(frames.SETTINGS_ACK)
            self.encoder.header_table_size = 0

    def widen(self) -> None:
        stream_id = self.random.choice([0, *self.open, *self.half, *self.idle])
        increment = self.random.choice((1, 1000, 1 << 20))
        self.sent.append(frames.window_update(stream_id, increment))

    def prioritize(self) -> None:
        payload = (0).to_bytes(4, "big") + b"\x10"
        stream_id = self.random.choice((1, 3, 5, 101, 201))
        self.sent.append(frame(frames.PRIORITY, 0, stream_id, payload))

    def say_unknown(self) -> None:
        kind = self.random.choice((11, 77, 200))
        payload = self.random.randbytes(self.random.randint(0, 50))
        flags = self.random.randint(0, 255)
        self.sent.append(frame(kind, flags, self.random.choice((0, 1, 7)), payload))

    def go_away(self) -> None:
        self.sent.append(frames.goaway(frames.STREAM_ID_MAX, self.random.choice((0, 2)), b"bye"))
        self.is_over = True

    def fields(self, base: Pairs) -> Pairs:
        if self.plays_with_headers:
            # The same few bytes mean another field whenever the table is another one.
            few = base if base is not TRAILERS else []
            return [*few, self.random.choice(_REPEATED)]
        fields = list(base)
        for _ in range(self.random.choice((0, 0, 1, 3))):
            visible = bytes(self.random.choices(range(33, 127), k=20))
            length = self.random.choice(_LENGTHS)
            value = self.random.choice((b"1", b"", b"v" * length, visible))
            fields.append((self.random.choice(_NAMES), value))
        return fields

    def put_headers(self, stream_id: int, fields: Pairs, *, end: bool) -> None:
        """Send a block: perhaps with padding, with a priority, and in several frames."""
        random = self.random
        if self.plays_with_headers and not self.acknowledged and random.random() < 0.5:
            self.encoder.header_table_size = random.choice((0, 4096))
        block = self.encoder.encode(fields, huffman=random.random() < 0.5)
        parts = [block]
        if random.random() < 0.3 and len(block) > 3:
            cuts = random.sample(range(1, len(block)), min(len(block) - 1, random.randint(1, 4)))
            starts = [0, *sorted(cuts), len(block)]
            parts = [block[a:b] for a, b in pairwise(starts)]
        flags = frames.END_STREAM if end else 0
        before = after = b""
        if random.random() < 0.2:
            padding = random.randint(0, 30)
            before, after = bytes((padding,)), bytes(padding)
            flags |= frames.PADDED
        if random.random() < 0.2:
            depends_on = random.choice((0, stream_id + 2)) | random.choice((0, 1 << 31))
            before += depends_on.to_bytes(4, "big") + bytes((random.randint(0, 255),))
            flags |= frames.PRIORITY_FLAG
        if len(parts) == 1:
            flags |= frames.END_HEADERS
        self.sent.append(frame(frames.HEADERS, flags, stream_id, before + parts[0] + after))
        for number, part in enumerate(parts[1:], start=2):
            last = frames.END_HEADERS if number == len(parts) else 0
            self.sent.append(frame(frames.CONTINUATION, last, stream_id, part))
