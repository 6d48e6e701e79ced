"""The folder in which a runtime keeps its state, held by one runtime at a time."""

import fcntl
import os
import shutil
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sigil_actors.errors import StateFolderError, StateFolderHeldError
from sigil_actors.storage.temporary_folder import (
    TemporaryFolder,
    make_temporary_folder,
    sweep_temporary_folders,
)

_SNAPSHOTS = "snapshots"
_PREFIX = "sigil-snapshots-"
"""Of folders for snapshots that aren't in a state folder; what a killed runtime left is swept."""

_REMOVE_S = 30.0
"""What removing snapshots may take; they are bounded, and removing local files ends."""


class StateFolder:
    """Where things are kept while a runtime runs."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._snapshots: Path | None = None
        self._reachable: TemporaryFolder | None = None
        self._making = threading.Lock()

    @property
    def kv(self) -> Path | None:
        """Return the folder of the key-value store; None where nothing is to be kept."""
        return self._folder

    @property
    def approvals(self) -> Path | None:
        """Return the folder of what was approved; None where nothing is to be kept."""
        return None if self._folder is None else self._folder / "approvals"

    @property
    def proofs(self) -> Path | None:
        """Return the folder of the proofs of sandboxes, or None: then they live in memory."""
        return None if self._folder is None else self._folder / "sandbox-proofs"

    def snapshots(self) -> Path:
        """Return the folder for snapshots; it is made on first use, and removed at the end.

        Blocks: without a state folder, what killed runtimes left is swept first. Any thread.
        """
        with self._making:
            return self._made()

    def _made(self) -> Path:
        if self._snapshots is None:
            if self._folder is None:
                sweep_temporary_folders(_PREFIX, _remove_tree)
                self._snapshots = self._reachable_folder()
            elif os.geteuid() == 0:
                # Plugins that run as somebody else can't pass through a state folder, which is
                # private, nor through a home above it.
                self._snapshots = self._reachable_folder()
                (self._folder / _SNAPSHOTS).symlink_to(self._snapshots)
            else:
                self._snapshots = self._folder / _SNAPSHOTS
                self._snapshots.mkdir(mode=0o755, exist_ok=True)
        return self._snapshots

    async def remove_snapshots(self) -> None:
        """Remove what is left of them."""
        folder = self._snapshots
        if folder is not None:
            # Shielded, so that a cancelled runtime leaves no copies of plugins behind.
            with trio.move_on_after(_REMOVE_S, shield=True):
                if self._reachable is not None:
                    await trio.to_thread.run_sync(self._reachable.release, _remove_tree)
                if self._folder is not None:
                    await trio.to_thread.run_sync(_remove_snapshots, self._folder)

    def _reachable_folder(self) -> Path:
        self._reachable = make_temporary_folder(_PREFIX)
        return self._reachable.path


def _remove_tree(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _remove_snapshots(state: Path) -> None:
    """Remove what an earlier runtime left in a state folder; where a link leads is swept."""
    snapshots = state / _SNAPSHOTS
    if snapshots.is_symlink():
        snapshots.unlink()
    else:
        _remove_tree(snapshots)


@asynccontextmanager
async def open_state_folder(folder: Path | None) -> AsyncGenerator[StateFolder]:
    """Hold `folder` for as long as the block lasts; None is a temporary one that keeps nothing.

    Raises:
        StateFolderError: it can't be made or written, or another runtime holds it.
    """
    lock = None if folder is None else await trio.to_thread.run_sync(_hold, folder)
    state = StateFolder(folder)
    try:
        yield state
    finally:
        await state.remove_snapshots()
        if lock is not None:
            os.close(lock)


def _hold(folder: Path) -> int:
    """Make the folder, lock it and empty it of an earlier runtime's snapshots."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        lock = os.open(folder / "runtime.lock", flags, 0o600)
    except OSError as error:
        raise StateFolderError(
            f"the state folder {folder} can't be used: {error.strerror}",
            remedy="Name a folder that the user who runs the host can write",
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Left behind by a runtime that was killed: nobody else can hold the lock now.
        _remove_snapshots(folder)
        sweep_temporary_folders(_PREFIX, _remove_tree)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StateFolderHeldError(str(folder), holder=holder) from None
    except OSError as error:
        os.close(lock)
        raise StateFolderError(
            f"the state folder {folder} can't be used: {error.strerror}",
            remedy="Name a folder that the user who runs the host can write",
        ) from error
    return lock
