"""The folders in which plugins and host listen for each other, one for each instance.

They lie in one short folder of a runtime's own below the system's temporary one (a socket's path
has 107 characters at most).
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.storage.temporary_folder import make_temporary_folder, sweep_temporary_folders
from sigil_actors.tiers.process.removal import remove_folder
from sigil_actors.tiers.process.spawner import Identity

PREFIX = "sigil-run-"

HOST_FOLDER = "host"
"""Below an instance's folder: where the host listens. Only the host may write in it."""

REMOVE_S = 5.0
"""Seconds that removing a folder is waited for; a plugin may have filled it with a million files.
The thread goes on with it by itself."""


@attrs.frozen(kw_only=True)
class SocketDir:
    """One instance's folder."""

    path: Path
    """The instance's own: mode 0700, and it belongs to whom the instance runs as."""
    host_path: Path
    host_folder: int
    """The descriptor of `host_path`: by its path, the instance might lead the host elsewhere."""
    is_shared: bool
    """Whether the instance runs as somebody else than the host."""


class SocketDirs:
    """Makes the folders of one runtime."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made = 0

    @asynccontextmanager
    async def open(self, identity: Identity | None) -> AsyncGenerator[SocketDir, None]:
        """Give a fresh folder; it is gone, with all that is in it, when the block is left."""
        self._made += 1
        path = self._folder / str(self._made)
        try:
            made = _make(path, identity)
            try:
                yield made
            finally:
                os.close(made.host_folder)
        finally:
            await _remove(path)


def _make(path: Path, identity: Identity | None) -> SocketDir:
    host_path = path / HOST_FOLDER
    path.mkdir(0o700)
    host_path.mkdir(0o700)
    host_folder = os.open(host_path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if identity is not None:
        # To be passed through; the mode of each socket in it says who may connect.
        os.fchmod(host_folder, 0o711)
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
    return SocketDir(
        path=path,
        host_path=host_path,
        host_folder=host_folder,
        is_shared=identity is not None,
    )


async def _remove(folder: Path) -> None:
    # Shielded, since nobody else would remove it while this runtime lives.
    with trio.move_on_after(REMOVE_S, shield=True):
        await run_in_worker(lambda: remove_folder(folder))


@asynccontextmanager
async def open_socket_dirs() -> AsyncGenerator[SocketDirs, None]:
    """Own a folder for sockets as long as the block lasts; sweep those whose owner was killed."""
    folder = make_temporary_folder(PREFIX)
    try:
        async with open_bare_nursery() as nursery:
            # Beside whatever is started: what others left is in nobody's way.
            nursery.start_soon(_sweep)
            yield SocketDirs(folder.path)
    finally:
        # As above.
        with trio.move_on_after(REMOVE_S, shield=True):
            await run_in_worker(partial(folder.release, remove_folder))


@trio.lowlevel.enable_ki_protection
async def _sweep() -> None:
    await run_in_worker(partial(sweep_temporary_folders, PREFIX, remove_folder))
