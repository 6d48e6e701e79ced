"""Hostile bytes through the connection and gRPC's layer on it: valid sessions, mutated, and noise.

Nothing but the errors that are meant to be may come out, and what the peer makes us hold and send
is bounded, for each input.
"""

from collections import Counter
from random import Random

from sigil_actors.rpc import frames
from sigil_actors.rpc.call_headers import read_request, read_response, read_trailers, trailers_block
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    HeadersReceived,
    StreamReset,
    TrailersReceived,
)
from sigil_actors.rpc.frames import FRAME_MAX, HEAD_BYTES, frame
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO, encode, header
from sigil_actors.rpc.messages import MessageStream, pack
from sigil_actors.rpc.status import RpcError, StatusCode, status_of_reset
from tests.rpc.mutation import mutated
from tests.rpc.valid_peer import REQUEST, RESPONSE, Script, script

Tally = Counter[str]

OUTPUT_FACTOR = 4
OUTPUT_FREE = 2000
"""Bytes that we may send for each that came, and besides: a PING of 17 is answered by one, a block
of 10 by a reset of 13, and at the end there is a GOAWAY."""

_NOISE_SHARE = 0.02
_IDS_KEPT = 1024


def survive(random: Random, tally: Tally) -> None:
    """Give one hostile input to a fresh connection."""
    given = script(random, to_server=random.random() < 0.5)
    if random.random() < 0.5:
        given = calls(random, to_server=given.to_server)
    data = mutated(random, given.data)
    if random.random() < _NOISE_SHARE:
        data = random.randbytes(random.choice((10, 100, 1000)))
    _Victim(random, given, tally).take(data)


def calls(random: Random, *, to_server: bool) -> Script:
    """Return a session of a few gRPC calls."""
    parts = [frames.PREFACE] if to_server else []
    parts += [frames.settings([]), frames.SETTINGS_ACK]
    for stream_id in (1, 3, 5):
        block = TABLE_SIZE_ZERO if stream_id == 1 else b""
        block += encode(REQUEST if to_server else RESPONSE)
        block += header(b"grpc-timeout", b"5S") + header(b"x-bin", b"AAEC")
        parts.append(frames.headers(stream_id, block, end=False, frame_max=FRAME_MAX))
        for _ in range(random.randint(0, 4)):
            message = pack(bytes(random.choice((0, 3, 500))))
            parts.append(frame(frames.DATA, 0, stream_id, message))
        if to_server:
            parts.append(frame(frames.DATA, frames.END_STREAM, stream_id))
        else:
            code = random.choice((StatusCode.OK, StatusCode.NOT_FOUND))
            block = trailers_block(code, "no % way")
            parts.append(frames.headers(stream_id, block, end=True, frame_max=FRAME_MAX))
    return Script(to_server=to_server, data=b"".join(parts), requests=0 if to_server else 3)


class _Victim:
    """A connection, and what a channel or a server does with its events."""

    def __init__(self, random: Random, given: Script, tally: Tally) -> None:
        self.random = random
        self.tally = tally
        self.client = not given.to_server
        self.connection = Connection(client=self.client, stream_factory=MessageStream)
        self.connection.data_to_send()
        for _ in range(given.requests):
            self.connection.request(encode(REQUEST), end=True)
        self.streams_max = self.connection.limits.streams_max + given.requests
        self.ended: set[int] = set()

    def take(self, data: bytes) -> None:
        connection = self.connection
        position = 0
        now = 0.0
        while position < len(data):
            size = self.random.choice((1, 10, 100, 5000, 1 << 20))
            now += 1e-4
            self.see(connection.receive(data[position : position + size], now))
            position += size
            sent = len(connection.data_to_send())
            assert sent <= OUTPUT_FACTOR * len(data) + OUTPUT_FREE, f"{sent} for {len(data)}"
            self.check_bounds()
        self.see(connection.eof())
        assert not connection.streams, "a stream outlived its connection"
        assert not connection.receive(data), "a closed connection has events"

    def check_bounds(self) -> None:
        connection = self.connection
        assert connection._frames.held <= FRAME_MAX + HEAD_BYTES
        assert len(connection.streams) <= self.streams_max
        assert len(connection._ids._reset) <= _IDS_KEPT
        assert len(connection._blocks._cache) <= connection.limits.cached_blocks_max
        assert connection.unsent == 0
        for stream in connection.streams.values():
            assert stream.receive_window >= 0

    def see(self, events: list[Event[MessageStream]]) -> None:
        for event in events:
            self.tally[type(event).__name__] += 1
            match event:
                case HeadersReceived() | DataReceived() | TrailersReceived():
                    assert event.stream.id not in self.ended, f"{event} after its end"
                    try:
                        self.see_content(event)
                    except RpcError as error:
                        self.tally[f"RpcError {error.code().name}"] += 1
                        self.connection.reset(event.stream)
                case StreamReset(stream, code, by_peer):
                    assert stream.sealed
                    status_of_reset(code, by_peer=by_peer)
                    self.ended.add(stream.id)
                case ConnectionClosed(_, text, _):
                    self.tally[f"closed: {text}"] += 1
                    assert self.connection.closed
                case _:
                    pass

    def see_content(
        self,
        event: HeadersReceived[MessageStream]
        | DataReceived[MessageStream]
        | TrailersReceived[MessageStream],
    ) -> None:
        match event:
            case HeadersReceived(stream, block, end) if self.client:
                self.note_end(stream, end=end)
                read_response(block)
                if end:
                    read_trailers(block)
            case HeadersReceived(stream, block, end):
                self.note_end(stream, end=end)
                read_request(block)
            case TrailersReceived(stream, block):
                self.note_end(stream, end=True)
                read_trailers(block)
            case DataReceived(stream, data, flow_length, end):
                self.note_end(stream, end=end)
                stream.feed(data)
                stream.messages.clear()
                self.connection.consumed(stream, flow_length)

    def note_end(self, stream: MessageStream, *, end: bool) -> None:
        if end:
            self.ended.add(stream.id)
