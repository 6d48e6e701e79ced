"""Holds what a client sends into a tunnel against the name that the tunnel was opened for.

Owns when bytes may pass: none of a TLS hello before it is known to ask for that very server, not in
the first hello and not in the second, which a server may ask for (RFC 8446, section 4.1.4) and
whose name would be the one that counts.
"""

from typing import Final

import attrs

from sigil_actors.core.client_hello import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEADER_BYTES,
    ClientHello,
    ClientHelloReader,
    HelloKind,
)
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import CanonicalHost, HostError, canonical_host

_REASONS: Final = {
    HelloKind.NAMELESS: EgressReason.SERVER_NAME_MISSING,
    HelloKind.HIDDEN: EgressReason.SERVER_NAME_HIDDEN,
    HelloKind.OTHER: EgressReason.MALFORMED_HELLO,
    HelloKind.MALFORMED: EgressReason.MALFORMED_HELLO,
    HelloKind.NOT_TLS: EgressReason.MALFORMED_HELLO,  # behind a hello, where TLS has to go on
}


class ServerNameError(Exception):
    """The bytes may not pass: `reason` says why, `seen` which server they ask for."""

    def __init__(self, reason: EgressReason, seen: str = "") -> None:
        self.reason = reason
        self.seen = seen
        super().__init__(reason)


@attrs.define(eq=False)
class ServerNameGuard:
    """Stands in a tunnel from a client to `host` until there is nothing more to be checked."""

    host: CanonicalHost
    is_done: bool = attrs.field(default=False, init=False)
    """Whether everything further may pass as it is."""
    _reader: ClientHelloReader | None = attrs.field(factory=ClientHelloReader, init=False)
    """Of the hello that may be under way; None between records of other kinds."""
    _held: bytearray = attrs.field(factory=bytearray, init=False)
    _passing: int = attrs.field(default=0, init=False)
    """Bytes to come of a record that isn't looked into."""
    _is_first: bool = attrs.field(default=True, init=False)
    _skips_data: bool = attrs.field(default=False, init=False)
    """Whether a second hello may follow encrypted data."""

    @property
    def is_holding(self) -> bool:
        """Tell whether bytes are kept back until more of them come."""
        return bool(self._held)

    def receive(self, data: bytes) -> bytes:
        """Take the next bytes from the client; return those that may pass now.

        Raises:
            ServerNameError: they may not, and the connection is at its end.
        """
        passed = bytearray()
        while not self.is_done and data:
            if self._reader is not None:
                data = self._read_hello(self._reader, data, passed)
            elif self._passing:
                passed += data[: self._passing]
                rest = data[self._passing :]
                self._passing = max(0, self._passing - len(data))
                data = rest
            else:
                data = self._read_header(data, passed)
        return bytes(passed) + data

    def _read_hello(self, reader: ClientHelloReader, data: bytes, passed: bytearray) -> bytes:
        """Give the bytes to the reader; return what comes behind its hello."""
        self._held += data
        hello = reader.receive(data)
        if hello is None:
            return b""
        held = bytes(self._held)
        self._held.clear()
        if self._is_harmless(hello):
            self.is_done = True
            return held
        self._check(hello)
        passed += held[: reader.used]
        self._skips_data = hello.offers_early_data
        self._reader = None
        if self._is_first:
            self._is_first = False
        else:
            # No server asks for a third.
            self.is_done = True
        return held[reader.used :]

    def _is_harmless(self, hello: ClientHello) -> bool:
        """Tell whether these bytes can't ask for a server at all."""
        if self._is_first:
            return hello.kind is HelloKind.NOT_TLS
        return hello.kind is HelloKind.OTHER

    def _check(self, hello: ClientHello) -> None:
        if hello.kind is HelloKind.NAMED:
            try:
                named = canonical_host(hello.server_name)
            except HostError:
                named = None
            if named != self.host:
                raise ServerNameError(EgressReason.SERVER_NAME_DIFFERS, hello.server_name)
        elif hello.kind is not HelloKind.NAMELESS or not self.host.is_address:
            # To an address, asking for no name is what RFC 6066 wants.
            raise ServerNameError(_REASONS[hello.kind])

    def _read_header(self, data: bytes, passed: bytearray) -> bytes:
        """Look at the next record behind a first hello: may it be, or precede, a second one?"""
        missing = HEADER_BYTES - len(self._held)
        self._held += data[:missing]
        kind = self._held[0]
        if kind == HANDSHAKE:
            held = bytes(self._held)
            self._held.clear()
            self._reader = ClientHelloReader()
            return held + data[missing:]
        if kind not in (CHANGE_CIPHER_SPEC, ALERT) and not (
            kind == APPLICATION_DATA and self._skips_data
        ):
            # Encrypted data, or no TLS at all: no server takes a hello behind it.
            self.is_done = True
        elif len(self._held) == HEADER_BYTES:
            self._passing = int.from_bytes(self._held[3:HEADER_BYTES])
        else:
            return b""
        passed += self._held
        self._held.clear()
        return data[missing:]
