"""What a plugin might ask its proxy: HTTP and SOCKS5, broken, hostile, and nearly right.

Whatever is taken is written out as its server gets it and read again by a lenient reader of this
file: it must find one request, for the host that was decided about, and no byte behind its body.
"""

import re
from collections import Counter
from random import Random

from sigil_actors.core.egress_rule import EgressRule, HostError, canonical_host
from sigil_actors.core.http_body import BodyReader
from sigil_actors.core.http_request import HEAD_BYTES_MAX, PlainRequest, ProxyRequestError
from sigil_actors.core.proxy_request import Protocol, ProxyRequest, ProxyRequestReader
from tests.fuzz.report import FuzzReport, run_cases

NAME = "proxy_request"

_RULE = EgressRule.from_entries(["a.example:80", "*.b.example:443", "10.0.0.1:80", "[::1]:80"])
_LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: [\t -~\x80-\xff]*")
_METHODS = (b"GET", b"POST", b"CONNECT", b"PUT", b"HEAD", b"get", b"G\0T", b"PRI", b"")
_HOSTS = (
    *(b"a.example", b"x.b.example", b"10.0.0.1", b"[::1]", b"A.EXAMPLE.", b"c.example", b"*.x"),
    *(b"127.1", b"0x7f.1", b"2130706433", b"[::ffff:10.0.0.1]", b"user@a.example", b"a..example"),
    *(b"a.example@c.example", b"a.example#c", b"a.example/c", b"[::1%25eth0]", b"", b"\xc3\xbc.x"),
)
_PORTS = (b":80", b":443", b"", b":", b":0", b":080", b":65536", b":80:80", b":8 0", b":+80")
_PATHS = (b"", b"/", b"/x?y=http://c.example/", b"?q", b"#f", b"/\xff", b"/a b", b"\\@c.example")
_SCHEMES = (b"http://", b"HTTP://", b"http://", b"https://", b"http:/", b"", b"file://")
_VERSIONS = (b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.1 ", b" HTTP/2.0", b"", b" HTTP/1.1\tx")
_HEADERS = (
    *(b"Host: a.example", b"Host: c.example", b"host:", b"Accept: */*", b"X: \xe9"),
    *(b"Content-Length: 5", b"Content-Length: 0", b"Content-Length: +5", b"content-length: 5, 5"),
    *(b"Content-Length : 5", b"Transfer-Encoding: chunked", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: chunked, identity", b" folded: 1"),
    *(b"Connection: close", b"Connection: Content-Length", b"Connection: X, host", b"X : 1"),
    *(b"Proxy-Authorization: x", b"X: a\nHost: c.example", b"X: a\rY: b", b"X: \0", b"nocolon"),
    *(b"Upgrade: websocket", b"X: " + b"x" * 300, b"Expect: 100-continue", b":x", b"\tfolded"),
)
_BREAKS = (b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\n\r\n")
_BODIES = (
    *(b"", b"hello", b"helloGET / HTTP/1.1\r\n\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    *(b"5\r\nhello\r\n0\r\nX: 1\r\n\r\n", b"5;x\r\nhello\r\n0\r\n\r\n", b"5\nhello\n0\n\n"),
    *(
        b"-1\r\n",
        b"0\r\n\r\nGET http://c.example/ HTTP/1.1\r\n\r\n",
        b"ffffffff\r\nx",
        b"5 \r\nhello",
    ),
)


def run(cases: int, seed: int) -> FuzzReport:
    """Read so many requests: nothing but a request, or its own error."""
    seen = Counter[str]()

    def case(random: Random) -> None:
        data = _socks(random) if random.random() < 0.3 else _http(random)
        if random.random() < 0.3:
            data = _mutated(random, data)
        reader = ProxyRequestReader()
        try:
            request, behind = _read(random, reader, data)
        except ProxyRequestError as error:
            seen[f"refused: {error.reason}"] += 1
            answer = reader.refusal(error.reason, error.what)
            assert answer.isascii() or reader.protocol is Protocol.SOCKS5
            return
        if request is None:
            seen["not whole"] += 1
            return
        seen[f"taken: {request.protocol}"] += 1
        _check(random, request, request.rest + behind, seen)

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(seen))


def _read(
    random: Random, reader: ProxyRequestReader, data: bytes
) -> tuple[ProxyRequest | None, bytes]:
    at = 0
    while at < len(data):
        size = random.choice((1, 7, 100, len(data), len(data)))
        request = reader.receive(data[at : at + size])
        at += size
        if request is not None:
            return request, data[at:]
        assert len(reader._received) < HEAD_BYTES_MAX
    return None, b""


def _check(random: Random, request: ProxyRequest, body: bytes, seen: Counter[str]) -> None:
    assert 1 <= request.port <= 65_535
    try:
        host = canonical_host(request.host)
    except HostError:
        seen["no host"] += 1
        return
    verdict = _RULE.judge_target(host, request.port)
    seen[f"judged: {verdict.reason}"] += 1
    assert re.fullmatch(r"[a-z0-9_.:-]+", host.text)
    assert not re.fullmatch(r"[0-9.]+", host.text) or host.is_address
    if request.plain is None:
        return
    sent = request.plain.head_for(host, request.port)
    _, *lines = sent.removesuffix(b"\r\n\r\n").split(b"\r\n")
    assert all(map(_LINE.fullmatch, lines)), "a line that is no header"
    try:
        sent += _body(random, request.plain, body)
    except ProxyRequestError:
        seen["body refused"] += 1
        return
    found, rest = _read_leniently(sent)
    authority = host.authority if request.port == 80 else f"{host.authority}:{request.port}"
    assert found == [authority.encode()], "another host, or more than one"
    assert not rest, "bytes behind the body"


def _body(random: Random, plain: PlainRequest, body: bytes) -> bytes:
    reader = BodyReader(plain.body)
    passed = b""
    at = 0
    while at < len(body):
        size = random.choice((1, 3, len(body)))
        passed += reader.receive(body[at : at + size])
        at += size
    return passed


def _read_leniently(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the hosts of a request and what is behind its body, read as the laxest server would.

    Lines may end in a line feed; the length is the first that is told, either way.
    """
    head, _, rest = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    rest = data[data.index(b"\r\n\r\n") + 4 :]
    hosts = re.findall(rb"(?im)^\s*host\s*:\s*(.*?)\s*$", head)
    if re.search(rb"(?im)^\s*transfer-encoding\s*:.*chunked", head):
        while found := re.match(rb"\s*([0-9a-fA-F]+)[^\n]*\n", rest):
            size = int(found[1], 16)
            rest = rest[found.end() + size :]
            if not size:
                return hosts, rest.removeprefix(b"\r\n")
        return hosts, b""  # a chunk that isn't whole
    length = re.search(rb"(?im)^\s*content-length\s*:\s*([0-9]+)", head)
    return hosts, rest[int(length[1]) if length else 0 :]


def _http(random: Random) -> bytes:
    def one(choices: tuple[bytes, ...], *, good: float = 0.7, of: int = 1) -> bytes:
        return choices[random.randrange(of)] if random.random() < good else random.choice(choices)

    method = one(_METHODS, of=3)
    target = one(_HOSTS, of=6) + one(_PORTS, of=2)
    if method != b"CONNECT" or random.random() < 0.05:
        target = one(_SCHEMES, good=0.9, of=2) + target + one(_PATHS, of=3)
    lines = [method + b" " + target + one(_VERSIONS, good=0.9, of=2)]
    if random.random() < 0.8:
        lines.append(_HEADERS[0])
    good = (*_HEADERS[3:5], _HEADERS[5], _HEADERS[10], b"Connection: close, X")
    lines.extend(
        random.choice(good if random.random() < 0.7 else _HEADERS)
        for _ in range(random.choice((0, 1, 2, 3, 3)))
    )
    line_break = b"\r\n" if random.random() < 0.9 else random.choice(_BREAKS)
    return line_break.join(lines) + b"\r\n\r\n" + random.choice(_BODIES)


def _socks(random: Random) -> bytes:
    methods = random.choice((b"\0", b"\0", b"\0\2", b"\2", b"", b"\xff\0"))
    name = random.choice(_HOSTS)
    kind, address = random.choice(
        (
            (3, bytes((len(name),)) + name),
            (3, bytes((len(name),)) + name),
            (1, bytes((10, 0, 0, 1))),
            (4, bytes(15) + b"\1"),
            (4, bytes(10) + b"\xff\xff\x0a\0\0\1"),
            (2, b""),
        )
    )
    command = random.choice((1, 1, 1, 1, 2, 3, 0))
    port = random.choice((b"\0\x50", b"\1\xbb", b"\0\0"))
    return b"\5" + bytes((len(methods),)) + methods + bytes((5, command, 0, kind)) + address + port


def _mutated(random: Random, data: bytes) -> bytes:
    for _ in range(random.choice((1, 1, 2, 5))):
        at = random.randrange(len(data) + 1)
        piece = random.choice((b"", random.randbytes(1), b"\r\n", b"\n", b" ", b"\0", b":", b"\r"))
        data = data[:at] + piece + data[at + random.choice((0, 1)) :]
    return data
