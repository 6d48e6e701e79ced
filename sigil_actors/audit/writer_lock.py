"""One writer per folder: a lock file that names who holds it.

The lock is the kernel's (`flock`), so it ends with its process, however that ends; the file stays.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

from sigil_actors.audit.storage_error import storage_error
from sigil_actors.errors import AuditUnavailableError

LOCK_FILE = "writer.lock"
_PID_LENGTH_MAX = 20  # digits that are read from a lock file; a pid has 7


class WriterLock:
    """Holds the lock of one folder from `acquire` to `release`."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def acquire(cls, folder: Path) -> Self:
        """Take the lock of `folder` at once or not at all.

        Raises:
            AuditUnavailableError: somebody holds it, who is named; or the file can't be made.
        """
        path = folder / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise storage_error(path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(descriptor, _PID_LENGTH_MAX, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise _held_error(folder, holder) from error
        lock = cls(descriptor, path)
        try:
            if not lock.is_in_place():
                # Deleted between opening and locking: a later writer would lock another file.
                raise _held_error(folder, "")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        except OSError as error:
            lock.release()
            raise storage_error(path, error) from error
        except AuditUnavailableError:
            lock.release()
            raise
        return lock

    def is_in_place(self) -> bool:
        """Tell whether the path still leads to the file that is locked."""
        try:
            return os.path.samestat(os.fstat(self._descriptor), os.stat(self._path))  # noqa: PTH116
        except OSError:
            return False

    def release(self) -> None:
        """Give the lock up. The file stays: removing it would race with the next writer."""
        with suppress(OSError):
            os.close(self._descriptor)


def _held_error(folder: Path, holder: str) -> AuditUnavailableError:
    if holder == str(os.getpid()):
        return AuditUnavailableError(
            f"the audit log {folder} is being written by this very process (pid {holder}): by "
            "another store, or by a commit of an earlier one that hasn't returned yet",
            remedy="Use one store per folder; after a hung commit try again once the disk answers",
        )
    return AuditUnavailableError(
        f"the audit log {folder} is being written by another process "
        f"(pid {holder if holder.isdigit() else 'unknown'})",
        remedy="Stop that process, or give this one a folder of its own; anyone may read",
    )
