"""The first message of a TLS client, read as it comes: which server does it ask for?

Owns the layout of records and of the ClientHello (RFC 8446, sections 4.1.2 and 5.1). Strict: what
two servers could read in two ways is malformed. What a name is held against is for `server_name`.
"""

from collections.abc import Iterator
from enum import Enum, auto
from typing import Final

import attrs

HELLO_BYTES_MAX: Final = 16 * 1024
"""The message. With post-quantum keys and a resumed session it has 2 to 4 KiB."""

RAW_BYTES_MAX: Final = 2 * HELLO_BYTES_MAX
"""The message and its records' headers: records of a byte each would be six times the message."""

HEADER_BYTES: Final = 5
"""Of a record: type, version in two bytes, length in two."""

RECORD_BYTES_MAX: Final = 2**14
"""Of a record that isn't encrypted."""

CHANGE_CIPHER_SPEC: Final = 20
ALERT: Final = 21
HANDSHAKE: Final = 22
APPLICATION_DATA: Final = 23
_RECORD_TYPES: Final = range(CHANGE_CIPHER_SPEC, 25)
_VERSION_MAJOR: Final = 3
_CLIENT_HELLO: Final = 1
_MESSAGE_HEADER_BYTES: Final = 4
"""Type, length in three bytes."""

_SERVER_NAME: Final = 0
_EARLY_DATA: Final = 42
_HIDING: Final = frozenset({0xFE08, 0xFE09, 0xFE0A, 0xFE0B, 0xFE0C, 0xFE0D, 0xFFCE})
"""Encrypted ClientHello (0xfe0d, and its drafts), and the encrypted server name before it."""

_OLD_BYTES: Final = 5
_OLD_FLAG: Final = 0x80
"""SSL 2's form of a hello, which servers may still take, starts with this bit and can't name a
server."""


class HelloKind(Enum):
    """What the first bytes of a client turn out to be."""

    NOT_TLS = auto()
    NAMED = auto()
    NAMELESS = auto()
    """Asks for no server by name."""
    HIDDEN = auto()
    """May ask for another server than it names, encrypted (ECH). One that only pretends to, as
    browsers do, looks the same."""
    OTHER = auto()
    """TLS, but another message than a ClientHello."""
    MALFORMED = auto()


@attrs.frozen
class ClientHello:
    """What was read."""

    kind: HelloKind
    server_name: str = ""
    """As it was sent; empty unless `kind` is NAMED."""
    offers_early_data: bool = False
    """Whether encrypted data may follow before the server has answered."""


_MALFORMED: Final = ClientHello(HelloKind.MALFORMED)
_NOT_TLS: Final = ClientHello(HelloKind.NOT_TLS)
_OTHER: Final = ClientHello(HelloKind.OTHER)


class _MalformedError(Exception):
    """The bytes aren't a ClientHello's."""


@attrs.define(eq=False)
class ClientHelloReader:
    """Reads one hello. Give it bytes until it answers; then it has `used` so many of them."""

    used: int = attrs.field(default=0, init=False)
    """Bytes of the records that the hello is in; 0 as long as it isn't known."""
    _raw: bytearray = attrs.field(factory=bytearray, init=False)
    _next: int = attrs.field(default=0, init=False)
    """Where the record begins that isn't read yet."""
    _message: bytearray = attrs.field(factory=bytearray, init=False)

    def receive(self, data: bytes) -> ClientHello | None:
        """Take the next bytes; return what it is once that is known. Never raises."""
        self._raw += data
        if not self._raw:
            return None
        if self._raw[0] & _OLD_FLAG:
            return self._read_old()
        if self._raw[0] not in _RECORD_TYPES:
            return _NOT_TLS
        try:
            return self._read_records()
        except _MalformedError:
            return _MALFORMED

    def _read_old(self) -> ClientHello | None:
        # No protocol in use begins with fewer bytes than these and then waits for an answer.
        if len(self._raw) < _OLD_BYTES:
            return None
        kind, major, minor = self._raw[2:_OLD_BYTES]
        is_hello = kind == _CLIENT_HELLO and (major, minor) in {(0, 2), *((3, n) for n in range(5))}
        return ClientHello(HelloKind.NAMELESS) if is_hello else _NOT_TLS

    def _read_records(self) -> ClientHello | None:
        raw = self._raw
        if len(raw) > 1 and raw[1] != _VERSION_MAJOR:
            return _NOT_TLS
        while len(raw) - self._next >= HEADER_BYTES:
            start = self._next + HEADER_BYTES
            kind, major, _minor, high, low = raw[self._next : start]
            length = high << 8 | low
            # An alert before the hello is no hello, though some servers would read on.
            if kind != HANDSHAKE or major != _VERSION_MAJOR or not 0 < length <= RECORD_BYTES_MAX:
                return _MALFORMED
            if len(raw) - start < length:
                break
            self._message += raw[start : start + length]
            self._next = start + length
            known = self._read_message()
            if known is not None:
                self.used = self._next
                return known
        return _MALFORMED if len(raw) > RAW_BYTES_MAX else None

    def _read_message(self) -> ClientHello | None:
        message = self._message
        # The version behind the header is looked at too, for an encrypted message (the end of a
        # TLS 1.2 handshake that resumes a session) to be taken for a hello once in 65,536 times.
        version = message[_MESSAGE_HEADER_BYTES : _MESSAGE_HEADER_BYTES + 1]
        if message[0] != _CLIENT_HELLO or (version and version[0] != _VERSION_MAJOR):
            return _OTHER
        if len(message) < _MESSAGE_HEADER_BYTES:
            return None
        end = _MESSAGE_HEADER_BYTES + int.from_bytes(message[1:_MESSAGE_HEADER_BYTES])
        # Behind it in its record could only be a second hello that nobody has asked for yet.
        if end > HELLO_BYTES_MAX or len(message) > end:
            return _MALFORMED
        if len(message) < end:
            return None
        return _read_hello(bytes(message[_MESSAGE_HEADER_BYTES:]))


class _Fields:
    """The fields of a message, taken one after another from its start."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._data)

    def take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        if len(taken) != count:
            raise _MalformedError
        self._at += count
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size))

    def vector(self, size: int) -> bytes:
        """Take a length of `size` bytes and as many bytes as it says."""
        return self.take(self.number(size))

    def end(self) -> None:
        if not self.is_at_end:
            raise _MalformedError


def _read_hello(body: bytes) -> ClientHello:
    fields = _Fields(body)
    fields.take(2 + 32)  # version, random
    session, suites, compressions = fields.vector(1), fields.vector(2), fields.vector(1)
    if len(session) > 32 or not suites or len(suites) % 2 or not compressions:  # noqa: PLR2004 - RFC 8446, 4.1.2
        raise _MalformedError
    if fields.is_at_end:
        return ClientHello(HelloKind.NAMELESS)
    extensions = _Fields(fields.vector(2))
    fields.end()
    found: dict[int, bytes] = {}
    for kind, content in _extensions(extensions):
        if kind in found:
            raise _MalformedError
        found[kind] = content
    name = _read_server_name(found[_SERVER_NAME]) if _SERVER_NAME in found else ""
    if not _HIDING.isdisjoint(found):
        return ClientHello(HelloKind.HIDDEN)
    kind_of_hello = HelloKind.NAMED if name else HelloKind.NAMELESS
    return ClientHello(kind_of_hello, name, offers_early_data=_EARLY_DATA in found)


def _extensions(fields: _Fields) -> Iterator[tuple[int, bytes]]:
    while not fields.is_at_end:
        kind = fields.number(2)
        yield kind, fields.vector(2)


def _read_server_name(content: bytes) -> str:
    """Return the one host name of the extension: RFC 6066, section 3."""
    fields = _Fields(content)
    names = _Fields(fields.vector(2))
    fields.end()
    kind, name = names.number(1), names.vector(2)
    # More than one has been forbidden ever since, and servers differ in which they take.
    names.end()
    if kind != 0 or not name or not name.isascii():
        raise _MalformedError
    return name.decode("ascii")
