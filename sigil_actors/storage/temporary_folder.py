"""Temporary folders that don't outlive their owner: the next runtime sweeps what a killed one left.

The owner holds a lock on the folder itself. What may be removed carries a mark: a folder that only
has such a name is its user's own. Between a folder's making and its mark it is empty, and an empty
one is no loss; the mark is what is removed last. So a kill at any moment leaves what can be swept.
"""

import fcntl
import os
import stat
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs

MARK = ".made-by-sigil-actors"

Remove = Callable[[Path], object]
"""Removes a folder with all that is in it; leaves what it can't remove."""


@attrs.frozen(kw_only=True)
class TemporaryFolder:
    """A folder that is held."""

    path: Path
    lock: int

    def release(self, remove: Remove) -> None:
        """Remove it, with all that is in it."""
        try:
            _remove(self.path, remove)
        finally:
            os.close(self.lock)


def make_temporary_folder(prefix: str) -> TemporaryFolder:
    """Make and hold one that others may pass through, by names that they are told, but not list.

    Raises:
        OSError: there is no place for one.
    """
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix))
        # Another runtime's sweep may have come between, and may have removed it.
        with suppress(FileNotFoundError):
            if (lock := _lock(path)) is not None:
                try:
                    (path / MARK).touch(0o600)
                    path.chmod(0o711)
                except BaseException:
                    os.close(lock)
                    raise
                return TemporaryFolder(path=path, lock=lock)


def sweep_temporary_folders(prefix: str, remove: Remove) -> None:
    """Remove those that nobody holds any more."""
    for path in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            if (lock := _lock(path)) is not None:
                try:
                    _sweep(path, remove)
                finally:
                    os.close(lock)


def _lock(path: Path) -> int | None:
    """Return the descriptor that holds a folder, or None where another has it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _sweep(path: Path, remove: Remove) -> None:
    if path.lstat().st_uid != os.geteuid():
        return
    try:
        is_marked = stat.S_ISREG((path / MARK).lstat().st_mode)
    except FileNotFoundError:
        path.rmdir()  # only if it is empty
    else:
        if is_marked:
            _remove(path, remove)


def _remove(path: Path, remove: Remove) -> None:
    for entry in path.iterdir():
        if entry.name != MARK:
            remove(entry)
    with suppress(OSError):
        # Not the mark of what is not empty: the next sweep tries again.
        if [entry.name for entry in path.iterdir()] == [MARK]:
            (path / MARK).unlink()
            path.rmdir()
