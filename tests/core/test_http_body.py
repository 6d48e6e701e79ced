"""Where a request's body ends, and that nothing behind it goes on."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.http_body import BodyReader
from sigil_actors.core.http_request import BodyLength, Chunked, ProxyRequestError

CHUNKED = Chunked.CHUNKED


def read(length: BodyLength, data: bytes, *, size: int | None = None) -> tuple[bytes, bool]:
    reader = BodyReader(length)
    step = size or max(1, len(data))
    body = b"".join(reader.receive(data[at : at + step]) for at in range(0, len(data), step))
    return body, reader.is_done


@pytest.mark.parametrize("size", [1, 2, 3, None])
def test_a_body_of_known_length_ends_there(size: int | None) -> None:
    assert read(5, b"helloGET / HTTP/1.1", size=size) == (b"hello", True)
    assert read(5, b"hell", size=size) == (b"hell", False)
    assert read(0, b"GET", size=size) == (b"", True)


@pytest.mark.parametrize("size", [1, 2, 3, 7, None])
@pytest.mark.parametrize(
    "body",
    [
        b"0\r\n\r\n",
        b"00000000\r\n\r\n",
        b"5\r\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\r\nA\r\n0123\r\n5678\r\n00\r\n\r\n",
        b"2\r\n\r\n\r\n0\r\n\r\n",
    ],
)
def test_a_chunked_body_ends_with_its_empty_chunk(body: bytes, size: int | None) -> None:
    assert read(CHUNKED, body + b"GET / HTTP/1.1\r\n\r\n", size=size) == (body, True)
    unfinished = body[:-1].rpartition(b"\n")[0] + b"\n"
    assert read(CHUNKED, body[:-1], size=size) == (unfinished, False)


@pytest.mark.parametrize("size", [1, 2, None])
@pytest.mark.parametrize(
    "body",
    [
        b"\r\n",
        b"5\n",
        b"5\rhello\r\n",
        b" 5\r\n",
        b"5 \r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\n",
        b"g\r\n",
        b"5;name=value\r\n",
        b"123456789\r\n",
        b"00000000000000000000",
        b"5\r\nhelloX\n0\r\n\r\n",
        b"5\r\nhello\rX0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"1\r\nhello\r\n0\r\n\r\n",
        b"0\r\nX: 1\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n0\r\n\r\n",
        b"1_0\r\n",
    ],
)
def test_what_two_readers_could_end_in_two_places_is_refused(body: bytes, size: int | None) -> None:
    with pytest.raises(ProxyRequestError) as caught:
        read(CHUNKED, body, size=size)
    assert caught.value.reason is EgressReason.MALFORMED_BODY


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.binary(max_size=40), st.data())
def test_any_chunks_come_through_whole_and_nothing_else_does(
    chunks: list[bytes], behind: bytes, data: st.DataObject
) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    size = data.draw(st.integers(1, len(body)))
    assert read(CHUNKED, body + behind, size=size) == (body, True)


@given(st.text("05aG;\r\n x", max_size=40), st.integers(1, 10))
def test_how_bytes_are_cut_changes_nothing(text: str, size: int) -> None:
    def outcome(step: int) -> tuple[bytes, bool] | None:
        try:
            return read(CHUNKED, text.encode(), size=step)
        except ProxyRequestError:
            return None

    assert outcome(size) == outcome(max(1, len(text)))
