"""Reading a segment, from any process, also while another writes it: queries."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Protocol

import attrs

from sigil_actors.audit.segment import (
    FIRST_SEGMENT,
    check_schema,
    connect,
    field_expression,
    typed_errors,
)
from sigil_actors.audit.storage_error import primary_code
from sigil_actors.core.audit_entry import (
    FILTER_TEXT_FIELDS,
    AuditEntry,
    AuditFilter,
    entry_from_bytes,
    microseconds,
)
from sigil_actors.errors import AuditIntegrityError, AuditUnavailableError

_ROWS_PER_FETCH = 256  # so often a query looks whether it is still wanted


def segment_path(path: Path) -> Path:
    """Return the database of the log at `path`, which is its folder or the file itself.

    Raises:
        AuditUnavailableError: there is none.
    """
    with typed_errors(path):
        file = path / FIRST_SEGMENT if path.is_dir() else path
        if file.is_file():
            return file
    raise AuditUnavailableError(
        f"there is no audit log at {path}",
        remedy="Give the folder that a SqliteAuditStore was opened on",
    )


def write_ahead_log(file: Path) -> Path:
    """Return the path of the write-ahead log that belongs to the database `file`."""
    return file.with_name(file.name + "-wal")


def open_reader(file: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open `file` for reading only, with its texts as bytes.

    Raises:
        sqlite3.Error: as it comes.
    """
    try:
        connection = _open_read_only(file, "mode=ro", busy_timeout_s)
    except sqlite3.OperationalError as error:
        cant_share = primary_code(error) in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
        if not cant_share or write_ahead_log(file).exists():
            raise
        # On a read-only medium SQLite can't make the files beside it that it shares with a writer.
        # Without a write-ahead log there is no writer, and everything is in the database.
        connection = _open_read_only(file, "mode=ro&immutable=1", busy_timeout_s)
    return connection


def open_unshared(file: Path, *, busy_timeout_s: float) -> sqlite3.Connection:
    """Open `file`, which nobody is writing, without leaving any file beside it.

    Raises:
        sqlite3.Error: as it comes.
    """
    return _open_read_only(file, "mode=ro&immutable=1", busy_timeout_s)


def _open_read_only(file: Path, options: str, busy_timeout_s: float) -> sqlite3.Connection:
    connection = connect(file, options=options, busy_timeout_s=busy_timeout_s)
    try:
        connection.text_factory = bytes
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except BaseException:
        connection.close()
        raise
    return connection


def query_segment(
    path: Path, query: AuditFilter, *, busy_timeout_s: float, check_wanted: Callable[[], None]
) -> tuple[AuditEntry, ...]:
    """Return the entries of the log at `path` that fit `query`.

    `check_wanted` is called now and then, and raises where nobody waits for the answer any more.

    Raises:
        AuditUnavailableError: the log can't be read.
        AuditIntegrityError: an entry that fits isn't what was written.
    """
    file = segment_path(path)
    before = _trace(file)
    if before.has_writer:
        return _query(file, query, open_reader, busy_timeout_s, check_wanted)
    # Nobody writes it, so nothing has to be shared with a writer, nor left beside the log for one.
    try:
        found = _query(file, query, open_unshared, busy_timeout_s, check_wanted)
    except (AuditUnavailableError, AuditIntegrityError):
        if _trace(file) == before:
            raise
    else:
        if _trace(file) == before:
            return found
    # A writer came meanwhile, and what was read may be half old and half new.
    return _query(file, query, open_reader, busy_timeout_s, check_wanted)


@attrs.frozen
class _Trace:
    """What shows that somebody writes a log, or has written it."""

    has_writer: bool
    inode: int
    size: int
    modified_ns: int


def _trace(file: Path) -> _Trace:
    with typed_errors(file):
        found = file.stat()
        has_writer = write_ahead_log(file).exists()
    return _Trace(has_writer, found.st_ino, found.st_size, found.st_mtime_ns)


class _Open(Protocol):
    def __call__(self, file: Path, *, busy_timeout_s: float) -> sqlite3.Connection: ...


def _query(
    file: Path,
    query: AuditFilter,
    open_: _Open,
    busy_timeout_s: float,
    check_wanted: Callable[[], None],
) -> tuple[AuditEntry, ...]:
    sql, values = _select(query)
    found: list[AuditEntry] = []
    with typed_errors(file), closing(open_(file, busy_timeout_s=busy_timeout_s)) as connection:
        check_schema(connection, file)
        connection.create_function(
            "takes_capability",
            1,
            lambda capability: query.takes_capability(bytes(capability).decode()),
            deterministic=True,
        )
        rows = connection.execute(sql, values)
        while some := rows.fetchmany(_ROWS_PER_FETCH):
            check_wanted()
            found += [_entry(*row) for row in some]
    return tuple(found)


def _entry(seq: int, body: bytes, entry_hash: bytes) -> AuditEntry:
    entry = entry_from_bytes(body, entry_hash)
    if entry.seq != seq:
        raise AuditIntegrityError(
            f"entry {seq} of the audit log says that it is entry {entry.seq}",
            seq=seq,
            kind="reordered",
            remedy="`sigil-actors audit verify` names the first entry that isn't what was written",
        )
    return entry


def _select(query: AuditFilter) -> tuple[str, list[int | str]]:
    conditions: list[str] = []
    values: list[int | str] = []

    def require(condition: str, value: int | str) -> None:
        conditions.append(condition)
        values.append(value)

    for name in FILTER_TEXT_FIELDS:
        wanted = getattr(query, name)
        if wanted is not None:
            require(f"{field_expression(name)} = ?", wanted)
    if query.since is not None:
        require(f"{field_expression('timestamp_us')} >= ?", microseconds(query.since))
    if query.until is not None:
        require(f"{field_expression('timestamp_us')} <= ?", microseconds(query.until))
    if query.after_seq is not None:
        require("seq > ?", query.after_seq)
    if query.capability is not None:
        conditions.append(f"takes_capability(CAST({field_expression('capability')} AS BLOB))")
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    order = " ORDER BY seq DESC" if query.newest_first else " ORDER BY seq"
    values.append(-1 if query.limit is None else query.limit)
    return f"SELECT seq, body, hash FROM entry{where}{order} LIMIT ?", values  # noqa: S608
