"""One segment of the log: a SQLite database in a file, its form, and how it is opened.

An entry is a row of its number, its canonical text and its hash. Nothing is stored twice: what
queries filter on is taken out of the canonical text, by an index where it pays, so that there is
no second copy that could say something else.

Nobody here, and nobody who reads a log, opens the database's file with `open`: closing such a
descriptor drops the locks that SQLite holds for the whole process
(https://sqlite.org/howtocorrupt.html, section 2.2).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sigil_actors.audit.storage_error import storage_error
from sigil_actors.errors import ForeignAuditLogError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x53494741  # "SIGA", so that another program's database is told from a log

# The first of the segments that a log will have; the number is there so that names sort.
FIRST_SEGMENT = "segment-000001.db"

# Bytes of one value that SQLite will hand out. The largest entry is far below it, and a damaged
# length must not make us allocate gigabytes.
_VALUE_BYTES_MAX = 1024 * 1024

# Where in the canonical array a filter finds its field; see core.audit_entry.canonical_bytes.
_POSITIONS = {
    "timestamp_us": 2,
    "action": 3,
    "actor": 4,
    "plugin": 5,
    "workspace_id": 6,
    "user_id": 7,
    "session_id": 8,
    "capability": 9,
    "result": 10,
}


def field_expression(name: str) -> str:
    """Return the SQL that takes the field `name` out of an entry's canonical text."""
    return f"json_extract(body, '$[{_POSITIONS[name]}]')"


_SCHEMA = {
    "entry": (
        "table",
        "CREATE TABLE entry "
        "(seq INTEGER PRIMARY KEY, body TEXT NOT NULL, hash BLOB NOT NULL) STRICT",
    ),
    # What a person asks for most is what one plugin did, in order.
    "entry_by_plugin": (
        "index",
        f"CREATE INDEX entry_by_plugin ON entry ({field_expression('plugin')}, seq)",
    ),
}


class ForeignSchemaError(ForeignAuditLogError):
    """The file is a SQLite database, but not an audit log of this version."""


def connect(
    path: Path,
    *,
    options: str,
    busy_timeout_s: float,
    factory: type[sqlite3.Connection] = sqlite3.Connection,
) -> sqlite3.Connection:
    """Open the database at `path` with SQLite's URI `options`, as strictly as SQLite can.

    Raises:
        sqlite3.Error: as it comes; `typed_errors` turns it into a typed error.
    """
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,  # transactions begin and end where the code says so
        check_same_thread=False,  # worker threads take turns, never two at a time
        factory=factory,
    )
    try:
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _VALUE_BYTES_MAX)
        connection.execute("PRAGMA cell_size_check = ON")
    except BaseException:
        connection.close()
        raise
    return connection


def create_schema(connection: sqlite3.Connection) -> None:
    """Make the tables of a log in a database that has nothing in it yet; else do nothing."""
    connection.execute("BEGIN IMMEDIATE")
    is_new = not connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if is_new and not _pragma(connection, "user_version"):
        for _, sql in _SCHEMA.values():
            connection.execute(sql)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def check_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Check that the database holds a log of this version, and nothing else.

    Compared to the letter: a trigger or a view could otherwise hide entries from whoever asks.
    That also stands in for `PRAGMA trusted_schema = OFF`, which forbids an index on JSON in
    SQLite 3.40.

    Raises:
        ForeignSchemaError: it doesn't.
    """
    is_ours = _pragma(connection, "application_id") == APPLICATION_ID
    version = _pragma(connection, "user_version")
    if is_ours and version > SCHEMA_VERSION:
        raise ForeignSchemaError(
            f"the audit log {path} has schema version {version}, this version of sigil-actors "
            f"reads {SCHEMA_VERSION}",
            remedy="Upgrade sigil-actors",
        )
    found = {
        _text(name): (_text(kind), _text(sql))
        for kind, name, sql in connection.execute("SELECT type, name, sql FROM sqlite_schema")
    }
    if not is_ours or found != _SCHEMA:
        raise ForeignSchemaError(
            f"{path} is a SQLite database, but not an audit log",
            remedy="Point the store at another folder, or move that file away",
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value if isinstance(value, int) else 0


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


# A damaged file shows in all of these: SQLite quotes damaged bytes, which Python fails to decode.
STORAGE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError, MemoryError)


@contextmanager
def typed_errors(path: Path) -> Iterator[None]:
    """Within the block, what SQLite or the system raises leaves as a typed error about `path`."""
    try:
        yield
    except STORAGE_ERRORS as error:
        raise storage_error(path, error) from error
