"""Where a plugin listens: at a socket in the folder that its host made for it."""

import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

from sigil_actors.rpc.server import listen_unix


@attrs.frozen(kw_only=True)
class Listening:
    """A listening socket, and how the handshake names it."""

    socket: socket.socket
    network: str
    address: str


@contextmanager
def listening(folder: Path | None) -> Iterator[Listening]:
    """Listen for as long as the block lasts; in a folder of one's own where the host gave none.

    Raises:
        OSError: there is no such folder, or it can't be written.
    """
    own = Path(tempfile.mkdtemp(prefix="plugin")) if folder is None else None
    path = (folder or own or Path()) / f"plugin{secrets.token_hex(6)}.sock"
    try:
        listener = listen_unix(path)
        try:
            yield Listening(socket=listener, network="unix", address=str(path))
        finally:
            listener.close()
            path.unlink(missing_ok=True)
    finally:
        if own is not None:
            shutil.rmtree(own, ignore_errors=True)


def write_handshake(line: str, descriptor: int) -> None:
    """Write the line that the host waits for, before whatever was printed and not yet written."""
    data = line.encode() + b"\n"
    while data:
        data = data[os.write(descriptor, data) :]
