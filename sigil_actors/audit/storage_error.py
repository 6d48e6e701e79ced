"""What SQLite and the operating system report, said as this package's errors with a remedy.

Knows nothing of entries.
"""

import errno
import sqlite3
from pathlib import Path

from sigil_actors.errors import AuditUnavailableError, ForeignAuditLogError

# The low byte is the primary code, the rest says more about it (https://sqlite.org/rescode.html).
_PRIMARY_CODE = 0xFF

_RETRY = "Close the store and open it again once that is mended"

_BY_SQLITE_CODE = {
    sqlite3.SQLITE_NOTADB: (
        "is not a SQLite database",
        "Point the store at another folder, or move that file away and keep it for a closer look",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "`sigil-actors audit verify` says how far it is whole; move it away and start a new one",
    ),
    sqlite3.SQLITE_BUSY: (
        "is locked by another program",
        "Close whatever else has the database open for writing",
    ),
    sqlite3.SQLITE_LOCKED: (
        "is locked by another connection",
        "Close whatever else has the database open for writing",
    ),
    sqlite3.SQLITE_READONLY: (
        "can't be written: the file or its folder is read-only",
        "Make the folder and its files writable for the user that runs this",
    ),
    sqlite3.SQLITE_PERM: (
        "may not be accessed",
        "Make the folder and its files accessible for the user that runs this",
    ),
    sqlite3.SQLITE_FULL: ("has no room: the disk is full", f"Make room on that disk. {_RETRY}"),
    sqlite3.SQLITE_CANTOPEN: (
        "can't be opened",
        "Check that the folder exists and may be read and written by the user that runs this",
    ),
    sqlite3.SQLITE_IOERR: (
        "can't be read or written: the disk or a limit on file sizes refused",
        f"Look at the system's log for that disk, and at `ulimit -f`. {_RETRY}",
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        "was written by another program meanwhile",
        "Nobody but its store may write to it; run `sigil-actors audit verify`",
    ),
}

_BY_ERRNO = {
    errno.EACCES: sqlite3.SQLITE_PERM,
    errno.EPERM: sqlite3.SQLITE_PERM,
    errno.EROFS: sqlite3.SQLITE_READONLY,
    errno.ENOSPC: sqlite3.SQLITE_FULL,
    errno.EDQUOT: sqlite3.SQLITE_FULL,
}


def primary_code(error: BaseException) -> int:
    """Return SQLite's primary result code for `error`; 0 where it carries none."""
    if isinstance(error, OSError):
        return _BY_ERRNO.get(error.errno or 0, sqlite3.SQLITE_CANTOPEN)
    code = getattr(error, "sqlite_errorcode", 0)
    return code & _PRIMARY_CODE if isinstance(code, int) else 0


def storage_error(path: Path, error: BaseException) -> AuditUnavailableError:
    """Return the typed error for what `error` says about the file or folder at `path`."""
    code = primary_code(error)
    what, remedy = _BY_SQLITE_CODE.get(code, ("can't be used", _RETRY))
    kind = ForeignAuditLogError if code == sqlite3.SQLITE_NOTADB else AuditUnavailableError
    return kind(f"the audit log {path} {what} ({_text(error)})", remedy=remedy)


def _text(error: BaseException) -> str:
    if isinstance(error, UnicodeDecodeError):
        return (
            "undecodable text"  # SQLite quotes damaged bytes in its messages, Python refuses them
        )
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return str(error)
