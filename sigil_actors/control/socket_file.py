"""The control socket as a file: where it lies, who may use it, who is at the other end."""

import os
import socket
import stat
import struct
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Protocol

from sigil_actors.errors import SigilError

FOLDER_NAME = "control"
SOCKET_NAME = "socket"

_PATH_BYTES_MAX = 100
"""Of a socket's address: the kernel takes 107 on Linux, 103 on macOS."""

_QUEUE = 64
"""Clients that wait to be accepted."""


class ControlSocketError(SigilError):
    """The control socket can't be made."""


class SupervisorUnreachableError(SigilError):
    """A supervisor's socket is there, but it can't be asked."""


def socket_path(state: Path) -> Path:
    """Return where the socket of the supervisor with that state folder lies."""
    return state / FOLDER_NAME / SOCKET_NAME


@contextmanager
def listening_socket(state: Path) -> Generator[socket.socket]:
    """Listen in a state folder that the caller holds, for as long as the block lasts.

    Should the folder have another holder by the end, that one's socket is left alone.

    Raises:
        ControlSocketError: the socket can't be made there.
    """
    path = socket_path(state)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        ours = _listen(listener, path)
        try:
            yield listener
        finally:
            with suppress(OSError):
                if os.path.samestat(path.lstat(), ours):
                    path.unlink()
    finally:
        listener.close()


def _listen(listener: socket.socket, path: Path) -> os.stat_result:
    """Have `listener` listen at a path; return which file that is."""
    try:
        _make_private(path.parent)
        # Left behind by a supervisor that was killed: the state folder is ours alone now.
        path.unlink(missing_ok=True)
        with _short_address(path) as address:
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(_QUEUE)
        listener.setblocking(False)
        return path.lstat()
    except OSError as error:
        raise ControlSocketError(
            f"the control socket {path} can't be made: {error.strerror or error}",
            remedy="Look at the rights of its folder, or name another state folder",
        ) from error


def connected_socket(state: Path) -> socket.socket | None:
    """Connect to the supervisor with that state folder; None where none is listening.

    Raises:
        SupervisorUnreachableError: it may not be used, or takes nobody.
    """
    path = socket_path(state)
    with ExitStack() as on_failure:
        client = on_failure.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        client.setblocking(False)
        try:
            with _short_address(path) as address:
                client.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise SupervisorUnreachableError(
                f"the supervisor at {path} can't be reached: {error.strerror or error}",
                remedy="Look whether it still works, and at the rights of its folder",
            ) from error
        if not is_ours(client):
            raise SupervisorUnreachableError(
                f"whoever listens at {path} is another user",
                remedy="Name the state folder of a supervisor of your own",
            )
        on_failure.pop_all()
        return client


class Connection(Protocol):
    """A socket of the standard library or of trio, as far as its other end is asked for."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes:
        """Return an option's value."""


def peer_uid(connection: Connection) -> int | None:
    """Return the user at the other end, as the kernel says; None where it doesn't."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return None
    credentials = connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("iII"))
    uid: int = struct.unpack("iII", credentials)[1]
    return uid


def is_ours(connection: Connection) -> bool:
    """Tell whether the other end is this user or root."""
    return peer_uid(connection) in {os.getuid(), 0}


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ControlSocketError(
            f"{folder} is not a folder of this user",
            remedy="Remove it, or name another state folder",
        )
    # It may be older than this rule.
    folder.chmod(0o700)


@contextmanager
def _short_address(path: Path) -> Generator[str]:
    """Give an address of the socket that fits the kernel's bound, however long its path is."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
