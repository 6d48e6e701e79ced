"""The head of an HTTP/1 request to a proxy: CONNECT, and plain HTTP with the whole URL.

Owns what is taken of it and what of it goes on. Strict (RFC 9112): whatever two readers could take
for two different requests is refused, so that nobody behind sees another request than was decided
about. What follows the head is `http_body`'s.
"""

import re
from enum import Enum, auto
from typing import Final, TypeAlias

import attrs

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import CanonicalHost

HEAD_BYTES_MAX: Final = 32 * 1024
"""The request line and all headers. Servers take 8 to 16 KiB; cookies are the large ones."""

HEADERS_MAX: Final = 128
"""As many as most servers take."""

HTTP_PORT: Final = 80

_END: Final = b"\r\n\r\n"
_BARE_LINE_FEED = re.compile(rb"(?<!\r)\n")
_REQUEST_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-~]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_URL = re.compile(r"http://([^/?#@]+)([/?][^#]*)?", re.IGNORECASE)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\[\]:]+)(?::([0-9]+))?")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,17}")
_PORT_MAX: Final = 65_535

_NOT_FORWARDED: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"upgrade",
        b"host",
        b"content-length",
        b"transfer-encoding",
    }
)
"""What concerns one connection only, and what is written anew."""
_NEEDED: Final = frozenset({b"host", b"content-length", b"transfer-encoding"})
"""What a request must not declare to be about one connection only."""


class ProxyRequestError(Exception):
    """The bytes are no request that is taken: `reason` says which kind of no, `what` why."""

    def __init__(self, what: str, reason: EgressReason = EgressReason.MALFORMED_REQUEST) -> None:
        self.what = what
        self.reason = reason
        super().__init__(what)


class Chunked(Enum):
    """A body whose length is told piece by piece."""

    CHUNKED = auto()


BodyLength: TypeAlias = int | Chunked


@attrs.frozen(kw_only=True)
class PlainRequest:
    """What of a plain HTTP request goes on to its server."""

    method: bytes
    path: bytes
    """With the query; as it was, but never empty."""
    minor_version: int
    headers: tuple[tuple[bytes, bytes], ...]
    """Without those that concern one connection, the host and the length."""
    body: BodyLength

    def head_for(self, host: CanonicalHost, port: int) -> bytes:
        """Return the head as the server gets it: the one request of its connection."""
        authority = host.authority if port == HTTP_PORT else f"{host.authority}:{port}"
        lines = [
            b"%b %b HTTP/1.%d" % (self.method, self.path, self.minor_version),
            b"Host: %b" % authority.encode("ascii"),
            *(b"%b: %b" % header for header in self.headers),
        ]
        if isinstance(self.body, Chunked):
            lines.append(b"Transfer-Encoding: chunked")
        elif self.body or self.method not in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"):
            lines.append(b"Content-Length: %d" % self.body)
        lines.append(b"Connection: close")
        return b"\r\n".join(lines) + _END


@attrs.frozen(kw_only=True)
class HttpTarget:
    """Where an HTTP request wants to go."""

    host: str
    """As it was written; brackets of an IPv6 address included."""
    port: int
    plain: PlainRequest | None
    """What to ask there; None for CONNECT, which wants a tunnel."""


def find_head_end(received: bytes | bytearray, *, searched: int = 0) -> int | None:
    """Return where the head ends, its empty line included; None as long as it doesn't.

    `searched` bytes at the start are known to hold no end.

    Raises:
        ProxyRequestError: it has no end within the bound, or a line break that isn't one.
    """
    start = max(0, searched - len(_END) + 1)
    end = received.find(_END, start, HEAD_BYTES_MAX)
    # Said at once, since a head with such line breaks may never end as it should.
    if _BARE_LINE_FEED.search(received, start, len(received) if end < 0 else end):
        raise ProxyRequestError("has a line break without a carriage return")
    if end >= 0:
        return end + len(_END)
    if len(received) >= HEAD_BYTES_MAX:
        raise ProxyRequestError(
            f"has a head of more than {HEAD_BYTES_MAX} bytes", EgressReason.REQUEST_TOO_LARGE
        )
    return None


def parse_head(head: bytes) -> HttpTarget:
    """Parse a head, its empty line included.

    Raises:
        ProxyRequestError: it isn't one that is taken.
    """
    first, *lines = head.removesuffix(_END).split(b"\r\n")
    found = _REQUEST_LINE.fullmatch(first)
    if found is None:
        raise ProxyRequestError("has no request line of HTTP/1.0 or 1.1")
    method, target, minor_version = found[1], found[2].decode("ascii"), int(found[3])
    headers = _parse_headers(lines)
    hosts = _values(headers, b"host")
    if len(hosts) > 1:
        raise ProxyRequestError("has more than one Host")
    body = _body_length(headers, minor_version)
    if method == b"CONNECT":
        if body != 0 or _values(headers, b"content-length"):
            raise ProxyRequestError("has a body, which CONNECT can't have")
        host, port = _parse_authority(target)
        return HttpTarget(host=host, port=port, plain=None)
    if minor_version == 1 and not hosts:
        raise ProxyRequestError("has no Host")
    host, port, path = _parse_url(target)
    plain = PlainRequest(
        method=method,
        path=path.encode("ascii"),
        minor_version=minor_version,
        headers=_forwarded(headers),
        body=body,
    )
    return HttpTarget(host=host, port=port, plain=plain)


_Headers: TypeAlias = list[tuple[bytes, bytes]]


def _parse_headers(lines: list[bytes]) -> _Headers:
    if len(lines) > HEADERS_MAX:
        raise ProxyRequestError(
            f"has more than {HEADERS_MAX} headers", EgressReason.REQUEST_TOO_LARGE
        )
    headers = []
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            # A bare line break, a line folded into the next, a space before the colon, a control.
            raise ProxyRequestError("has a line that is no header")
        headers.append((found[1], found[2].rstrip(b" \t")))
    return headers


def _values(headers: _Headers, name: bytes) -> list[bytes]:
    return [value for found, value in headers if found.lower() == name]


def _body_length(headers: _Headers, minor_version: int) -> BodyLength:
    lengths = _values(headers, b"content-length")
    encodings = _values(headers, b"transfer-encoding")
    if len(lengths) + len(encodings) > 1:
        raise ProxyRequestError("tells the length of its body more than once")
    if encodings:
        if encodings[0].lower() != b"chunked" or minor_version == 0:
            raise ProxyRequestError("has a transfer coding other than chunked")
        return Chunked.CHUNKED
    if not lengths:
        return 0
    if not _LENGTH.fullmatch(lengths[0]):
        raise ProxyRequestError("has a Content-Length that is no number")
    return int(lengths[0])


def _forwarded(headers: _Headers) -> tuple[tuple[bytes, bytes], ...]:
    named = {
        token.strip(b" \t").lower()
        for value in _values(headers, b"connection")
        for token in value.split(b",")
    }
    if not named.isdisjoint(_NEEDED):
        raise ProxyRequestError("has a Connection that names what every request needs")
    dropped = named | _NOT_FORWARDED
    return tuple(
        (name, value)
        for name, value in headers
        if name.lower() not in dropped and not name.lower().startswith(b"proxy-")
    )


def _parse_authority(text: str) -> tuple[str, int]:
    found = _AUTHORITY.fullmatch(text)
    if found is None or found[2] is None:
        raise ProxyRequestError("has no host:port to connect to")
    return found[1], _parse_port(found[2])


def _parse_url(text: str) -> tuple[str, int, str]:
    found = _URL.fullmatch(text)
    if found is None:
        if _SCHEME.match(text) and not text.lower().startswith("http://"):
            raise ProxyRequestError(
                "has a URL of another scheme than http; use CONNECT", EgressReason.NOT_OFFERED
            )
        raise ProxyRequestError("has no URL like http://host:port/path")
    authority = _AUTHORITY.fullmatch(found[1])
    if authority is None:
        raise ProxyRequestError("has a URL without a host, or with a port that is none")
    port = HTTP_PORT if authority[2] is None else _parse_port(authority[2])
    path = found[2] or "/"
    return authority[1], port, path if path.startswith("/") else f"/{path}"


def _parse_port(text: str) -> int:
    if not _PORT.fullmatch(text) or int(text) > _PORT_MAX:
        raise ProxyRequestError("has a port that isn't 1 to 65535 in plain digits")
    return int(text)
