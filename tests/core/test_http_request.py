"""The head of a request to the proxy: what is taken, what goes on, what could be two requests."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import canonical_host
from sigil_actors.core.http_request import (
    HEAD_BYTES_MAX,
    HEADERS_MAX,
    Chunked,
    ProxyRequestError,
    find_head_end,
    parse_head,
)


def head(*lines: str) -> bytes:
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def get(target: str, *headers: str) -> bytes:
    return head(f"GET {target} HTTP/1.1", "Host: a.example", *headers)


@pytest.mark.parametrize(
    ("target", "host", "port"),
    [
        ("a.example:443", "a.example", 443),
        ("A.Example.:1", "A.Example.", 1),
        ("10.0.0.1:65535", "10.0.0.1", 65535),
        ("[::1]:80", "[::1]", 80),
    ],
)
def test_connect_names_host_and_port(target: str, host: str, port: int) -> None:
    for lines in (
        [f"CONNECT {target} HTTP/1.1", f"Host: {target}"],
        [f"CONNECT {target} HTTP/1.0"],
    ):
        found = parse_head(head(*lines))
        assert (found.host, found.port, found.plain) == (host, port, None)


@pytest.mark.parametrize(
    ("url", "host", "port", "path"),
    [
        ("http://a.example", "a.example", 80, b"/"),
        ("HTTP://a.example/", "a.example", 80, b"/"),
        ("http://a.example:8080/x/y?q=1&r=http://b/", "a.example", 8080, b"/x/y?q=1&r=http://b/"),
        ("http://a.example?q", "a.example", 80, b"/?q"),
        ("http://[::1]:81/x@y", "[::1]", 81, b"/x@y"),
    ],
)
def test_a_url_names_host_port_and_path(url: str, host: str, port: int, path: bytes) -> None:
    found = parse_head(get(url))
    assert (found.host, found.port) == (host, port)
    assert found.plain is not None
    assert (found.plain.method, found.plain.path) == (b"GET", path)


def forwarded(request: bytes, host: str = "a.example", port: int = 80) -> list[bytes]:
    plain = parse_head(request).plain
    assert plain is not None
    return plain.head_for(canonical_host(host), port).split(b"\r\n")


def test_the_server_gets_the_path_its_own_name_and_the_order_to_close() -> None:
    request = get(
        "http://a.example/x",
        "Accept: */*",
        "X-One:  two \t",
        "x-three:",
        "X-Four: \xe9",
    )
    assert forwarded(request) == [
        b"GET /x HTTP/1.1",
        b"Host: a.example",
        b"Accept: */*",
        b"X-One: two",
        b"x-three: ",
        b"X-Four: \xe9",
        b"Connection: close",
        b"",
        b"",
    ]


def test_the_host_header_is_the_targets_whatever_the_client_wrote() -> None:
    request = head("GET http://a.example:81/ HTTP/1.1", "Host: internal.example")
    assert forwarded(request, port=81)[1] == b"Host: a.example:81"
    assert forwarded(request, host="::1", port=81)[1] == b"Host: [::1]:81"


def test_what_concerns_one_connection_stays_on_it() -> None:
    request = get(
        "http://a.example/",
        "Connection: keep-alive, X-Secret",
        "Keep-Alive: 5",
        "Proxy-Authorization: Basic eDp5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: x",
        "Upgrade: websocket",
        "x-secret: 1",
        "X-Kept: 1",
    )
    assert forwarded(request)[2:] == [b"X-Kept: 1", b"Connection: close", b"", b""]


@pytest.mark.parametrize(
    ("method", "headers", "body", "line"),
    [
        ("POST", ["Content-Length: 5"], 5, b"Content-Length: 5"),
        ("POST", ["content-length: 0"], 0, b"Content-Length: 0"),
        ("POST", [], 0, b"Content-Length: 0"),
        ("GET", ["Content-Length: 3"], 3, b"Content-Length: 3"),
        ("PUT", ["Transfer-Encoding: Chunked"], Chunked.CHUNKED, b"Transfer-Encoding: chunked"),
        ("GET", [], 0, None),
        ("DELETE", [], 0, None),
    ],
)
def test_the_length_of_the_body_is_told_once_and_anew(
    method: str, headers: list[str], body: int | Chunked, line: bytes | None
) -> None:
    request = head(f"{method} http://a.example/ HTTP/1.1", "Host: a.example", *headers)
    plain = parse_head(request).plain
    assert plain is not None
    assert plain.body == body
    told = [one for one in forwarded(request) if one.lower().startswith((b"content-", b"transfer"))]
    assert told == ([] if line is None else [line])


URL = "http://a.example/"


@pytest.mark.parametrize(
    "request_",
    [
        b"\r\n\r\n",
        b"\r\n" + get(URL),
        head(f"GET  {URL} HTTP/1.1", "Host: a"),
        head(f"GET {URL}  HTTP/1.1", "Host: a"),
        head(f"GET {URL}", "Host: a"),
        head(f"GET {URL} HTTP/2.0", "Host: a"),
        head(f"GET {URL} HTTP/1.2", "Host: a"),
        head(f"GET {URL} http/1.1", "Host: a"),
        head(f"GET\t{URL} HTTP/1.1", "Host: a"),
        head(f"G(T {URL} HTTP/1.1", "Host: a"),
        head("PRI * HTTP/2.0"),
        head(f"GET {URL} HTTP/1.1"),  # no Host
        get(URL, "Host: b.example"),
        get(URL, "host: a.example"),
        get(URL, "X : 1"),
        get(URL, " folded"),
        get(URL, "\tfolded"),
        get(URL, "X: 1\rY: 2"),
        get(URL, "X: a\0b"),
        get(URL, "X: \x7f"),
        get(URL, ": nameless"),
        get(URL, "no colon"),
        get(URL, "X\xe9: 1"),
        get(URL, "Content-Length: 5", "Content-Length: 5"),
        get(URL, "Content-Length: 5", "content-length: 6"),
        get(URL, "Content-Length: 5, 5"),
        get(URL, "Content-Length: +5"),
        get(URL, "Content-Length: -1"),
        get(URL, "Content-Length: 05"),
        get(URL, "Content-Length: 0x5"),
        get(URL, "Content-Length: "),
        get(URL, "Content-Length: 1_0"),
        get(URL, "Content-Length: 9999999999999999999"),
        get(URL, "Content-Length: 5", "Transfer-Encoding: chunked"),
        get(URL, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        get(URL, "Transfer-Encoding: gzip, chunked"),
        get(URL, "Transfer-Encoding: xchunked"),
        get(URL, "Transfer-Encoding: identity"),
        get(URL, "Transfer-Encoding:"),
        head(f"GET {URL} HTTP/1.0", "Transfer-Encoding: chunked"),
        get(URL, "Connection: close, Content-Length"),
        get(URL, "Connection: host"),
        get(URL, "Connection: Transfer-Encoding", "Transfer-Encoding: chunked"),
        get("/"),
        get("*"),
        get("a.example:443"),
        get("http:///path"),
        get("http://"),
        get("http://user@a.example/"),
        get("http://a.example:80@b.example/"),
        get("http://a.example/#fragment"),
        get("http://a.example:/"),
        get("http://a.example:0/"),
        get("http://a.example:080/"),
        get("http://a.example:65536/"),
        get("http://a.example:8 0/"),
        get("http://a:1:2/"),
        get("http://::1/"),
        get("http://[::1/"),
        get("http://[::1]x/"),
        head("CONNECT a.example HTTP/1.1"),
        head("CONNECT a.example: HTTP/1.1"),
        head("CONNECT :443 HTTP/1.1"),
        head("CONNECT a.example:0443 HTTP/1.1"),
        head("CONNECT a.example:+443 HTTP/1.1"),
        head("CONNECT http://a.example:443 HTTP/1.1"),
        head("CONNECT ::1:443 HTTP/1.1"),
        head("CONNECT a.example:443 HTTP/1.1", "Content-Length: 0"),
        head("CONNECT a.example:443 HTTP/1.1", "Content-Length: 5"),
        head("CONNECT a.example:443 HTTP/1.1", "Transfer-Encoding: chunked"),
        head("CONNECT a.example:443 HTTP/1.1", "Host: a", "Host: a"),
    ],
)
def test_what_could_be_read_as_two_requests_is_none(request_: bytes) -> None:
    with pytest.raises(ProxyRequestError) as caught:
        parse_head(request_)
    assert caught.value.reason is EgressReason.MALFORMED_REQUEST


@pytest.mark.parametrize("scheme", ["https", "ftp", "file", "ws", "gopher"])
def test_other_schemes_arent_offered(scheme: str) -> None:
    with pytest.raises(ProxyRequestError) as caught:
        parse_head(get(f"{scheme}://a.example/"))
    assert caught.value.reason is EgressReason.NOT_OFFERED


def test_a_head_is_bounded_in_bytes_and_in_headers() -> None:
    many = ["X: 1"] * HEADERS_MAX
    parse_head(get(URL, *many[1:]))
    with pytest.raises(ProxyRequestError) as caught:
        parse_head(get(URL, *many))
    assert caught.value.reason is EgressReason.REQUEST_TOO_LARGE
    whole = get(URL, "X: " + "x" * (HEAD_BYTES_MAX - len(get(URL, "X: "))))
    assert find_head_end(whole) == len(whole) == HEAD_BYTES_MAX
    with pytest.raises(ProxyRequestError) as caught:
        find_head_end(b"x" + whole)
    assert caught.value.reason is EgressReason.REQUEST_TOO_LARGE
    assert find_head_end(b"x" * (HEAD_BYTES_MAX - 1)) is None


def test_a_bare_line_feed_is_refused_as_it_comes() -> None:
    for received in (b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", b"\n"):
        with pytest.raises(ProxyRequestError):
            find_head_end(received)
    assert find_head_end(b"G\r\n\r\nbody\n\n") == 5
    assert find_head_end(b"GET\r", searched=0) is None
    assert find_head_end(b"GET\r\n", searched=4) is None


@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_its_own_error(data: bytes) -> None:
    with suppress(ProxyRequestError):
        parse_head(data)


TOKENS = st.sampled_from(
    [
        "GET",
        "CONNECT",
        " ",
        URL,
        "a.example:1",
        "HTTP/1.1",
        "\r\n",
        "\r",
        "\n",
        ":",
        "Host",
        "X",
        "Content-Length",
        "5",
        "Transfer-Encoding",
        "chunked",
        "Connection",
        ",",
        "\0",
        "\t",
        "\xa0",
    ]
)


@given(st.lists(TOKENS, max_size=25).map("".join))
def test_what_goes_on_is_one_request_of_plain_lines(text: str) -> None:
    try:
        found = parse_head(text.encode("latin-1"))
    except ProxyRequestError:
        return
    if found.plain is None:
        return
    made = found.plain.head_for(canonical_host("a.example"), 80)
    assert made.endswith(b"\r\n\r\n")
    assert made.count(b"\r\n\r\n") == 1
    assert made.count(b"\n") == made.count(b"\r") == made.count(b"\r\n")
    assert made.lower().count(b"\r\nhost:") == 1
    assert (
        made.lower().count(b"\r\ncontent-length:") + made.lower().count(b"\r\ntransfer-encoding:")
        <= 1
    )
    assert not {0, 127} & set(made)
