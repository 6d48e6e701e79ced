"""The one writer of a segment: lock, head, commits, and an eye on the files beneath.

Synchronous; runs in worker threads, one at a time. Knows nothing of time-outs: who waits decides
how long.
"""

import os
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

from sigil_actors.audit.segment import (
    FIRST_SEGMENT,
    SCHEMA_VERSION,
    check_schema,
    connect,
    create_schema,
    typed_errors,
)
from sigil_actors.audit.writer_lock import WriterLock
from sigil_actors.core.audit_entry import GENESIS, AuditEntry, entry_from_bytes, seal_entry
from sigil_actors.errors import AuditIntegrityError, AuditUnavailableError

# Rows of one INSERT. SQLite lets go of the interpreter's lock once a statement, and getting it
# back from a busy main thread takes up to 5 ms: so few large statements instead of one for each
# row.
_ROWS_PER_INSERT = 256

# The smallest page. SQLite takes a file that is shorter for an empty one and writes over it.
_DATABASE_BYTES_MIN = 512


class SegmentWriter:
    """Writes one segment in `folder`. Open it once, append many times, close it; not to be reused.

    `head` and `last_seq` say what is stored; they move only after a commit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        busy_timeout_s: float,
        connection_factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        self.path = folder / FIRST_SEGMENT
        self.head = GENESIS
        self.last_seq = 0
        self._folder = folder
        self._busy_timeout_s = busy_timeout_s
        self._connection_factory = connection_factory
        self._connection: sqlite3.Connection | None = None
        self._lock: WriterLock | None = None
        self._files: dict[Path, os.stat_result] = {}
        self._data_version = 0
        # Held by the thread that is at work here; see `close_when_idle`.
        self._at_work = threading.Lock()
        self._is_closing = False

    def open(self) -> None:
        """Take the lock, open or make the database, and read the head.

        Raises:
            AuditUnavailableError: any of it failed; nothing stays open.
        """
        try:
            with self._at_work:
                try:
                    with typed_errors(self.path):
                        self._open()
                except BaseException:
                    self._close()
                    raise
        finally:
            self._close_if_asked()

    def append(self, entries: Sequence[AuditEntry]) -> tuple[AuditEntry, ...]:
        """Store `entries` in one transaction; return them as stored.

        Raises:
            AuditUnavailableError: they may be stored or not; only a new writer, which reads the
                head, can tell. This one is not to be used again.
        """
        try:
            with self._at_work, typed_errors(self.path):
                return self._append(entries)
        finally:
            self._close_if_asked()

    def close_when_idle(self) -> None:
        """Close now or, where another thread is at work, as soon as it is done.

        Never waits for that thread, whose commit may hang. Until it is done the lock stays taken,
        so nobody writes meanwhile.
        """
        self._is_closing = True
        self._close_if_asked()

    def _close_if_asked(self) -> None:
        # Both sides look: the one who asks sets the flag first and then tries the lock, the one at
        # work gives the lock back first and then looks at the flag. One of them gets here.
        if self._is_closing and self._at_work.acquire(blocking=False):
            try:
                self._close()
            finally:
                self._at_work.release()

    def _open(self) -> None:
        _make_folder(self._folder)
        self._lock = WriterLock.acquire(self._folder)
        _make_file(self.path)
        connection = connect(
            self.path,
            options="mode=rw",
            busy_timeout_s=self._busy_timeout_s,
            factory=self._connection_factory,
        )
        self._connection = connection
        mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode != "wal":
            raise AuditUnavailableError(
                f"the audit log {self.path} can't be used with a write-ahead log here",
                remedy="Put it on a local disk; network file systems don't offer what it takes",
            )
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: to the platter, not to its cache
        connection.execute("PRAGMA checkpoint_fullfsync = ON")
        create_schema(connection)
        check_schema(connection, self.path)
        # A write that changes nothing: SQLite opens a read-only file without a word, and better
        # now than at the first entry.
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._read_head(connection)
        self._data_version = _data_version(connection)
        sync_folder(self._folder)
        for suffix in ("", "-wal", "-shm"):
            file = self.path.with_name(self.path.name + suffix)
            self._files[file] = file.stat()

    def _read_head(self, connection: sqlite3.Connection) -> None:
        last = connection.execute(
            "SELECT seq, CAST(body AS BLOB), hash FROM entry ORDER BY seq DESC LIMIT 1"
        ).fetchone()
        if last is None:
            return
        seq, body, entry_hash = last
        # One step of the chain is checked, which costs nothing and keeps new entries from being
        # chained to rubbish; all the others are `verify`'s work.
        before = connection.execute("SELECT hash FROM entry WHERE seq = ?", (seq - 1,)).fetchone()
        previous = before[0] if before else GENESIS
        try:
            sealed, _ = seal_entry(previous, seq, entry_from_bytes(body, entry_hash))
        except (AuditIntegrityError, TypeError) as error:
            raise self._bad_tail(seq) from error
        if sealed.hash != entry_hash or (before is None and seq != 1):
            raise self._bad_tail(seq)
        self.last_seq, self.head = seq, entry_hash

    def _bad_tail(self, seq: int) -> AuditUnavailableError:
        return AuditUnavailableError(
            f"the last entry ({seq}) of the audit log {self.path} isn't what was written",
            remedy="Run `sigil-actors audit verify`, keep the folder as it is, start a new one",
        )

    def _append(self, entries: Sequence[AuditEntry]) -> tuple[AuditEntry, ...]:
        connection = self._connection
        if connection is None:
            raise AuditUnavailableError(
                f"the audit log {self.path} is closed", remedy="Open the store again"
            )
        self._check_files()
        seq, head = self.last_seq, self.head
        stored: list[AuditEntry] = []
        values: list[int | str | bytes] = []
        for entry in entries:
            seq += 1
            sealed, text = seal_entry(head, seq, entry)
            head = sealed.hash
            stored.append(sealed)
            values += (seq, text, head)
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._check_nobody_wrote(connection)
            for start in range(0, len(values), 3 * _ROWS_PER_INSERT):
                some = values[start : start + 3 * _ROWS_PER_INSERT]
                connection.execute(_insert(len(some) // 3), some)
            self._check_still_in_transaction(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        # Again, before anything is acknowledged: an unlinked database commits happily.
        self._check_files()
        self.last_seq, self.head = seq, head
        return tuple(stored)

    def _check_nobody_wrote(self, connection: sqlite3.Connection) -> None:
        if _data_version(connection) != self._data_version:
            raise AuditUnavailableError(
                f"another program wrote to the audit log {self.path}",
                remedy="Nobody but its store may write to it; run `sigil-actors audit verify`",
            )

    def _check_still_in_transaction(self, connection: sqlite3.Connection) -> None:
        # SQLite rolls back by itself on some errors; a COMMIT would then commit nothing.
        if not connection.in_transaction:
            raise AuditUnavailableError(
                f"the audit log {self.path} rolled the entries back", remedy="Open it again"
            )

    def _check_files(self) -> None:
        in_place = self._lock is not None and self._lock.is_in_place()
        for file, seen in self._files.items():
            try:
                in_place = in_place and os.path.samestat(seen, file.stat())
            except FileNotFoundError:
                in_place = False
        if not in_place:
            raise AuditUnavailableError(
                f"the audit log {self.path} was deleted or replaced while it was open",
                remedy="Put it back, or open the store again to start with what is there now",
            )

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        lock, self._lock = self._lock, None
        if connection is not None:
            connection.close()  # what was committed is safe whatever happens here
        if lock is not None:
            lock.release()


def _data_version(connection: sqlite3.Connection) -> int:
    """Return a number that changes when another connection commits."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version


def _insert(rows: int) -> str:
    places = ",".join(["(?,?,?)"] * rows)
    return f"INSERT INTO entry (seq, body, hash) VALUES {places}"  # noqa: S608 - no text of anyone's


def _make_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise AuditUnavailableError(
            f"the audit log {folder} is a file, not a folder",
            remedy="Give the store a folder; it is made where there is none",
        )
    if not folder.exists():
        # An existing folder keeps its mode: it may be somebody's, and the files are private
        # anyway.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(folder.parent)


def _make_file(path: Path) -> None:
    """Make sure that there is a regular file, private to its user from the first moment on."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise AuditUnavailableError(
            f"the audit log {path} is not a regular file",
            remedy="Move it away; the store makes its own",
        )
    if path.exists():
        if 0 < path.stat().st_size < _DATABASE_BYTES_MIN:
            raise AuditUnavailableError(
                f"the audit log {path} is not a SQLite database (it is too short for one)",
                remedy="Point the store at another folder, or move that file away",
            )
    else:
        # Nobody has it open yet, so that closing this descriptor drops nobody's locks
        # (segment.py).
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
