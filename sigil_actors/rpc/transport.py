"""A socket with TLS or without: bytes go out at once as far as they can, and come in when they do.

Sending is synchronous, so that a cancellation never cuts a frame in two: what the socket doesn't
take stays here, and a task of the session's brings it out.
"""

import errno
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import trio

READ_BYTES: Final = 65_536
"""One read's worth: four of HTTP/2's frames."""

STALL_S: Final = 60.0
"""Then a peer whose socket takes not a single byte is given up. Whoever speaks HTTP/2 reads its
socket, however slow its application is; only one that is stopped, or hostile, doesn't."""


class Transport:
    """One connected socket; it owns it."""

    def __init__(
        self,
        sock: socket.socket,
        tls: ssl.SSLContext | None,
        *,
        is_server: bool,
        server_hostname: str | None = None,
    ) -> None:
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.is_dead = False
        """Nothing more is sent: the socket failed, or its session is over."""
        self._unsent = b""
        self._has_unsent = trio.Event()
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._from_peer = ssl.MemoryBIO()
            self._to_peer = ssl.MemoryBIO()
            self._tls = tls.wrap_bio(
                self._from_peer,
                self._to_peer,
                server_side=is_server,
                server_hostname=None if is_server else server_hostname,
            )

    @property
    def is_blocked(self) -> bool:
        """Whether the socket takes nothing more for now."""
        return bool(self._unsent)

    def send(self, data: bytes) -> None:
        """Send, as far as it goes.

        An error isn't told here: the reader is woken and meets the end, after what came before it.
        By itself it would not, where the peer has only stopped reading.
        """
        if self._tls is None:
            self._write(data)
            return
        try:
            self._tls.write(data)
        except ssl.SSLError:
            self.stop()
            return
        self._write(self._to_peer.read())

    def _write(self, data: bytes) -> None:
        if self.is_dead:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.stop()
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._has_unsent.set()

    async def keep_sending(self, when_sent: Callable[[], None]) -> None:
        """Bring out what the socket didn't take; call `when_sent` each time that all of it left."""
        while True:
            await self._has_unsent.wait()
            self._has_unsent = trio.Event()
            while self._unsent and not self.is_dead:
                try:
                    with trio.move_on_after(STALL_S) as scope:
                        await trio.lowlevel.wait_writable(self.sock)
                    if scope.cancelled_caught:
                        raise TimeoutError
                    sent = self.sock.send(self._unsent)
                except BlockingIOError:
                    continue
                except (OSError, trio.ClosedResourceError):
                    self.stop()
                    self._unsent = b""
                    break
                self._unsent = self._unsent[sent:]
                if not self._unsent:
                    when_sent()

    async def receive(self) -> bytes:
        """Return what came; nothing at the end, however that came about."""
        if self._tls is None:
            return await self._receive()
        plain: list[bytes] = []
        while True:
            try:
                while piece := self._tls.read(READ_BYTES):
                    plain.append(piece)
                    self._answer()
                return b"".join(plain)  # the peer said goodbye
            except ssl.SSLWantReadError:
                self._answer()
                if plain:
                    return b"".join(plain)
                raw = await self._receive()
                if not raw:
                    return b""
                self._from_peer.write(raw)
            except ssl.SSLError:
                self._answer()
                return b"".join(plain)

    def _answer(self) -> None:
        """Send what TLS itself has to say, as to a change of keys."""
        if self._to_peer.pending:
            self._write(self._to_peer.read())

    async def _receive(self) -> bytes:
        while True:
            try:
                return self.sock.recv(READ_BYTES)
            except BlockingIOError:
                try:
                    await trio.lowlevel.wait_readable(self.sock)
                except (OSError, trio.ClosedResourceError):
                    return b""
            except OSError:
                return b""

    async def handshake(self, timeout_s: float) -> None:
        """Agree on TLS and on HTTP/2; nothing happens without TLS.

        Raises:
            OSError: the peer can't be trusted, doesn't speak HTTP/2, went away, or took too long.
                `ssl.SSLError` is one.
        """
        if self._tls is None:
            return
        with trio.move_on_after(timeout_s) as scope:
            await self._shake_hands(self._tls)
        if scope.cancelled_caught:
            raise TimeoutError(errno.ETIMEDOUT, "the TLS handshake took too long")
        if self._tls.selected_alpn_protocol() not in ("h2", None):
            raise ConnectionError("the peer did not select h2")

    async def _shake_hands(self, tls: ssl.SSLObject) -> None:
        while True:
            try:
                tls.do_handshake()
            except ssl.SSLWantReadError:
                self._answer()
                raw = await self._receive()
                if not raw:
                    raise ConnectionError("connection closed during the TLS handshake") from None
                self._from_peer.write(raw)
            except ssl.SSLError:
                self._answer()  # the alert that says why
                raise
            else:
                self._answer()
                return

    def stop(self) -> None:
        """Wake the reader with the end, and send nothing more."""
        self.is_dead = True
        with suppress(OSError):  # the peer was first
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the socket."""
        self.is_dead = True
        trio.lowlevel.notify_closing(self.sock)
        self.sock.close()
