"""The folder in which a runtime keeps its state, held by one runtime at a time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.errors import SigilError

_REMOVE_S = 30.0
"""What removing snapshots may take; they are bounded, and removing local files ends."""


class StateFolderError(SigilError):
    """The state folder can't be used."""


@attrs.frozen(kw_only=True)
class StateFolder:
    """Where things are kept while a runtime runs."""

    kv: Path | None
    """The folder of the key-value store; None where nothing is to be kept."""
    snapshots: Path
    """An empty folder that is removed when the runtime ends."""


@asynccontextmanager
async def open_state_folder(folder: Path | None) -> AsyncGenerator[StateFolder]:
    """Hold `folder` for as long as the block lasts; None is a temporary one that keeps nothing.

    Raises:
        StateFolderError: it can't be made or written, or another runtime holds it.
    """
    if folder is None:
        temporary = Path(await trio.to_thread.run_sync(_temporary))
        try:
            yield StateFolder(kv=None, snapshots=temporary)
        finally:
            await _removed(temporary)
        return
    lock = await trio.to_thread.run_sync(_hold, folder)
    try:
        snapshots = folder / "snapshots"
        yield StateFolder(kv=folder, snapshots=snapshots)
    finally:
        await _removed(folder / "snapshots")
        os.close(lock)


def _temporary() -> str:
    return tempfile.mkdtemp(prefix="sigil-actors-")


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
        shutil.rmtree(folder / "snapshots", ignore_errors=True)
        (folder / "snapshots").mkdir(mode=0o755)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(lock)
        raise StateFolderError(
            f"the state folder {folder} is used by another runtime (process {holder})",
            remedy="Stop that one, or name another state folder",
        ) from None
    except OSError as error:
        os.close(lock)
        raise StateFolderError(
            f"the state folder {folder} can't be used: {error.strerror}",
            remedy="Name a folder that the user who runs the host can write",
        ) from error
    return lock


async def _removed(folder: Path) -> None:
    # Shielded, so that a cancelled runtime leaves no copies of plugins behind.
    with trio.move_on_after(_REMOVE_S, shield=True):
        await trio.to_thread.run_sync(lambda: shutil.rmtree(folder, ignore_errors=True))
