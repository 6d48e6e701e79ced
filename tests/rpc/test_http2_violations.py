"""Each rule that a peer can break: with what the connection or the stream ends (RFC 9113)."""

from collections.abc import Callable

import pytest

from sigil_actors.rpc import frames
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import ConnectionClosed, StreamReset
from sigil_actors.rpc.frames import FRAME_MAX, Code, frame
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO, encode
from sigil_actors.rpc.stream import Stream
from tests.rpc.valid_peer import REQUEST, RESPONSE, TRAILERS

FIRST = TABLE_SIZE_ZERO + encode(REQUEST)
BLOCK = encode(REQUEST)
SELF = (1).to_bytes(4, "big") + b"\0"
END, WHOLE, PADDED, PRIORITY = (
    frames.END_STREAM,
    frames.END_HEADERS,
    frames.PADDED,
    frames.PRIORITY_FLAG,
)


def server() -> Connection[Stream]:
    """Return a server with stream 1 open, 3 half closed, 5 answered and 7 reset by its client."""
    connection = Connection(client=False, stream_factory=Stream)
    hello = frames.PREFACE + frames.settings([]) + frames.SETTINGS_ACK
    hello += frame(frames.HEADERS, WHOLE, 1, FIRST) + frame(frames.HEADERS, WHOLE | END, 3, BLOCK)
    hello += frame(frames.HEADERS, WHOLE | END, 5, BLOCK) + frame(frames.HEADERS, WHOLE, 7, BLOCK)
    hello += frames.rst_stream(7, Code.CANCEL)
    connection.receive(hello)
    connection.send_headers(connection.streams[5], encode(RESPONSE + TRAILERS), end=True)
    connection.data_to_send()
    return connection


def client() -> Connection[Stream]:
    """Return a client that waits for the response on stream 1, and has reset 3."""
    connection = Connection(client=True, stream_factory=Stream)
    connection.request(encode(REQUEST), end=True)
    connection.reset(connection.request(encode(REQUEST)))
    connection.data_to_send()
    connection.receive(frames.settings([]) + frames.SETTINGS_ACK)
    connection.data_to_send()
    return connection


OF_A_CLIENT: tuple[tuple[str, bytes, Code], ...] = (
    ("DATA on stream 0", frame(0, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    ("DATA on an idle stream", frame(0, 0, 9, b"x"), Code.PROTOCOL_ERROR),
    ("DATA on a stream of ours", frame(0, 0, 2, b"x"), Code.PROTOCOL_ERROR),
    ("DATA on a closed stream", frame(0, 0, 5, b"x"), Code.STREAM_CLOSED),
    ("DATA without its pad length", frame(0, PADDED, 1), Code.FRAME_SIZE_ERROR),
    ("DATA padded too much", frame(0, PADDED, 1, b"\4abc"), Code.PROTOCOL_ERROR),
    ("HEADERS on stream 0", frame(1, WHOLE, 0, BLOCK), Code.PROTOCOL_ERROR),
    ("HEADERS on an even stream", frame(1, WHOLE, 2, BLOCK), Code.PROTOCOL_ERROR),
    ("HEADERS on a closed stream", frame(1, WHOLE, 5, BLOCK), Code.STREAM_CLOSED),
    ("HEADERS padded too much", frame(1, WHOLE | PADDED, 9, b"\1"), Code.PROTOCOL_ERROR),
    ("HEADERS without priority", frame(1, WHOLE | PRIORITY, 9, b"\0"), Code.FRAME_SIZE_ERROR),
    ("HEADERS on itself", frame(1, WHOLE | PRIORITY, 1, SELF), Code.PROTOCOL_ERROR),
    ("HEADERS that aren't HPACK", frame(1, WHOLE, 9, b"\xff"), Code.COMPRESSION_ERROR),
    ("a block interrupted", frame(1, 0, 9, BLOCK) + frames.ping(bytes(8)), Code.PROTOCOL_ERROR),
    ("a block and an unknown frame", frame(1, 0, 9, BLOCK) + frame(99, 0, 0), Code.PROTOCOL_ERROR),
    (
        "a block going on elsewhere",
        frame(1, 0, 9, BLOCK) + frame(9, WHOLE, 11, b""),
        Code.PROTOCOL_ERROR,
    ),
    ("CONTINUATION of nothing", frame(9, WHOLE, 1, BLOCK), Code.PROTOCOL_ERROR),
    ("PRIORITY on stream 0", frame(2, 0, 0, SELF), Code.PROTOCOL_ERROR),
    ("PRIORITY too short", frame(2, 0, 99, b"\0"), Code.FRAME_SIZE_ERROR),
    ("PRIORITY on itself", frame(2, 0, 5, (5).to_bytes(4, "big") + b"\0"), Code.PROTOCOL_ERROR),
    ("RST_STREAM on stream 0", frames.rst_stream(0, 8), Code.PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", frames.rst_stream(9, 8), Code.PROTOCOL_ERROR),
    ("RST_STREAM too short", frame(3, 0, 1, b"\0"), Code.FRAME_SIZE_ERROR),
    ("SETTINGS on a stream", frame(4, 0, 1), Code.PROTOCOL_ERROR),
    ("SETTINGS cut off", frame(4, 0, 0, b"\0"), Code.FRAME_SIZE_ERROR),
    ("SETTINGS acknowledged with more", frame(4, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    ("a window too large", frames.settings([(4, 1 << 31)]), Code.FLOW_CONTROL_ERROR),
    ("a frame size too small", frames.settings([(5, 16_383)]), Code.PROTOCOL_ERROR),
    ("a frame size too large", frames.settings([(5, 1 << 24)]), Code.PROTOCOL_ERROR),
    ("push neither on nor off", frames.settings([(2, 2)]), Code.PROTOCOL_ERROR),
    ("65 settings", frames.settings([(99, 0)] * 65), Code.ENHANCE_YOUR_CALM),
    ("PUSH_PROMISE", frame(5, WHOLE, 1, b"\0\0\0\2" + BLOCK), Code.PROTOCOL_ERROR),
    ("PING on a stream", frame(6, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    ("PING of seven bytes", frame(6, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    ("GOAWAY on a stream", frame(7, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    ("GOAWAY too short", frame(7, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE too long", frame(8, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    ("WINDOW_UPDATE of nothing", frames.window_update(0, 0), Code.PROTOCOL_ERROR),
    ("WINDOW_UPDATE on an idle stream", frames.window_update(9, 1), Code.PROTOCOL_ERROR),
    ("the connection's window", frames.window_update(0, (1 << 31) - 1), Code.FLOW_CONTROL_ERROR),
    (
        "a stream's window by settings",
        frames.window_update(1, 1) + frames.settings([(4, (1 << 31) - 1)]),
        Code.FLOW_CONTROL_ERROR,
    ),
    ("a frame too long", frames.head(FRAME_MAX + 1, 0, 0, 1), Code.FRAME_SIZE_ERROR),
)

OF_A_SERVER: tuple[tuple[str, bytes, Code], ...] = (
    ("a response on an idle stream", frame(1, WHOLE, 9, FIRST), Code.PROTOCOL_ERROR),
    ("a stream of the server's", frame(1, WHOLE, 2, FIRST), Code.PROTOCOL_ERROR),
    ("push switched on", frames.settings([(2, 1)]), Code.PROTOCOL_ERROR),
    ("PUSH_PROMISE", frame(5, WHOLE, 1, b"\0\0\0\2" + BLOCK), Code.PROTOCOL_ERROR),
    ("DATA on an idle stream", frame(0, 0, 9, b"x"), Code.PROTOCOL_ERROR),
    ("RST_STREAM on an idle stream", frames.rst_stream(9, 8), Code.PROTOCOL_ERROR),
)

OF_ONE_STREAM: tuple[tuple[str, Callable[[], Connection[Stream]], int, bytes, Code], ...] = (
    ("DATA after the end", server, 3, frame(0, 0, 3, b"x"), Code.STREAM_CLOSED),
    ("HEADERS after the end", server, 3, frame(1, WHOLE | END, 3, BLOCK), Code.STREAM_CLOSED),
    ("trailers that don't end", server, 1, frame(1, WHOLE, 1, BLOCK), Code.PROTOCOL_ERROR),
    ("a request as trailers", server, 1, frame(1, WHOLE | END, 1, BLOCK), Code.PROTOCOL_ERROR),
    ("WINDOW_UPDATE of nothing", server, 1, frames.window_update(1, 0), Code.PROTOCOL_ERROR),
    (
        "a window too large",
        server,
        1,
        frames.window_update(1, (1 << 31) - 1),
        Code.FLOW_CONTROL_ERROR,
    ),
    ("PRIORITY too short", server, 1, frame(2, 0, 1, b"\0"), Code.FRAME_SIZE_ERROR),
    ("PRIORITY on itself", server, 1, frame(2, 0, 1, SELF), Code.PROTOCOL_ERROR),
    ("DATA before the response", client, 1, frame(0, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    ("a request as response", client, 1, frame(1, WHOLE, 1, FIRST), Code.PROTOCOL_ERROR),
    (
        "a response that is over before its content",
        client,
        1,
        frame(1, WHOLE | END, 1, FIRST[:1] + encode([*RESPONSE, (b"content-length", b"1")])),
        Code.PROTOCOL_ERROR,
    ),
)

ALLOWED: tuple[tuple[str, Callable[[], Connection[Stream]], bytes], ...] = (
    ("RST_STREAM twice", server, frames.rst_stream(7, 8)),
    ("RST_STREAM after the end", server, frames.rst_stream(5, 8)),
    ("WINDOW_UPDATE after the end", server, frames.window_update(5, 1)),
    ("PRIORITY on an idle stream", server, frame(2, 0, 99, bytes(5))),
    ("an unknown frame", server, frame(99, 0xFF, 77, b"x")),
    ("an unknown setting", server, frames.settings([(99, 1 << 31)])),
    ("push switched on by a client", server, frames.settings([(2, 1)])),
    ("settings acknowledged twice", server, frames.SETTINGS_ACK),
    ("a window from below zero", server, frames.settings([(4, 0), (4, 100)])),
    ("DATA on a stream that we have reset", client, frame(0, 0, 3, b"x")),
    ("a response on a stream that we have reset", client, frame(1, WHOLE, 3, FIRST)),
    ("push switched off by a server", client, frames.settings([(2, 0)])),
)


def _closes(connection: Connection[Stream], sent: bytes, code: Code) -> None:
    *_, closed = connection.receive(sent)
    assert isinstance(closed, ConnectionClosed)
    assert closed.code == code
    assert not closed.by_peer
    assert connection.closed
    assert not connection.streams
    assert frames.goaway(connection._ids.last_peer, code, closed.text.encode()) in (
        connection.data_to_send()
    )


@pytest.mark.parametrize(
    ("sent", "code"), [case[1:] for case in OF_A_CLIENT], ids=[case[0] for case in OF_A_CLIENT]
)
def test_a_client_that_breaks_a_rule_loses_the_connection(sent: bytes, code: Code) -> None:
    _closes(server(), sent, code)


@pytest.mark.parametrize(
    ("sent", "code"), [case[1:] for case in OF_A_SERVER], ids=[case[0] for case in OF_A_SERVER]
)
def test_a_server_that_breaks_a_rule_loses_the_connection(sent: bytes, code: Code) -> None:
    _closes(client(), sent, code)


@pytest.mark.parametrize(
    ("open_side", "stream_id", "sent", "code"),
    [case[1:] for case in OF_ONE_STREAM],
    ids=[case[0] for case in OF_ONE_STREAM],
)
def test_a_peer_that_breaks_a_rule_of_one_stream_loses_that(
    open_side: Callable[[], Connection[Stream]], stream_id: int, sent: bytes, code: Code
) -> None:
    connection = open_side()
    stream = connection.streams[stream_id]
    (event,) = connection.receive(sent)
    assert event == StreamReset(stream, code, by_peer=False)
    assert frames.rst_stream(stream_id, code) in connection.data_to_send()
    assert stream_id not in connection.streams
    assert not connection.closed


@pytest.mark.parametrize(
    ("open_side", "sent"), [case[1:] for case in ALLOWED], ids=[case[0] for case in ALLOWED]
)
def test_what_is_only_odd_ends_nothing(
    open_side: Callable[[], Connection[Stream]], sent: bytes
) -> None:
    connection = open_side()
    open_before = set(connection.streams)
    connection.receive(sent)
    assert not connection.closed
    assert set(connection.streams) == open_before


def test_ids_that_were_reset_long_ago_are_still_no_fault() -> None:
    """What is forgotten first is what the peer knows of for longest."""
    connection = server()
    for number in range(2000):
        stream_id = 9 + 2 * number
        connection.receive(frame(1, WHOLE, stream_id, BLOCK))
        connection.reset(connection.streams[stream_id])
        connection.data_to_send()
    assert connection.receive(frame(0, 0, 9, b"late")) == []
    assert connection.receive(frame(0, 0, 9 + 2 * 1999, b"late")) == []
    assert len(connection._ids._reset) <= 1024
