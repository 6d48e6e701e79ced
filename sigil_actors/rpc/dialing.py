"""How a client reaches a server: by an address, or by a socket that is connected already."""

import errno
import os
import socket
from typing import Final, TypeAlias

import trio

Address: TypeAlias = str | socket.socket


async def connect(address: Address) -> socket.socket:
    """Return a connected socket: `unix:PATH`, `HOST:PORT` with a literal address, or one as it is.

    Raises:
        OSError: nobody listens there.
    """
    if isinstance(address, socket.socket):
        return address
    target: str | tuple[str, int]
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX)
        target = address.removeprefix("unix:")
    else:
        host, _, port = address.rpartition(":")
        is_six = ":" in host
        sock = socket.socket(socket.AF_INET6 if is_six else socket.AF_INET)
        target = (host.strip("[]"), int(port))
    try:
        sock.setblocking(False)
        error = await _connected(sock, target)
    except BaseException:
        sock.close()
        raise
    if error:
        sock.close()
        raise OSError(error, os.strerror(error), address)
    return sock


async def _connected(sock: socket.socket, target: str | tuple[str, int]) -> int:
    """Connect; return the number of the error, 0 for none."""
    # A unix socket whose queue is full says so, and nothing tells when there is room.
    while (error := sock.connect_ex(target)) == errno.EAGAIN:  # noqa: ASYNC110
        await trio.sleep(_BUSY_LISTENER_S)
    if error != errno.EINPROGRESS:
        return error
    await trio.lowlevel.wait_writable(sock)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


_BUSY_LISTENER_S: Final = 0.01
