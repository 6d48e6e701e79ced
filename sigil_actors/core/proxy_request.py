"""What a client asks of the proxy: HTTP CONNECT, plain HTTP, or SOCKS5, told by the first byte.

Owns the reading of a request and the form of each answer. Knows nothing of what is allowed.
"""

from enum import StrEnum
from ipaddress import ip_address
from typing import Final

import attrs

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.http_request import (
    PlainRequest,
    ProxyRequestError,
    find_head_end,
    parse_head,
)

REASON_HEADER: Final = "Sigil-Egress-Reason"
"""By which a client, and whoever debugs it, learns why it was refused."""


class Protocol(StrEnum):
    """How the proxy is asked."""

    CONNECT = "connect"
    HTTP = "http"
    SOCKS5 = "socks5"
    UNKNOWN = "unknown"


@attrs.frozen(kw_only=True)
class ProxyRequest:
    """What is asked for."""

    protocol: Protocol
    host: str
    """As the client wrote it."""
    port: int
    rest: bytes
    """What came behind the request: the start of a tunnel's stream, or of a body."""
    plain: PlainRequest | None = None
    """With `Protocol.HTTP`: what to ask the server."""


_METHOD_STARTS: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_SOCKS: Final = 5
_NO_AUTHENTICATION: Final = 0
_NO_METHOD: Final = b"\x05\xff"
_METHOD_CHOSEN: Final = b"\x05\x00"
_CONNECT: Final = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_ADDRESS_BYTES: Final = {_IPV4: 4, _IPV6: 16}
_TELLING_BYTES: Final = 5
"""Of a request: all before the address, and the first of that, which may be its length."""
_BOUND_NOWHERE: Final = b"\x00\x01\x00\x00\x00\x00\x00\x00"
"""The rest of a SOCKS5 reply: where the proxy is bound is nobody's business."""
_UNKNOWN_COMMAND, _UNKNOWN_KIND = 7, 8

_SOCKS_REPLIES: Final = {
    EgressReason.NAME_NOT_FOUND: 4,
    EgressReason.LOOKUP_TIMED_OUT: 4,
    EgressReason.CONNECT_FAILED: 5,
    EgressReason.CONNECT_TIMED_OUT: 6,
    EgressReason.MALFORMED_REQUEST: 1,
}
_SOCKS_REFUSED: Final = 2

_HTTP_STATUS: Final = {
    EgressReason.MALFORMED_REQUEST: "400 Bad Request",
    EgressReason.MALFORMED_HOST: "400 Bad Request",
    EgressReason.REQUEST_TIMED_OUT: "408 Request Timeout",
    EgressReason.REQUEST_TOO_LARGE: "431 Request Header Fields Too Large",
    EgressReason.NAME_NOT_FOUND: "502 Bad Gateway",
    EgressReason.CONNECT_FAILED: "502 Bad Gateway",
    EgressReason.LOOKUP_TIMED_OUT: "504 Gateway Timeout",
    EgressReason.CONNECT_TIMED_OUT: "504 Gateway Timeout",
    EgressReason.TOO_MANY_CONNECTIONS: "503 Service Unavailable",
}
_HTTP_REFUSED: Final = "403 Forbidden"


@attrs.define(eq=False)
class ProxyRequestReader:
    """Reads one request. Between two pieces of it there may be something `to_send`."""

    protocol: Protocol = attrs.field(default=Protocol.UNKNOWN, init=False)
    to_send: bytes = attrs.field(default=b"", init=False)
    """What the client waits for before it goes on; whoever sends it empties it."""
    _received: bytearray = attrs.field(factory=bytearray, init=False)
    _searched: int = attrs.field(default=0, init=False)
    _is_greeted: bool = attrs.field(default=False, init=False)
    _reply: int | None = attrs.field(default=None, init=False)
    """Of SOCKS5, where a refusal has a word of its own."""

    @property
    def is_untouched(self) -> bool:
        """Tell whether nothing at all has come."""
        return self.protocol is Protocol.UNKNOWN and not self._received

    def receive(self, data: bytes) -> ProxyRequest | None:
        """Take the next bytes; return the request once it is whole.

        Raises:
            ProxyRequestError: it is none that is taken; `refusal` has what to answer.
        """
        self._received += data
        if not self._received:
            return None
        if self.protocol is Protocol.UNKNOWN:
            self.protocol = self._tell_protocol(self._received[0])
        return self._read_socks() if self.protocol is Protocol.SOCKS5 else self._read_http()

    def _tell_protocol(self, first: int) -> Protocol:
        if first == _SOCKS:
            return Protocol.SOCKS5
        if first not in _METHOD_STARTS:
            raise ProxyRequestError("begins like none of HTTP and SOCKS5", EgressReason.NOT_OFFERED)
        return Protocol.HTTP

    def refusal(self, reason: EgressReason, what: str) -> bytes:
        """Return the answer that refuses; empty where the client couldn't read any."""
        if self.protocol is Protocol.UNKNOWN:
            return b""
        if self.protocol is not Protocol.SOCKS5:
            return _http_answer(_HTTP_STATUS.get(reason, _HTTP_REFUSED), reason, what)
        if not self._is_greeted:
            return _NO_METHOD
        reply = self._reply or _SOCKS_REPLIES.get(reason, _SOCKS_REFUSED)
        return bytes((_SOCKS, reply)) + _BOUND_NOWHERE

    def acceptance(self) -> bytes:
        """Return the answer that opens the tunnel; empty for plain HTTP, where the server does."""
        if self.protocol is Protocol.CONNECT:
            return b"HTTP/1.1 200 Connection established\r\n\r\n"
        return bytes((_SOCKS, 0)) + _BOUND_NOWHERE if self.protocol is Protocol.SOCKS5 else b""

    def _read_http(self) -> ProxyRequest | None:
        end = find_head_end(self._received, searched=self._searched)
        self._searched = len(self._received)
        if end is None:
            return None
        if self._received.startswith(b"CONNECT "):
            self.protocol = Protocol.CONNECT
        target = parse_head(bytes(self._received[:end]))
        return ProxyRequest(
            protocol=self.protocol,
            host=target.host,
            port=target.port,
            rest=bytes(self._received[end:]),
            plain=target.plain,
        )

    def _read_socks(self) -> ProxyRequest | None:
        received = self._received
        if not self._is_greeted:
            if len(received) < 2 or len(received) < 2 + received[1]:  # noqa: PLR2004 - RFC 1928, 3
                return None
            if _NO_AUTHENTICATION not in received[2 : 2 + received[1]]:
                raise ProxyRequestError(
                    "offers no SOCKS5 without authentication", EgressReason.NOT_OFFERED
                )
            del received[: 2 + received[1]]
            self._is_greeted = True
            self.to_send = _METHOD_CHOSEN
        return self._read_socks_request()

    def _read_socks_request(self) -> ProxyRequest | None:
        """Read version, command, a zero, kind of address, address, port: RFC 1928, section 4."""
        received = self._received
        if len(received) < _TELLING_BYTES:
            return None
        version, command, reserved, kind, length = received[:_TELLING_BYTES]
        if version != _SOCKS or reserved:
            raise ProxyRequestError("isn't a request of SOCKS5")
        if command != _CONNECT:
            self._reply = _UNKNOWN_COMMAND
            raise ProxyRequestError(
                "wants to listen or to send datagrams; only connecting is offered",
                EgressReason.NOT_OFFERED,
            )
        if kind == _NAME:
            start, end = _TELLING_BYTES, _TELLING_BYTES + length
        elif kind in _ADDRESS_BYTES:
            start, end = 4, 4 + _ADDRESS_BYTES[kind]
        else:
            self._reply = _UNKNOWN_KIND
            raise ProxyRequestError("has an unknown kind of address")
        if len(received) < end + 2:
            return None
        host = bytes(received[start:end])
        port = int.from_bytes(received[end : end + 2])
        if port == 0:
            raise ProxyRequestError("has port 0")
        return ProxyRequest(
            protocol=self.protocol,
            host=_socks_name(host) if kind == _NAME else str(ip_address(host)),
            port=port,
            rest=bytes(received[end + 2 :]),
        )


def _socks_name(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise ProxyRequestError(
            "has a name that isn't UTF-8", EgressReason.MALFORMED_HOST
        ) from None


def _http_answer(status: str, reason: EgressReason, what: str) -> bytes:
    body = f"{reason}: {what}\n".encode()
    head = (
        f"HTTP/1.1 {status}\r\n{REASON_HEADER}: {reason}\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode("ascii") + body
