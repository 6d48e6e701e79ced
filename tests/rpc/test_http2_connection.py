"""What a connection does for its application, each side of it, one behaviour at a time."""

from itertools import pairwise

import pytest

from sigil_actors.rpc import frames
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    GoawayReceived,
    HeadersReceived,
    PongReceived,
    SettingsReceived,
    StreamReset,
    TrailersReceived,
)
from sigil_actors.rpc.frames import FRAME_MAX, Code, frame
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO, encode
from sigil_actors.rpc.http2_error import UsageError
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.stream import Stream
from tests.rpc.h2_events import split_frames
from tests.rpc.valid_peer import REQUEST, RESPONSE, TRAILERS, Pairs

Events = list[Event[Stream]]
HELLO = frames.settings([]) + frames.SETTINGS_ACK


def client(limits: Limits | None = None, *, hello: bytes = HELLO) -> Connection[Stream]:
    """Return a client's side that is past its beginning."""
    connection = Connection(client=True, stream_factory=Stream, limits=limits)
    connection.data_to_send()
    connection.receive(hello)
    connection.data_to_send()
    return connection


def server(limits: Limits | None = None, *, hello: bytes = HELLO) -> Connection[Stream]:
    """Return a server's side that is past its beginning."""
    connection = Connection(client=False, stream_factory=Stream, limits=limits)
    connection.data_to_send()
    connection.receive(frames.PREFACE + hello)
    connection.data_to_send()
    return connection


def block(stream_id: int, pairs: Pairs, *, end: bool = False, first: bool = False) -> bytes:
    raw = (TABLE_SIZE_ZERO if first else b"") + encode(pairs)
    return frames.headers(stream_id, raw, end=end, frame_max=FRAME_MAX)


def data(stream_id: int, payload: bytes, *, end: bool = False) -> bytes:
    return frame(frames.DATA, frames.END_STREAM if end else 0, stream_id, payload)


def opened(connection: Connection[Stream], stream_id: int = 1, *, end: bool = False) -> Stream:
    """Have the server's side get a request."""
    (event,) = connection.receive(block(stream_id, REQUEST, end=end, first=stream_id == 1))
    assert isinstance(event, HeadersReceived)
    stream: Stream = event.stream
    return stream


def kinds_sent(connection: Connection[Stream]) -> list[int]:
    return [part[3] for part in split_frames(connection.data_to_send())]


def talk(ours: Connection[Stream], theirs: Connection[Stream]) -> tuple[Events, Events]:
    """Carry bytes until both are silent; return what each saw."""
    at_ours: Events = []
    at_theirs: Events = []
    while True:
        there, back = ours.data_to_send(), theirs.data_to_send()
        if not (there or back):
            return at_ours, at_theirs
        at_theirs += theirs.receive(there)
        at_ours += ours.receive(back)


def fresh_pair(limits: Limits | None = None) -> tuple[Connection[Stream], Connection[Stream]]:
    ours = Connection(client=True, stream_factory=Stream, limits=limits)
    theirs = Connection(client=False, stream_factory=Stream, limits=limits)
    talk(ours, theirs)
    return ours, theirs


# The beginning.


def test_a_client_begins_with_the_preface_and_its_settings() -> None:
    connection = Connection(client=True, stream_factory=Stream)
    preface, settings, window = split_frames(connection.data_to_send())
    assert preface == frames.PREFACE
    assert dict(frames.read_settings(settings[9:])) == {
        frames.HEADER_TABLE_SIZE: 0,
        frames.INITIAL_WINDOW_SIZE: 1 << 20,
        frames.MAX_HEADER_LIST_SIZE: 16 << 10,
        frames.ENABLE_PUSH: 0,
    }
    assert window == frames.window_update(0, (16 << 20) - 65_535)


def test_a_server_begins_with_its_settings() -> None:
    settings, _ = split_frames(Connection(client=False, stream_factory=Stream).data_to_send())
    assert dict(frames.read_settings(settings[9:]))[frames.MAX_CONCURRENT_STREAMS] == 256


def test_a_connection_window_of_the_default_needs_no_update() -> None:
    limits = Limits(connection_window=65_535)
    connection = Connection(client=False, stream_factory=Stream, limits=limits)
    assert kinds_sent(connection) == [frames.SETTINGS]


@pytest.mark.parametrize("name", ["stream_window", "connection_window"])
def test_windows_below_the_default_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Limits(**{name: 65_534})


def test_the_peers_settings_are_acknowledged_and_reported() -> None:
    connection = Connection(client=True, stream_factory=Stream)
    connection.data_to_send()
    before = connection.established
    assert connection.receive(frames.settings([])) == [SettingsReceived()]
    assert (before, connection.established) == (False, True)
    assert connection.data_to_send() == frames.SETTINGS_ACK


@pytest.mark.parametrize(
    "first", [frames.ping(bytes(8)), frames.SETTINGS_ACK, block(1, REQUEST), frame(99, 0, 0)]
)
def test_what_comes_before_settings_ends_the_connection(first: bytes) -> None:
    connection = Connection(client=False, stream_factory=Stream)
    (closed,) = connection.receive(frames.PREFACE + first)
    text = "first frame is not SETTINGS"
    assert closed == ConnectionClosed(Code.PROTOCOL_ERROR, text, by_peer=False)


# A call.


def test_a_call_passes_from_its_request_to_its_trailers() -> None:
    ours, theirs = fresh_pair()
    stream = ours.request(encode(REQUEST))
    ours.send_data(stream, b"question", end=True)
    _, (headers, body) = talk(ours, theirs)
    assert isinstance(headers, HeadersReceived)
    assert headers.block.pairs == REQUEST
    assert isinstance(body, DataReceived)
    assert (body.data, body.flow_length, body.end) == (b"question", 8, True)
    theirs.send_headers(body.stream, encode(RESPONSE))
    theirs.send_data(body.stream, b"answer")
    theirs.send_headers(body.stream, encode(TRAILERS), end=True)
    (response, answer, trailers), _ = talk(ours, theirs)
    assert isinstance(response, HeadersReceived)
    assert response.stream is stream
    assert isinstance(answer, DataReceived)
    assert answer.data == b"answer"
    assert isinstance(trailers, TrailersReceived)
    assert trailers.block.pairs == TRAILERS
    assert not ours.streams
    assert not theirs.streams


def test_streams_are_of_the_class_that_was_asked_for() -> None:
    class Call(Stream):
        pass

    connection = Connection(client=True, stream_factory=Call)
    assert type(connection.request(encode(REQUEST))) is Call


def test_ids_go_up_by_two() -> None:
    connection = client()
    ids = [connection.request(encode(REQUEST)).id for _ in range(3)]
    assert ids == [1, 3, 5]
    assert connection.next_id == 7


def test_a_server_that_answers_early_tells_that_the_rest_isnt_wanted() -> None:
    connection = server()
    stream = opened(connection)
    connection.send_headers(stream, encode(RESPONSE + TRAILERS), end=True)
    *_, last = split_frames(connection.data_to_send())
    assert last == frames.rst_stream(1, Code.NO_ERROR)
    assert not connection.streams
    assert connection.receive(data(1, b"still under way", end=True)) == []


def test_interim_responses_are_passed_over() -> None:
    connection = client()
    connection.request(encode(REQUEST), end=True)
    interim = block(1, [(b":status", b"103"), (b"link", b"x")], first=True)
    (event,) = connection.receive(interim + block(1, RESPONSE))
    assert isinstance(event, HeadersReceived)
    assert event.block.pseudo == {b":status": b"200"}


def test_the_first_block_says_that_no_table_is_used_and_no_other_does() -> None:
    connection = client()
    connection.request(encode(REQUEST))
    connection.request(encode(REQUEST))
    first, second = split_frames(connection.data_to_send())
    assert first[9:] == TABLE_SIZE_ZERO + encode(REQUEST)
    assert second[9:] == encode(REQUEST)


def test_a_block_in_several_frames_is_one_request() -> None:
    connection = server()
    raw = TABLE_SIZE_ZERO + encode(REQUEST)
    priority = b"\0\0\0\3\x10"
    flags = frames.END_STREAM | frames.PRIORITY_FLAG | frames.PADDED
    parts = frame(frames.HEADERS, flags, 1, b"\2" + priority + raw[:5] + b"\0\0")
    parts += frame(frames.CONTINUATION, 0, 1, raw[5:9])
    parts += frame(frames.CONTINUATION, frames.END_HEADERS, 1, raw[9:])
    (event,) = connection.receive(parts)
    assert isinstance(event, HeadersReceived)
    assert event.block.pairs == REQUEST
    assert event.end


def test_a_body_of_the_promised_length_passes() -> None:
    connection = server()
    promised = [*REQUEST, (b"content-length", b"3")]
    connection.receive(block(1, promised, first=True))
    first, second = connection.receive(data(1, b"ab") + data(1, b"c", end=True))
    assert isinstance(first, DataReceived)
    assert isinstance(second, DataReceived)
    assert second.end


# Windows and order.


def test_data_waits_for_the_window_and_then_goes_on() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, bytes(100_000), end=True)
    sent = sum(len(part) - 9 for part in split_frames(connection.data_to_send()) if part[3] == 0)
    assert sent == 65_535
    assert stream.pending is not None
    connection.receive(frames.window_update(1, 100_000))
    assert connection.data_to_send() == b""  # the connection's window is used up too
    connection.receive(frames.window_update(0, 100_000))
    *_, last = split_frames(connection.data_to_send())
    assert last[4] == frames.END_STREAM
    assert connection.drained == [stream]
    assert stream.local_done


def test_data_that_waits_goes_in_its_order_and_ends_with_its_end() -> None:
    connection = client(hello=frames.settings([(frames.INITIAL_WINDOW_SIZE, 1)]))
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, b"")  # nothing
    connection.send_data(stream, b"one")
    connection.send_data(stream, b"two")
    connection.send_data(stream, b"", end=True)
    connection.data_to_send()
    connection.receive(frames.window_update(1, 100))
    parts = split_frames(connection.data_to_send())
    assert [part[9:] for part in parts] == [b"ne", b"two"]
    assert [part[4] for part in parts] == [0, frames.END_STREAM]


def test_trailers_come_after_the_data_that_waits() -> None:
    connection = server(hello=frames.settings([(frames.INITIAL_WINDOW_SIZE, 10)]))
    stream = opened(connection, end=True)
    connection.send_headers(stream, encode(RESPONSE))
    connection.send_data(stream, bytes(15))
    connection.send_headers(stream, encode(TRAILERS), end=True)
    assert kinds_sent(connection) == [frames.HEADERS, frames.DATA]
    assert stream.sealed
    assert not stream.local_done
    connection.receive(frames.window_update(1, 10))
    assert kinds_sent(connection) == [frames.DATA, frames.HEADERS]
    assert not connection.streams


def test_an_end_without_data_needs_no_window() -> None:
    connection = client(hello=frames.settings([(frames.INITIAL_WINDOW_SIZE, 0)]))
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, b"", end=True)
    *_, last = split_frames(connection.data_to_send())
    assert last == data(1, b"", end=True)


def test_a_window_can_be_lowered_below_zero() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, bytes(1000))
    connection.receive(frames.settings([(frames.INITIAL_WINDOW_SIZE, 0)]))
    assert stream.send_window == -1000
    connection.send_data(stream, b"x")
    connection.receive(frames.window_update(1, 1000))
    connection.data_to_send()
    assert stream.pending is not None
    connection.receive(frames.window_update(1, 1))
    connection.data_to_send()
    assert stream.pending is None


def test_streams_that_wait_take_turns() -> None:
    """Else the first to write would starve the others, for as long as it goes on."""
    connection = client(
        Limits(high_water=20_000),
        hello=frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)])
        + frames.window_update(0, 1 << 30),
    )
    streams = [connection.request(encode(REQUEST)) for _ in range(5)]
    for stream in streams:
        connection.send_data(stream, bytes(1 << 20))
    connection.data_to_send()  # what went while some had not written yet
    order = []
    for _ in range(10):
        parts = split_frames(connection.data_to_send())
        order += [int.from_bytes(part[5:9], "big") for part in parts if part[3] == frames.DATA]
    sent = [order.count(stream.id) for stream in streams]
    assert max(sent) - min(sent) <= 1
    assert all(before != after for before, after in pairwise(order[-10:]))


def roomy_client() -> Connection[Stream]:
    """Return a client whose windows never matter."""
    return client(
        hello=frames.settings([(frames.INITIAL_WINDOW_SIZE, 1 << 30)])
        + frames.window_update(0, 1 << 30)
    )


def test_a_small_call_isnt_behind_a_bulk_one() -> None:
    connection = roomy_client()
    bulk = connection.request(encode(REQUEST))
    connection.send_data(bulk, bytes(8 << 20))
    small = connection.request(encode(REQUEST))
    connection.send_data(small, b"hi", end=True)
    before = len(connection.data_to_send())
    after = connection.data_to_send()
    assert before <= (128 << 10) + FRAME_MAX + 200
    assert data(small.id, b"hi", end=True) in split_frames(after)
    assert len(after) <= (128 << 10) + FRAME_MAX + 200


def test_no_more_waits_in_the_output_than_is_of_use() -> None:
    connection = roomy_client()
    streams = [connection.request(encode(REQUEST)) for _ in range(10)]
    for number in range(1000):
        connection.send_data(streams[number % 10], bytes(1000))
    assert connection.unsent <= (128 << 10) + 2000
    sent = b""
    while out := connection.data_to_send():
        sent += out
    assert sum(len(part) - 9 for part in split_frames(sent) if part[3] == 0) == 1_000_000


def test_what_was_read_is_given_back_in_halves() -> None:
    connection = server()
    stream = opened(connection)
    connection.receive(b"".join(data(1, bytes(FRAME_MAX)) for _ in range(40)))
    connection.consumed(stream, (1 << 19) - 1)
    assert connection.data_to_send() == b""
    connection.consumed(stream, 1)
    assert connection.data_to_send() == frames.window_update(1, 1 << 19)


def test_nothing_is_given_back_to_a_stream_that_has_ended() -> None:
    connection = server()
    stream = opened(connection)
    connection.receive(data(1, bytes(10), end=True))
    connection.consumed(stream, 1 << 20)
    assert connection.data_to_send() == b""


def test_the_connections_window_is_given_back_though_nobody_reads() -> None:
    connection = server(Limits(connection_window=65_536))
    opened(connection)
    connection.receive(data(1, bytes(16_384)) + data(1, bytes(16_384)))
    assert connection.data_to_send() == frames.window_update(0, 32_768)


def test_a_stream_that_overruns_its_window_is_reset_alone() -> None:
    connection = server(Limits(stream_window=65_535))
    stream = opened(connection)
    other = opened(connection, 3)
    *_, last = connection.receive(b"".join(data(1, bytes(FRAME_MAX)) for _ in range(4)))
    assert last == StreamReset(stream, Code.FLOW_CONTROL_ERROR, by_peer=False)
    assert list(connection.streams.values()) == [other]


def test_a_peer_that_overruns_the_connections_window_ends_it() -> None:
    connection = server()
    connection._receive_window = 10
    stream = opened(connection)
    events = connection.receive(data(1, bytes(11)))
    text = "connection window overrun"
    assert events == [
        StreamReset(stream, None, by_peer=True),
        ConnectionClosed(Code.FLOW_CONTROL_ERROR, text, by_peer=False),
    ]


def test_frames_are_no_larger_than_the_peer_takes() -> None:
    hello = frames.settings(
        [(frames.INITIAL_WINDOW_SIZE, 1 << 20), (frames.MAX_FRAME_SIZE, 20_000)]
    )
    connection = client(hello=hello)
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, bytes(65_535))
    _, *parts = split_frames(connection.data_to_send())
    assert [len(part) - 9 for part in parts] == [20_000, 20_000, 20_000, 5535]


# Commands that come too late.


def test_a_stream_that_is_over_takes_no_commands() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST), end=True)
    with pytest.raises(UsageError):
        connection.send_data(stream, b"late")
    with pytest.raises(UsageError):
        connection.send_headers(stream, encode(TRAILERS), end=True)


def test_a_stream_whose_end_still_waits_takes_no_commands() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, bytes(100_000), end=True)
    with pytest.raises(UsageError):
        connection.send_data(stream, b"late")


def test_headers_that_end_nothing_cant_come_after_data_that_waits() -> None:
    connection = server()
    stream = opened(connection)
    connection.send_data(stream, bytes(100_000))
    with pytest.raises(UsageError):
        connection.send_headers(stream, encode(RESPONSE))


def test_a_stream_that_was_never_opened_takes_no_commands() -> None:
    with pytest.raises(UsageError):
        client().send_data(Stream(), b"x")


def test_a_server_opens_no_streams() -> None:
    with pytest.raises(UsageError):
        server().request(encode(REQUEST))


def test_a_ping_has_eight_bytes() -> None:
    with pytest.raises(UsageError):
        client().ping(b"short")


# Resets.


def test_a_reset_of_ours_is_sent_once_and_not_reported() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.data_to_send()
    connection.reset(stream)
    connection.reset(stream)
    assert connection.data_to_send() == frames.rst_stream(1, Code.CANCEL)
    assert stream.sealed
    assert connection.receive(block(1, RESPONSE, first=True) + data(1, b"late")) == []


def test_a_reset_frees_who_waits_to_write() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.send_data(stream, bytes(100_000))
    connection.reset(stream)
    assert connection.drained == [stream]
    assert kinds_sent(connection)[-1] == frames.RST_STREAM
    assert connection.data_to_send() == b""


def test_a_reset_of_the_peers_is_reported_with_its_code() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    assert connection.receive(frames.rst_stream(1, 99)) == [StreamReset(stream, 99, by_peer=True)]
    assert not connection.streams


def test_a_malformed_request_is_reset_before_anyone_hears_of_it() -> None:
    connection = server()
    assert connection.receive(block(1, [(b"x", b"1")], first=True)) == []
    assert connection.data_to_send() == frames.rst_stream(1, Code.PROTOCOL_ERROR)


def test_a_stream_beyond_the_bound_is_refused() -> None:
    connection = server(Limits(streams_max=1))
    opened(connection)
    assert connection.receive(block(3, REQUEST)) == []
    assert connection.data_to_send() == frames.rst_stream(3, Code.REFUSED_STREAM)


@pytest.mark.parametrize(
    "body",
    [
        data(1, b"four"),
        data(1, b"tw", end=True),
        block(1, TRAILERS, end=True),
    ],
)
def test_a_body_has_the_length_that_was_promised(body: bytes) -> None:
    connection = server()
    promised = [*REQUEST, (b"content-length", b"3")]
    connection.receive(block(1, promised, first=True))
    *_, last = connection.receive(body)
    assert isinstance(last, StreamReset)
    assert last.code == Code.PROTOCOL_ERROR


def test_a_wrong_response_resets_its_stream_only() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.request(encode(REQUEST))
    events = connection.receive(block(1, [(b":status", b"abc")], first=True))
    assert events == [StreamReset(stream, Code.PROTOCOL_ERROR, by_peer=False)]
    assert len(connection.streams) == 1


@pytest.mark.parametrize("status", [b"101", b"103"])
def test_an_interim_response_cant_end_a_stream_or_switch_protocols(status: bytes) -> None:
    connection = client()
    connection.request(encode(REQUEST))
    end = status != b"101"
    (event,) = connection.receive(block(1, [(b":status", status)], end=end, first=True))
    assert isinstance(event, StreamReset)


# The end.


def test_a_server_drains_in_two_steps() -> None:
    connection = server()
    stream = opened(connection, end=True)
    connection.drain()
    goaway, ping = split_frames(connection.data_to_send())
    assert goaway == frames.goaway(frames.STREAM_ID_MAX, Code.NO_ERROR)
    late = opened(connection, 3, end=True)  # it was under way
    connection.receive(frames.ping(ping[9:], ack=True))
    assert connection.data_to_send() == frames.goaway(3, Code.NO_ERROR)
    assert connection.receive(block(5, REQUEST)) == []
    for served in (stream, late):
        connection.send_headers(served, encode(RESPONSE + TRAILERS), end=True)
    assert not connection.streams
    assert not connection.closed


def test_a_client_that_drains_opens_nothing_more() -> None:
    connection = client()
    connection.request(encode(REQUEST))
    connection.drain()
    connection.drain()
    assert kinds_sent(connection) == [frames.HEADERS, frames.GOAWAY]
    assert not connection.can_open()
    with pytest.raises(UsageError):
        connection.request(encode(REQUEST))


def test_a_goodbye_of_the_peer_ends_the_streams_that_it_didnt_see() -> None:
    connection = client()
    first, second = connection.request(encode(REQUEST)), connection.request(encode(REQUEST))
    events = connection.receive(frames.goaway(1, Code.NO_ERROR, b"bye"))
    assert events == [
        GoawayReceived(Code.NO_ERROR, 1, b"bye"),
        StreamReset(second, Code.REFUSED_STREAM, by_peer=True),
    ]
    assert list(connection.streams.values()) == [first]
    assert not connection.can_open()


def test_when_the_peer_hangs_up_each_stream_is_told_before_the_connection() -> None:
    connection = client()
    streams = [connection.request(encode(REQUEST)) for _ in range(2)]
    assert connection.eof() == [
        *[StreamReset(stream, None, by_peer=True) for stream in streams],
        ConnectionClosed(Code.NO_ERROR, "connection lost", by_peer=True),
    ]
    assert connection.eof() == []
    assert connection.close() == []
    assert connection.receive(frames.ping(bytes(8))) == []


def test_closing_says_goodbye_and_ends_the_streams() -> None:
    connection = client()
    stream = connection.request(encode(REQUEST))
    connection.data_to_send()
    assert connection.close(Code.NO_ERROR, b"done") == [StreamReset(stream, None, by_peer=True)]
    assert connection.data_to_send() == frames.goaway(0, Code.NO_ERROR, b"done")
    assert connection.closed


def test_a_violation_is_told_to_the_peer() -> None:
    connection = client()
    connection.receive(frames.ping(b"short"))
    assert connection.data_to_send() == frames.goaway(0, Code.FRAME_SIZE_ERROR, b"PING length")


def test_the_last_stream_that_was_seen_is_in_the_goodbye() -> None:
    connection = server()
    opened(connection)
    opened(connection, 3)
    connection.close()
    assert connection.data_to_send() == frames.goaway(3, Code.NO_ERROR)


def test_a_ping_is_answered_and_an_answer_is_reported() -> None:
    connection = client()
    assert connection.receive(frames.ping(b"12345678")) == []
    assert connection.data_to_send() == frames.ping(b"12345678", ack=True)
    connection.ping(b"abcdefgh")
    assert connection.data_to_send() == frames.ping(b"abcdefgh")
    answer = connection.receive(frames.ping(b"abcdefgh", ack=True))
    assert answer == [PongReceived(b"abcdefgh")]


def test_as_many_streams_can_be_opened_as_the_peer_allows() -> None:
    connection = client(hello=frames.settings([(frames.MAX_CONCURRENT_STREAMS, 1)]))
    stream = connection.request(encode(REQUEST), end=True)
    assert not connection.can_open()
    connection.receive(block(1, RESPONSE, end=True, first=True))
    assert stream.remote_done
    assert connection.can_open()


def test_a_connection_that_has_used_up_its_ids_opens_nothing_more() -> None:
    connection = client()
    connection._ids.next_own = frames.STREAM_ID_MAX
    connection.request(encode(REQUEST))
    assert not connection.can_open()


def test_the_peers_bound_on_headers_can_be_asked_for() -> None:
    connection = client(hello=frames.settings([(frames.MAX_HEADER_LIST_SIZE, 8192)]))
    assert connection.peer_list == 8192
