"""Where the host listens for one plugin: in the part of its folder that only the host writes in."""

import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from sigil_actors.tiers.process.socket_dir import SocketDir
from sigil_actors.tiers.remote.broker import Listening

BACKLOG = 16
"""Connections that may wait; a plugin makes one or two."""


def listen_at(folder: SocketDir, name: str) -> tuple[socket.socket, Path]:
    """Return a listening, non-blocking socket, and the path by which the plugin reaches it.

    Raises:
        OSError: there is something of that name.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # By the folder's descriptor: what its path leads to is the plugin's to change.
        listener.bind(f"/proc/self/fd/{folder.host_folder}/{name}")
        if folder.is_shared:
            # Only the plugin comes as far as this folder, and it has another uid.
            os.chmod(name, 0o666, dir_fd=folder.host_folder)  # noqa: S103 - see above
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener, folder.host_path / name


@asynccontextmanager
async def open_listening(folder: SocketDir, name: str) -> AsyncGenerator[Listening, None]:
    """Listen for as long as the block lasts; nothing is left of it then.

    Raises:
        OSError: on entering; there is something of that name.
    """
    listener, path = listen_at(folder, name)
    try:
        yield Listening(socket=listener, network="unix", address=str(path))
    finally:
        listener.close()
        with suppress(OSError):
            os.unlink(name, dir_fd=folder.host_folder)
