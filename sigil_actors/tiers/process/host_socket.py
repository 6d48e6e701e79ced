"""Where the host listens for one plugin: in the part of its folder that only the host writes in."""

import os
import socket
from pathlib import Path

from sigil_actors.tiers.process.socket_dir import SocketDir

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
