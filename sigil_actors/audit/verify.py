"""Checks a log from its first entry to its last, and names the first that isn't what was written.

Reads only, and leaves nothing beside the log: it works on a copy, on a read-only medium, and
while a writer runs. What it can't see is a cut tail, or a log that somebody rewrote as a whole:
for both, hand in a head that was noted elsewhere.
"""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from enum import StrEnum
from hashlib import sha256
from os import PathLike
from pathlib import Path

import attrs

from sigil_actors.audit.segment import STORAGE_ERRORS, ForeignSchemaError, check_schema
from sigil_actors.audit.segment_reader import (
    open_reader,
    open_unshared,
    segment_path,
    write_ahead_log,
)
from sigil_actors.audit.storage_error import primary_code, storage_error
from sigil_actors.core.audit_entry import FORMAT_VERSION, GENESIS
from sigil_actors.core.text import escape_text

_BUSY_TIMEOUT_S = 5.0
_ROWS_PER_FETCH = 10_000  # so often progress is reported: some 20 times a second

# The whole log can't be read for a reason that says nothing about what is in it.
_UNREACHABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
}


class BadEntryKind(StrEnum):
    """What is wrong with an entry."""

    EDITED = "edited"
    MISSING = "missing"
    REORDERED = "reordered"
    TRUNCATED = "truncated"
    """The expected head isn't there: the tail was cut off, or the whole log was rewritten."""
    FOREIGN = "foreign"
    """It isn't an entry of this log, or the file isn't an audit log."""
    UNREADABLE = "unreadable"
    """The file is damaged so that SQLite can't read on."""


@attrs.frozen(kw_only=True)
class BadEntry:
    """The first entry that isn't what was written."""

    seq: int
    """Its place: all before it are good."""
    kind: BadEntryKind
    what: str
    """One sentence for people."""


@attrs.frozen(kw_only=True)
class VerifyReport:
    """What a verification found."""

    entries: int
    """How many entries are good, counted from the first."""
    head: bytes
    """The hash of the last good one; `GENESIS` where there is none."""
    first_bad: BadEntry | None = None

    @property
    def is_good(self) -> bool:
        """Whether every entry is what was written, as far as the chain and the given head tell."""
        return self.first_bad is None


def verify_log(
    path: str | PathLike[str],
    *,
    expected_head: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> VerifyReport:
    """Check the log at `path` (its folder, or a copy of its file), without opening it for writing.

    `expected_head` is the hash of an entry that must be there, noted elsewhere while it was the
    last one. `progress` is called with the number of entries checked so far.

    Raises:
        AuditUnavailableError: there is no log, or it can't be reached; that says nothing about it.
    """
    file = segment_path(Path(path))
    had_writer = write_ahead_log(file).exists()
    report = _verify_file(file, expected_head, progress, is_shared=had_writer)
    if not (report.is_good or had_writer) and write_ahead_log(file).exists():
        # A writer opened it while we read it as if there were none.
        report = _verify_file(file, expected_head, progress, is_shared=True)
    return report


def _verify_file(
    file: Path,
    expected_head: bytes | None,
    progress: Callable[[int], None] | None,
    *,
    is_shared: bool,
) -> VerifyReport:
    walk = _Walk(expected_head)
    try:
        with closing(
            (open_reader if is_shared else open_unshared)(file, busy_timeout_s=_BUSY_TIMEOUT_S)
        ) as connection:
            check_schema(connection, file)
            walk.check_entries(connection, progress)
            if walk.first_bad is None:
                walk.check_structure(connection)
    except ForeignSchemaError as error:
        walk.find(BadEntryKind.FOREIGN, error.what)
    except STORAGE_ERRORS as error:
        if primary_code(error) in _UNREACHABLE:
            raise storage_error(file, error) from error
        walk.find(
            BadEntryKind.UNREADABLE,
            f"{storage_error(file, error).what}, after {walk.entries} good entries",
        )
    walk.check_expected_head()
    return VerifyReport(entries=walk.entries, head=walk.head, first_bad=walk.first_bad)


class _Walk:
    """How far a verification has come."""

    def __init__(self, expected_head: bytes | None) -> None:
        self.entries = 0
        self.head = GENESIS
        self.first_bad: BadEntry | None = None
        self._expected_head = expected_head
        self._is_expected_seen = expected_head in (None, GENESIS)

    def find(self, kind: BadEntryKind, what: str, *, seq: int | None = None) -> None:
        if self.first_bad is None:
            self.first_bad = BadEntry(seq=seq or self.entries + 1, kind=kind, what=what)

    def check_entries(
        self, connection: sqlite3.Connection, progress: Callable[[int], None] | None
    ) -> None:
        # One scan and so one view of the log: what a writer adds meanwhile isn't in it.
        rows = connection.execute("SELECT seq, body, hash FROM entry ORDER BY seq")
        while some := rows.fetchmany(_ROWS_PER_FETCH):
            for seq, body, entry_hash in some:
                if not self._follows(seq, body, entry_hash):
                    self._explain(connection, seq, body, entry_hash)
                    return
            if progress is not None:
                progress(self.entries)

    def _follows(self, seq: object, body: object, entry_hash: object) -> bool:
        expected_seq = self.entries + 1
        if seq != expected_seq or not isinstance(body, bytes):
            return False
        if sha256(self.head + body).digest() != entry_hash:
            return False
        if not body.startswith(b"[%d,%d," % (FORMAT_VERSION, expected_seq)):
            return False
        self.entries = expected_seq
        self.head = entry_hash
        if entry_hash == self._expected_head:
            self._is_expected_seen = True
        return True

    def _explain(
        self, connection: sqlite3.Connection, seq: object, body: object, entry_hash: object
    ) -> None:
        expected_seq = self.entries + 1
        claimed_seq = _claimed_seq(body)
        fits = isinstance(body, bytes) and sha256(self.head + body).digest() == entry_hash
        if not isinstance(seq, int) or seq < expected_seq:
            self._find_or_damage(
                connection,
                BadEntryKind.FOREIGN,
                f"there is an entry numbered {seq} where {expected_seq} should be",
            )
        elif seq > expected_seq and fits and claimed_seq == expected_seq:
            self.find(BadEntryKind.EDITED, f"entry {expected_seq} was given the number {seq}")
        elif seq > expected_seq:
            last = f" to {seq - 1}" if seq - 1 > expected_seq else ""
            self._find_or_damage(
                connection, BadEntryKind.MISSING, f"entry {expected_seq}{last} is missing"
            )
        elif fits and claimed_seq == expected_seq:
            self.find(
                BadEntryKind.FOREIGN,
                f"entry {expected_seq} is in a form that this version doesn't know",
            )
        elif (
            claimed_seq is not None
            and claimed_seq != expected_seq
            and not self._is_followed(connection, entry_hash)
        ):
            self.find(
                BadEntryKind.REORDERED,
                f"in the place of entry {expected_seq} is the one written as {claimed_seq}",
            )
        else:
            self.find(BadEntryKind.EDITED, f"entry {expected_seq} or its hash was changed")

    def _is_followed(self, connection: sqlite3.Connection, entry_hash: object) -> bool:
        """Tell whether the next entry chains to `entry_hash`: then that hash is in its place."""
        following = connection.execute(
            "SELECT body, hash FROM entry WHERE seq = ?", (self.entries + 2,)
        ).fetchone()
        if following is None or not isinstance(entry_hash, bytes):
            return False
        body, following_hash = following
        return isinstance(body, bytes) and sha256(entry_hash + body).digest() == following_hash

    def _find_or_damage(
        self, connection: sqlite3.Connection, kind: BadEntryKind, what: str
    ) -> None:
        # A damaged page can hide entries or show some twice; saying that somebody took them would
        # be wrong then.
        self.check_structure(connection)
        self.find(kind, what)

    def check_structure(self, connection: sqlite3.Connection) -> None:
        """Check what the chain doesn't cover: the pages, and that index and table agree."""
        (answer,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        if answer != b"ok":
            self.find(
                BadEntryKind.UNREADABLE,
                f"the file is damaged, after {self.entries} good entries: "
                f"{escape_text(answer.decode('utf-8', 'replace'))}",
            )

    def check_expected_head(self) -> None:
        if not self._is_expected_seen:
            self.find(
                BadEntryKind.TRUNCATED,
                f"the expected head isn't among the {self.entries} entries that are here: the end "
                "was cut off, or the whole log was written anew",
            )


def _claimed_seq(body: object) -> int | None:
    """Return the number that a canonical text says it has."""
    found = _START.match(body) if isinstance(body, bytes) else None
    return int(found[1]) if found else None


_START = re.compile(rb"\[\d+,(\d{1,19}),")
