"""One listener, three ways to ask: which is meant, what is asked, what is answered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.http_request import HEAD_BYTES_MAX, ProxyRequestError
from sigil_actors.core.proxy_request import Protocol, ProxyRequest, ProxyRequestReader

GREETING = b"\5\1\0"
REFUSED = EgressReason.TARGET_NOT_ALLOWED


def read(data: bytes, *, size: int | None = None) -> tuple[ProxyRequest | None, ProxyRequestReader]:
    reader = ProxyRequestReader()
    step = size or max(1, len(data))
    for at in range(0, len(data), step):
        request = reader.receive(data[at : at + step])
        if request is not None:
            rest = request.rest + data[at + step :]
            return ProxyRequest(
                protocol=request.protocol,
                host=request.host,
                port=request.port,
                rest=rest,
                plain=request.plain,
            ), reader
    return None, reader


def refusal(data: bytes) -> tuple[EgressReason, bytes]:
    reader = ProxyRequestReader()
    with pytest.raises(ProxyRequestError) as caught:
        reader.receive(data)
    reason = caught.value.reason
    return reason, reader.refusal(reason, caught.value.what)


def socks(kind: int, address: bytes, port: int = 443, *, command: int = 1) -> bytes:
    return bytes((5, command, 0, kind)) + address + port.to_bytes(2, "big")


@pytest.mark.parametrize("size", [1, 2, 7, None])
def test_a_tunnel_is_asked_for_by_connect(size: int | None) -> None:
    request, reader = read(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n\x16\x03", size=size)
    assert request == ProxyRequest(
        protocol=Protocol.CONNECT, host="a.example", port=443, rest=b"\x16\x03"
    )
    assert reader.acceptance() == b"HTTP/1.1 200 Connection established\r\n\r\n"


@pytest.mark.parametrize("size", [1, 2, 7, None])
def test_a_plain_request_comes_with_the_start_of_its_body(size: int | None) -> None:
    data = b"POST http://a.example:81/ HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\nab"
    request, reader = read(data, size=size)
    assert request is not None
    assert (request.protocol, request.host, request.port) == (Protocol.HTTP, "a.example", 81)
    assert request.rest == b"ab"
    assert request.plain is not None
    assert reader.acceptance() == b""


@pytest.mark.parametrize("size", [1, 2, 7, None])
@pytest.mark.parametrize(
    ("asked", "host"),
    [
        (socks(3, b"\x09a.example"), "a.example"),
        (socks(3, b"\x07b\xc3\xbc.com"), "bü.com"),
        (socks(1, bytes((10, 0, 0, 1))), "10.0.0.1"),
        (socks(4, bytes(15) + b"\1"), "::1"),
        (socks(4, bytes(10) + b"\xff\xff\x7f\0\0\1"), "::ffff:7f00:1"),
    ],
)
def test_socks_names_a_host_or_an_address(asked: bytes, host: str, size: int | None) -> None:
    request, reader = read(b"\5\2\0\2" + asked + b"rest", size=size)
    assert request == ProxyRequest(protocol=Protocol.SOCKS5, host=host, port=443, rest=b"rest")
    assert reader.to_send == b"\5\0"
    assert reader.acceptance() == b"\5\0\0\1" + bytes(6)


def test_a_socks_client_is_answered_before_it_goes_on() -> None:
    reader = ProxyRequestReader()
    assert reader.receive(b"\5") is None
    assert reader.to_send == b""
    assert reader.receive(b"\1\0") is None
    assert reader.to_send == b"\5\0"


@pytest.mark.parametrize(
    ("data", "reason", "answer"),
    [
        (b"\5\1\2", EgressReason.NOT_OFFERED, b"\5\xff"),
        (b"\5\0", EgressReason.NOT_OFFERED, b"\5\xff"),
        (GREETING + socks(1, bytes(4), command=2), EgressReason.NOT_OFFERED, b"\5\7"),
        (GREETING + socks(1, bytes(4), command=3), EgressReason.NOT_OFFERED, b"\5\7"),
        (GREETING + socks(2, bytes(4)), EgressReason.MALFORMED_REQUEST, b"\5\x08"),
        (GREETING + b"\5\1\1\1" + bytes(6), EgressReason.MALFORMED_REQUEST, b"\5\1"),
        (GREETING + b"\4\1\0\1" + bytes(6), EgressReason.MALFORMED_REQUEST, b"\5\1"),
        (GREETING + socks(1, bytes(4), 0), EgressReason.MALFORMED_REQUEST, b"\5\1"),
        (GREETING + socks(3, b"\1\xff"), EgressReason.MALFORMED_HOST, b"\5\2"),
        (b"\4\1\1\xbb\x7f\0\0\1\0", EgressReason.NOT_OFFERED, b""),
        (b"\x16\x03\x01", EgressReason.NOT_OFFERED, b""),
        (b"\r\n", EgressReason.NOT_OFFERED, b""),
        (b"\xe9", EgressReason.NOT_OFFERED, b""),
        (b"GET / HTTP/1.1\r\n\r\n", EgressReason.MALFORMED_REQUEST, b"HTTP/1.1 400 "),
        (b"A" * HEAD_BYTES_MAX, EgressReason.REQUEST_TOO_LARGE, b"HTTP/1.1 431 "),
        (
            b"GET https://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            EgressReason.NOT_OFFERED,
            b"HTTP/1.1 403 ",
        ),
    ],
)
def test_what_isnt_taken_is_answered_in_the_clients_own_protocol(
    data: bytes, reason: EgressReason, answer: bytes
) -> None:
    told, refused = refusal(data)
    assert told is reason
    assert refused.startswith(answer)
    assert bool(refused) == bool(answer)


@pytest.mark.parametrize(
    ("reason", "status", "reply"),
    [
        (EgressReason.TARGET_NOT_ALLOWED, b"403", 2),
        (EgressReason.AUDIT_UNAVAILABLE, b"403", 2),
        (EgressReason.ADDRESS_NOT_PUBLIC, b"403", 2),
        (EgressReason.TOO_MANY_CONNECTIONS, b"503", 2),
        (EgressReason.NAME_NOT_FOUND, b"502", 4),
        (EgressReason.LOOKUP_TIMED_OUT, b"504", 4),
        (EgressReason.CONNECT_FAILED, b"502", 5),
        (EgressReason.CONNECT_TIMED_OUT, b"504", 6),
    ],
)
def test_a_refusal_says_why(reason: EgressReason, status: bytes, reply: int) -> None:
    _, http = read(b"CONNECT a.example:443 HTTP/1.1\r\n\r\n")
    head, _, body = http.refusal(reason, "this is why").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert f"\r\nSigil-Egress-Reason: {reason}\r\n".encode() in head
    assert f"\r\nContent-Length: {len(body)}\r\n".encode() in head
    assert b"\r\nConnection: close" in head
    assert body == f"{reason}: this is why\n".encode()
    _, socks5 = read(GREETING + socks(1, bytes((1, 2, 3, 4))))
    assert socks5.refusal(reason, "") == bytes((5, reply, 0, 1)) + bytes(6)


def test_a_connection_that_said_nothing_is_known() -> None:
    reader = ProxyRequestReader()
    assert reader.receive(b"") is None
    assert reader.is_untouched
    assert reader.acceptance() == b""
    assert reader.receive(b"G") is None
    assert not reader.is_untouched


@given(
    st.binary(max_size=80)
    | st.binary(max_size=40).map(GREETING.__add__)
    | st.binary(max_size=40).map(b"CONNECT ".__add__),
    st.integers(1, 20),
)
def test_any_bytes_are_a_request_or_its_own_error_however_they_are_cut(
    data: bytes, size: int
) -> None:
    def outcome(step: int) -> object:
        try:
            return read(data, size=step)[0]
        except ProxyRequestError as error:
            return error.reason

    assert outcome(size) == outcome(max(1, len(data)))
