"""Frames, HPACK's encoding and the reader of frames, by the numbers of RFC 9113 and RFC 7541."""

from itertools import pairwise

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.rpc import frames
from sigil_actors.rpc.frame_reader import FrameReader
from sigil_actors.rpc.frames import FRAME_MAX, HEAD_BYTES, Code, frame
from sigil_actors.rpc.hpack_encoding import encode, encode_integer, header
from sigil_actors.rpc.http2_error import ViolationError
from tests.rpc.h2_events import split_frames

names = st.from_regex(rb"[a-z0-9-]{1,40}", fullmatch=True)
values = st.binary(max_size=400)


def read_all(reader: FrameReader, *pieces: bytes) -> list[tuple[int, int, int, bytes]]:
    return [one for piece in pieces for one in reader.read(piece)]


def test_a_frame_has_its_length_type_flags_and_stream_in_front() -> None:
    assert frame(frames.DATA, frames.END_STREAM, 5, b"abc") == b"\0\0\3\0\1\0\0\0\5abc"


def test_a_long_frame_has_its_length_in_three_bytes() -> None:
    assert frame(frames.DATA, 0, 1, bytes(0x01_0203))[:3] == b"\1\2\3"


def test_a_block_that_fits_is_one_frame() -> None:
    (only,) = split_frames(frames.headers(1, bytes(100), end=True, frame_max=100))
    assert only[3:5] == bytes((frames.HEADERS, frames.END_STREAM | frames.END_HEADERS))


def test_a_block_that_is_too_long_goes_on_in_continuations() -> None:
    parts = split_frames(frames.headers(1, b"x" * 250, end=True, frame_max=100))
    kinds_and_flags = [tuple(part[3:5]) for part in parts]
    assert kinds_and_flags == [
        (frames.HEADERS, frames.END_STREAM),
        (frames.CONTINUATION, 0),
        (frames.CONTINUATION, frames.END_HEADERS),
    ]
    assert b"".join(part[HEAD_BYTES:] for part in parts) == b"x" * 250


def test_the_debug_data_of_a_goodbye_is_cut() -> None:
    assert len(frames.goaway(1, Code.NO_ERROR, bytes(10_000))) == HEAD_BYTES + 8 + 512


@given(st.lists(st.tuples(names, values), max_size=12))
def test_what_is_encoded_any_decoder_reads(pairs: list[tuple[bytes, bytes]]) -> None:
    decoded = hpack.Decoder().decode(encode(pairs), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in decoded] == pairs


@given(st.integers(0, 1 << 32), st.sampled_from((4, 5, 6, 7)))
def test_a_number_of_any_prefix_is_read_again(number: int, bits: int) -> None:
    encoded = encode_integer(number, bits, 0)
    assert hpack.hpack.decode_integer(encoded, bits) == (number, len(encoded))


@pytest.mark.parametrize(
    ("name", "value", "encoded"),
    [
        (b":method", b"POST", b"\x83"),
        (b":scheme", b"https", b"\x87"),
        (b":status", b"200", b"\x88"),
        (b":path", b"/a", b"\x04\x02/a"),
        (b"content-type", b"x", b"\x0f\x10\x01x"),
        (b"grpc-status", b"0", b"\0\x0bgrpc-status\x010"),
    ],
)
def test_a_field_takes_the_static_table_where_it_can(
    name: bytes, value: bytes, encoded: bytes
) -> None:
    assert header(name, value) == encoded


def test_a_block_never_asks_its_reader_to_remember_anything() -> None:
    decoder = hpack.Decoder()
    decoder.decode(encode([(b":path", b"/a"), (b"x-a", b"1"), (b"content-type", b"y")]))
    assert len(decoder.header_table.dynamic_entries) == 0


@given(
    payloads=st.lists(st.binary(max_size=60), max_size=6),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    has_preface=st.booleans(),
)
def test_frames_come_out_whole_however_the_bytes_are_cut(
    payloads: list[bytes], cuts: list[int], *, has_preface: bool
) -> None:
    data = frames.PREFACE if has_preface else b""
    data += b"".join(frame(0, 0, number + 1, payload) for number, payload in enumerate(payloads))
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    pieces = [data[a:b] for a, b in pairwise(edges)]
    reader = FrameReader(preface_due=has_preface)
    got = read_all(reader, *pieces)
    assert got == [(0, 0, number + 1, payload) for number, payload in enumerate(payloads)]
    assert reader.held == 0


def test_the_reserved_bit_of_a_stream_is_ignored() -> None:
    data = frame(0, 0, 1 | 1 << 31, b"x")
    assert read_all(FrameReader(preface_due=False), data) == [(0, 0, 1, b"x")]


def test_a_frame_as_long_as_is_allowed_is_read() -> None:
    ((_, _, _, payload),) = read_all(
        FrameReader(preface_due=False), frame(0, 0, 1, bytes(FRAME_MAX))
    )
    assert len(payload) == FRAME_MAX


def test_a_frame_that_is_too_long_is_refused_by_its_head() -> None:
    reader = FrameReader(preface_due=False)
    with pytest.raises(ViolationError) as raised:
        read_all(reader, frames.head(FRAME_MAX + 1, 0, 0, 1))
    assert raised.value.code is Code.FRAME_SIZE_ERROR


def test_what_came_before_a_frame_that_is_too_long_is_given_first() -> None:
    reading = FrameReader(preface_due=False).read(
        frame(0, 0, 1, b"fine") + frames.head(FRAME_MAX + 1, 0, 0, 1)
    )
    assert next(reading) == (0, 0, 1, b"fine")
    with pytest.raises(ViolationError):
        next(reading)


def test_a_wrong_preface_is_refused_as_soon_as_it_is_wrong() -> None:
    with pytest.raises(ViolationError):
        read_all(FrameReader(preface_due=True), b"PRI * HTTP/2.0\r\n\r\nXX")


def test_no_more_than_one_frame_is_ever_held() -> None:
    reader = FrameReader(preface_due=False)
    read_all(reader, frame(0, 0, 1, bytes(100)) + frame(0, 0, 1, bytes(FRAME_MAX))[:-1])
    assert reader.held == HEAD_BYTES + FRAME_MAX - 1
