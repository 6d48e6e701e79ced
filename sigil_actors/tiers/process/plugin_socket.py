"""Connects to where a plugin listens, without being led anywhere else.

A plugin says where it listens, and may have put a link there: one to a socket of the host's own
would turn the host into its errand boy. So the way is walked by descriptors, no link is followed,
and what lies at its end must be a socket that belongs to the plugin.
"""

import errno
import os
import socket
import stat
from pathlib import PurePosixPath

import trio

from sigil_actors.core.handshake import Network, address_problem
from sigil_actors.tiers.process.program import RunningProgram

DEPTH_MAX = 8
"""Folders below the instance's own; go-plugin makes none."""

RETRY_S = 0.01
"""Seconds until it is tried again where the plugin has more connections waiting than it takes."""


class PluginAddressError(Exception):
    """The address is none that this plugin may listen at, or nobody listens there. Says which."""


async def dial(program: RunningProgram, network: str, address: str) -> socket.socket:
    """Return a connected, non-blocking socket to where the plugin says that it listens.

    Raises:
        PluginAddressError: it may not listen there, or doesn't.
    """
    folder = PurePosixPath(program.socket_dir)
    if problem := address_problem(network, address, socket_dir=folder):
        raise PluginAddressError(problem)
    if network == Network.UNIX:
        return await _dial_unix(program, address)
    try:
        return await program.connect_tcp(int(address.rpartition(":")[2]))
    except OSError as error:
        raise PluginAddressError(f"nobody listens at {address!r}: {_words(error)}") from error


async def _dial_unix(program: RunningProgram, address: str) -> socket.socket:
    found = _open_socket(program, address)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.setblocking(False)
            await _connect(connection, found, address)
        except BaseException:
            connection.close()
            raise
        return connection
    finally:
        os.close(found)


async def _connect(connection: socket.socket, found: int, address: str) -> None:
    while True:
        try:
            # By its descriptor, so that it is what was looked at and nothing put in its place.
            connection.connect(f"/proc/self/fd/{found}")
        except BlockingIOError:
            # Unlike for TCP, nothing was begun; the caller's deadline ends this.
            await trio.sleep(RETRY_S)
        except OSError as error:
            raise PluginAddressError(f"nobody listens at {address!r}: {_words(error)}") from error
        else:
            return


def _open_socket(program: RunningProgram, address: str) -> int:
    """Return a descriptor of the socket's file; the caller closes it."""
    parts = PurePosixPath(address).relative_to(program.socket_dir).parts
    if len(parts) > DEPTH_MAX:
        raise PluginAddressError(f"{address!r} is more than {DEPTH_MAX} folders deep")
    try:
        current = os.open(program.socket_dir, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        for part in parts[:-1]:
            current = _step(current, part, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
        current = _step(current, parts[-1], os.O_PATH | os.O_NOFOLLOW)
    except OSError as error:
        what = (
            "a link is in the way" if error.errno in (errno.ELOOP, errno.ENOTDIR) else _words(error)
        )
        raise PluginAddressError(f"can't open {address!r}: {what}") from error
    try:
        _check(os.fstat(current), program, address)
    except BaseException:
        os.close(current)
        raise
    return current


def _step(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(name, flags, dir_fd=folder)
    finally:
        os.close(folder)


def _check(found: os.stat_result, program: RunningProgram, address: str) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise PluginAddressError(f"{address!r} is a link, which isn't followed")
    if not stat.S_ISSOCK(found.st_mode):
        raise PluginAddressError(f"{address!r} is no socket")
    if found.st_uid != program.socket_uid:
        raise PluginAddressError(
            f"the socket {address!r} belongs to the uid {found.st_uid}, not to the plugin's"
            f" ({program.socket_uid})"
        )


def _words(error: OSError) -> str:
    return error.strerror or type(error).__name__
