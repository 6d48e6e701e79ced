"""A server: accepts connections and runs the handlers that generated code registers."""

import errno
import logging
import os
import socket
import ssl
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import attrs
import trio

from sigil_actors.rpc.held_bytes import HeldBytes
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.messages import MESSAGE_BYTES_MAX
from sigil_actors.rpc.server_call import MethodHandler
from sigil_actors.rpc.server_connection import ServerConnection
from sigil_actors.rpc.session import Keepalive
from sigil_actors.rpc.status import Metadata
from sigil_actors.rpc.transport import Transport

_LOG = logging.getLogger(__name__)


class CallDetails(NamedTuple):
    """What generic handlers choose a method's handler by."""

    method: str
    invocation_metadata: Metadata


class GenericHandler(Protocol):
    """What generated code registers for a service; `grpc.GenericRpcHandler` is one."""

    def service(self, handler_call_details: Any, /) -> Any:
        """Return the handler of the method, or None."""


@attrs.frozen(kw_only=True)
class ServerBounds:
    """What clients of a server may do, each with its reason."""

    connections_max: int = 64
    """At a time; more are closed at once. A host has one or two to its plugin."""
    message_max: int = MESSAGE_BYTES_MAX
    """Bytes of a request's message: gRPC's own default."""
    send_max: int = 64 * 1024 * 1024
    """Bytes of an answer's message: a bug of a handler, not a plan."""
    held_max: int = 64 * 1024 * 1024
    """Bytes of messages at a time, of all clients: requests that aren't answered, answers that
    aren't taken. What is over it is refused. Without it, the numbers above allow gigabytes."""
    stall_s: float = 30.0
    """Seconds that a finished call waits for its client to read the rest."""
    handshake_s: float = 10.0
    """Seconds for TLS to agree, and again for the client's first frame."""


class Server:
    """The methods that are served, and to whom.

    Pass it to the `add_…Servicer_to_server` functions that grpcio-tools generates; the methods of
    the servicer are asynchronous: coroutines, or asynchronous generators where they stream.
    """

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
        bounds: ServerBounds | None = None,
        keepalive: Keepalive | None = None,
    ) -> None:
        self.tls = tls
        self.limits = limits
        self.bounds = bounds or ServerBounds()
        self.keepalive = keepalive
        self.connections: set[ServerConnection] = set()
        self.held = HeldBytes(self.bounds.held_max)
        self._generic: list[GenericHandler] = []
        self._methods: dict[str, MethodHandler] = {}
        self._is_draining = False

    # What generated code calls.

    def add_generic_rpc_handlers(self, handlers: Iterable[GenericHandler]) -> None:
        """Serve what these choose."""
        self._generic.extend(handlers)

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, MethodHandler]
    ) -> None:
        """Serve the methods of a service by their names."""
        for name, handler in handlers.items():
            self._methods[f"/{service}/{name}"] = handler

    def find(self, method: str, metadata: Metadata) -> MethodHandler | None:
        """Return the handler of a method, or None."""
        handler = self._methods.get(method)
        if handler is not None:
            return handler
        details = CallDetails(method, metadata)
        for generic in self._generic:
            found: MethodHandler | None = generic.service(details)
            if found is not None:
                return found
        return None

    async def serve_connection(self, sock: socket.socket) -> None:
        """Serve one connected socket until it ends; closes it."""
        try:
            transport = Transport(sock, self.tls, is_server=True)
        except OSError as error:
            sock.close()
            _LOG.info("a connection ended before it began: %s", error)
            return
        except BaseException:
            sock.close()
            raise
        try:
            try:
                await transport.handshake(self.bounds.handshake_s)
            except OSError as error:
                _LOG.info("a connection ended in its TLS handshake: %s", error)
                return
            async with trio.open_nursery() as nursery:
                connection = ServerConnection(self, transport, nursery)
                self.connections.add(connection)
                try:
                    nursery.start_soon(connection.keep_writing)
                    nursery.start_soon(connection.keep_flushing)
                    nursery.start_soon(connection.keep_alive)
                    nursery.start_soon(connection.expect_settings, self.bounds.handshake_s)
                    await connection.read()
                finally:
                    self.connections.discard(connection)
                    connection.end()
                    nursery.cancel_scope.cancel()
        finally:
            transport.close()

    async def serve(self, listener: socket.socket) -> None:
        """Accept connections until cancelled; the listener stays the caller's."""
        listener.setblocking(False)
        async with trio.open_nursery() as nursery:
            while True:
                sock = await _accept(listener)
                if self._is_draining or len(nursery.child_tasks) >= self.bounds.connections_max:
                    sock.close()
                    continue
                nursery.start_soon(self.serve_connection, sock)

    async def drain(self, grace_s: float) -> None:
        """Take no more connections and calls; hang up where those in flight are over.

        Returns when all are, or after the grace: what then remains is up to whoever runs `serve`.
        """
        self._is_draining = True
        with trio.move_on_after(grace_s):
            async with trio.open_nursery() as nursery:
                for connection in self.connections:
                    nursery.start_soon(connection.drain)


_ACCEPT_AGAIN_S: Final = 0.05
_OUT_OF_SOMETHING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        try:
            return listener.accept()[0]
        except BlockingIOError:
            await trio.lowlevel.wait_readable(listener)
        except OSError as error:
            if error.errno in _OUT_OF_SOMETHING:
                await trio.sleep(_ACCEPT_AGAIN_S)
            elif error.errno != errno.ECONNABORTED:
                raise


def listen_unix(path: Path | str) -> socket.socket:
    """Return a listening socket at the path, for its owner alone.

    Raises:
        OSError: there is something at the path already, or no folder to put it in.
    """
    listener = socket.socket(socket.AF_UNIX)
    try:
        before = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(before)
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


def listen_loopback(port: int = 0) -> socket.socket:
    """Return a socket that listens on 127.0.0.1; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


_BACKLOG: Final = 64


@asynccontextmanager
async def open_server(server: Server, listener: socket.socket) -> AsyncGenerator[Server]:
    """Serve for as long as the block lasts; closes the listener. Calls in flight are cut off."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve, listener)
            try:
                yield server
            finally:
                nursery.cancel_scope.cancel()
    finally:
        listener.close()
