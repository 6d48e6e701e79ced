"""What a header block may have in it, and when a decoded one is used again."""

import pytest

from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.header_block import Block, BlockDecoder, PartialBlock
from sigil_actors.rpc.hpack_encoding import TABLE_SIZE_ZERO, encode
from sigil_actors.rpc.http2_error import ViolationError
from sigil_actors.rpc.limits import Limits
from tests.rpc.valid_peer import REQUEST, RESPONSE, Pairs

METHOD, SCHEME, PATH, AUTHORITY = REQUEST[:4]


def test_a_plain_request_response_and_trailers_are_fine() -> None:
    assert Block(REQUEST).wrong_request() is None
    assert Block(RESPONSE).wrong_response() is None
    assert Block([(b"grpc-status", b"0")]).wrong_trailers() is None
    assert Block([]).wrong_trailers() is None


@pytest.mark.parametrize(
    "field",
    [
        (b"connection", b"close"),
        (b"keep-alive", b"1"),
        (b"proxy-connection", b"1"),
        (b"transfer-encoding", b"chunked"),
        (b"upgrade", b"h2c"),
        (b"te", b"gzip"),
        (b"X-Upper", b"1"),
        (b"", b"1"),
        (b"with space", b"1"),
        (b"with:colon", b"1"),
        (b"with\x7fdel", b"1"),
        (b"\xc3\xa4", b"1"),
        (b"x", b"a\0b"),
        (b"x", b"a\rb"),
        (b"x", b"a\nb"),
        (b"x", b" a"),
        (b"x", b"a\t"),
        (b"content-length", b"-1"),
        (b"content-length", b"1,1"),
        (b"content-length", b""),
        (b"content-length", b"1" * 19),
    ],
)
def test_a_field_that_http2_forbids_is_wrong_everywhere(field: tuple[bytes, bytes]) -> None:
    assert Block([*REQUEST, field]).wrong_request()
    assert Block([*RESPONSE, field]).wrong_response()
    assert Block([field]).wrong_trailers()


@pytest.mark.parametrize(
    "field",
    [
        (b"te", b"trailers"),
        (b"x", b""),
        (b"x", b"a b"),
        (b"x", b"\xff\x80"),
        (b"x!#$%&'*+-.^_`|~9", b"1"),
        (b"content-length", b"0"),
    ],
)
def test_an_odd_field_that_is_allowed_passes(field: tuple[bytes, bytes]) -> None:
    assert Block([*REQUEST, field]).wrong_request() is None


def test_content_length_may_be_said_twice_but_not_differently() -> None:
    twice = Block([*REQUEST, (b"content-length", b"5"), (b"content-length", b"5")])
    assert twice.wrong_request() is None
    assert twice.length == 5
    assert Block([*REQUEST, (b"content-length", b"5"), (b"content-length", b"6")]).wrong


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [METHOD, SCHEME],
        [METHOD, PATH],
        [SCHEME, PATH],
        [METHOD, SCHEME, (b":path", b"")],
        [METHOD, SCHEME, PATH, PATH],
        [METHOD, SCHEME, PATH, (b":status", b"200")],
        [METHOD, SCHEME, PATH, (b":protocol", b"websocket")],
        [METHOD, SCHEME, (b"x", b"1"), PATH],
        [(b":method", b"CONNECT"), AUTHORITY, SCHEME, PATH],
        [(b":method", b"CONNECT")],
    ],
)
def test_a_request_without_its_pseudo_headers_in_front_is_wrong(pairs: Pairs) -> None:
    assert Block(pairs).wrong_request()


def test_connect_has_an_authority_only() -> None:
    assert Block([(b":method", b"CONNECT"), AUTHORITY]).wrong_request() is None


@pytest.mark.parametrize("status", [b"", b"20", b"2000", b"abc", b"+20", b"2 0"])
def test_a_status_is_three_digits(status: bytes) -> None:
    assert Block([(b":status", status)]).wrong_response()


def test_trailers_have_no_pseudo_header() -> None:
    assert Block([(b":status", b"200")]).wrong_trailers()


def test_a_block_is_decoded_once_and_then_known_by_its_bytes() -> None:
    decoder = BlockDecoder(Limits())
    decoder.decode(TABLE_SIZE_ZERO + encode(REQUEST))
    assert decoder.decode(encode(REQUEST)) is decoder.decode(encode(REQUEST))


def test_a_table_cant_grow_again_once_it_is_gone() -> None:
    decoder = BlockDecoder(Limits())
    decoder.settings_acknowledged()
    with pytest.raises(ViolationError):
        decoder.decode(b"\x3f\xe1\x1f" + encode(REQUEST))


def test_nothing_is_known_by_its_bytes_while_the_peer_keeps_a_table() -> None:
    decoder = BlockDecoder(Limits())
    first = decoder.decode(b"\x40\x01a\x011")
    assert first.pairs == [(b"a", b"1")]
    assert decoder.decode(b"\xbe").pairs == [(b"a", b"1")]
    decoder.decode(b"\x40\x01b\x012")
    assert decoder.decode(b"\xbe").pairs == [(b"b", b"2")]


def test_a_block_that_resizes_the_table_is_decoded_each_time() -> None:
    decoder = BlockDecoder(Limits())
    block = TABLE_SIZE_ZERO + encode(REQUEST)
    decoder.decode(block)
    assert decoder.decode(block) is not decoder.decode(block)


def test_the_cache_never_outgrows_its_bound() -> None:
    decoder = BlockDecoder(Limits(cached_blocks_max=3))
    decoder.decode(TABLE_SIZE_ZERO)
    for number in range(20):
        decoder.decode(encode([(b"x", b"%d" % number)]))
        assert len(decoder._cache) <= 3


def test_once_our_settings_are_acknowledged_the_table_is_gone() -> None:
    decoder = BlockDecoder(Limits())
    decoder.decode(b"\x40\x01a\x011")
    decoder.settings_acknowledged()
    assert decoder.decode(encode(REQUEST)).pairs == REQUEST
    assert decoder.decode(encode(REQUEST)) is decoder.decode(encode(REQUEST))
    with pytest.raises(ViolationError) as raised:
        decoder.decode(b"\xbe")
    assert raised.value.code is Code.COMPRESSION_ERROR


def test_a_table_that_is_only_smaller_has_to_be_announced() -> None:
    decoder = BlockDecoder(Limits(table_size=100))
    decoder.settings_acknowledged()
    with pytest.raises(ViolationError):
        decoder.decode(encode(REQUEST))


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"\xff", Code.COMPRESSION_ERROR),
        (b"\xbe", Code.COMPRESSION_ERROR),
        (b"\0\x05a", Code.COMPRESSION_ERROR),
        (b"\0\x81\xff", Code.COMPRESSION_ERROR),
        (bytes(16 * 1024 + 1), Code.ENHANCE_YOUR_CALM),
        (b"\x83" * 1000, Code.ENHANCE_YOUR_CALM),
    ],
)
def test_what_is_no_header_block_or_too_large_ends_the_connection(raw: bytes, code: Code) -> None:
    with pytest.raises(ViolationError) as raised:
        BlockDecoder(Limits()).decode(raw)
    assert raised.value.code is code


def test_a_block_that_is_too_long_isnt_even_looked_at() -> None:
    with pytest.raises(ViolationError, match="header block too long"):
        BlockDecoder(Limits(header_block_max=10)).decode(encode(REQUEST))


def test_a_block_in_parts_is_joined_in_their_order() -> None:
    partial = PartialBlock(1, b"a", Limits(), end=True)
    partial.add(b"b")
    partial.add(b"c")
    assert partial.joined() == b"abc"


def test_a_block_in_parts_has_a_bound_on_its_bytes_and_on_its_parts() -> None:
    limits = Limits(header_block_max=100, continuations_max=3)
    partial = PartialBlock(1, bytes(60), limits, end=False)
    partial.add(bytes(40))
    with pytest.raises(ViolationError):
        partial.add(b"x")
    partial = PartialBlock(1, b"", limits, end=False)
    for _ in range(3):
        partial.add(b"")
    with pytest.raises(ViolationError):
        partial.add(b"")
