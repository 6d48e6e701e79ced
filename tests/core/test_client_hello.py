"""Which server a TLS client asks for, however its bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.client_hello import (
    HELLO_BYTES_MAX,
    RAW_BYTES_MAX,
    ClientHello,
    ClientHelloReader,
    HelloKind,
)
from tests.core.hello_bytes import (
    body,
    extension,
    hello,
    message,
    real_hello,
    record,
    records,
    server_name,
)


def read(data: bytes, *, size: int | None = None) -> ClientHello | None:
    reader = ClientHelloReader()
    for at in range(0, len(data), size or len(data)):
        found = reader.receive(data[at : at + (size or len(data))])
        if found is not None:
            return found
    return None


NAMED = ClientHello(HelloKind.NAMED, "api.example.com")


@pytest.mark.parametrize("size", [1, 2, 5, 7, 100, None])
def test_the_name_is_found_however_the_bytes_come(size: int | None) -> None:
    assert read(real_hello("api.example.com"), size=size) == NAMED
    assert read(hello("api.example.com"), size=size) == NAMED


@pytest.mark.parametrize("fragment", [1, 3, 4, 6, 50])
def test_the_name_is_found_across_records(fragment: int) -> None:
    fragmented = records(message(body(server_name(b"api.example.com"))), fragment)
    assert read(fragmented) == NAMED
    assert read(fragmented, size=1) == NAMED


def test_it_is_known_which_bytes_the_hello_is_in() -> None:
    first = records(message(body(server_name(b"a.example"))), 20)
    reader = ClientHelloReader()
    assert reader.receive(first[:30]) is None
    assert reader.receive(first[30:] + b"\x14\x03\x03\0\1\1") is not None
    assert reader.used == len(first)


def test_a_client_may_ask_for_no_server() -> None:
    assert read(real_hello(None)) == ClientHello(HelloKind.NAMELESS)
    assert read(record(message(body()[:-2]))) == ClientHello(HelloKind.NAMELESS)


@pytest.mark.parametrize("version", [b"\0\2", b"\3\0", b"\3\1", b"\3\3"])
def test_the_oldest_form_of_a_hello_asks_for_no_server(version: bytes) -> None:
    old = b"\x80\x2e\x01" + version + bytes(40)
    assert read(old) == ClientHello(HelloKind.NAMELESS)
    assert read(old, size=1) == ClientHello(HelloKind.NAMELESS)
    assert read(b"\x80\x2e\x01\x04\x00" + bytes(40)) == ClientHello(HelloKind.NOT_TLS)
    assert read(old[:4]) is None


@pytest.mark.parametrize("kind", [0xFE0D, 0xFE08, 0xFFCE])
def test_a_name_that_may_be_encrypted_is_told_apart(kind: int) -> None:
    assert read(hello("api.example.com", extension(kind, b"x"))) == ClientHello(HelloKind.HIDDEN)


def test_nothing_says_nothing() -> None:
    assert ClientHelloReader().receive(b"") is None


def test_early_data_is_noticed() -> None:
    found = read(hello("a.example", extension(42, b"")))
    assert found == ClientHello(HelloKind.NAMED, "a.example", offers_early_data=True)


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"\0\0\0\x08\x04\xd2\x16\x2f", b"SSH-2.0-x", b"\x16\x02\x01", b"\x13"],
)
def test_what_isnt_tls_is_known_at_once(data: bytes) -> None:
    assert read(data) == ClientHello(HelloKind.NOT_TLS)


GOOD = message(body(server_name(b"a.example")))


@pytest.mark.parametrize(
    "data",
    [
        record(b"\2\x28", kind=21) + record(GOOD),  # an alert first
        record(b"\1", kind=20) + record(GOOD),
        record(b"x", kind=23),
        record(b"x", kind=24),
        record(b""),
        record(GOOD[:10]) + record(b"") + record(GOOD[10:]),
        record(GOOD[:10]) + record(b"\1", kind=20) + record(GOOD[10:]),
        record(GOOD[:10]) + record(GOOD[10:], version=b"\x02\x00"),
        b"\x16\x03\x01\x40\x01" + bytes(16),
        record(GOOD + GOOD),
        record(GOOD + b"\0"),
        record(message(body(server_name(b"a.example"), server_name(b"b.example")))),
        record(message(body(server_name(b"a.example", b"b.example")))),
        record(message(body(server_name(b"")))),
        record(message(body(server_name(b"a.example", kind=1)))),
        record(message(body(server_name(b"\xff.example")))),
        record(message(body(extension(0, b"")))),
        record(message(body(extension(0, b"\0\0")))),
        record(message(body(extension(0, b"\0\4\0\0\1aX")))),
        record(message(body(extension(1, b""), extension(1, b"")))),
        record(message(body(session=bytes(33)))),
        record(message(body(suites=b""))),
        record(message(body(suites=b"\x13"))),
        record(message(body() + b"\0")),
        record(message(body()[:-1])),
        record(message(body()[:40])),
        record(message(b"\3\3")),
        record(message(bytes((3, 3)) + bytes(HELLO_BYTES_MAX))[:600]),
    ],
)
def test_what_could_be_read_in_two_ways_is_malformed(data: bytes) -> None:
    padded = data + bytes(700) if len(data) > 600 else data
    assert read(padded) == ClientHello(HelloKind.MALFORMED)


def test_a_hello_over_the_bound_is_malformed_as_soon_as_it_says_so() -> None:
    start = message(b"\3\3" + bytes(HELLO_BYTES_MAX))[:100]
    assert read(record(start)) == ClientHello(HelloKind.MALFORMED)


def test_records_that_never_end_are_bounded() -> None:
    reader = ClientHelloReader()
    endless = message(b"\3\3" + bytes(HELLO_BYTES_MAX - 100))
    found = None
    given = 0
    for byte in endless:
        found = reader.receive(record(bytes((byte,))))
        given += 6
        if found is not None:
            break
    assert found == ClientHello(HelloKind.MALFORMED)
    assert given <= RAW_BYTES_MAX + 6


@pytest.mark.parametrize("data", [record(message(b"", kind=16)), record(b"\1\0\0\1\7\7\7\7")])
def test_another_message_of_tls_is_told_from_a_hello(data: bytes) -> None:
    assert read(data) == ClientHello(HelloKind.OTHER)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_have_the_same_answer_whatever_their_pieces(data: bytes, size: int) -> None:
    whole = read(data) if data else None
    assert read(data, size=size) == whole if data else True


@given(st.data())
def test_a_hello_with_a_byte_changed_is_never_taken_for_another_name(data: st.DataObject) -> None:
    good = bytearray(hello("api.example.com"))
    at = data.draw(st.integers(0, len(good) - 1))
    good[at] = data.draw(st.integers(0, 255))
    found = read(bytes(good))
    if found is not None and found.kind is HelloKind.NAMED:
        assert len(found.server_name) == len("api.example.com")
        assert found.server_name.encode() in bytes(good)
