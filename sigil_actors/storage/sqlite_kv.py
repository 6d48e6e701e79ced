"""The built-in key-value store of plugins: one SQLite file, or memory where there is no folder."""

import os
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.errors import KvUnavailableError, LimitExceededError
from sigil_actors.ports.kv_store import KvScope

_SCHEMA = """
CREATE TABLE IF NOT EXISTS kv(
  plugin TEXT NOT NULL, workspace TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL,
  PRIMARY KEY(plugin, workspace, key)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS usage(plugin TEXT PRIMARY KEY, bytes INTEGER NOT NULL) STRICT;
"""
_LOCK_WAIT_S = 5.0

T = TypeVar("T")


class SqliteKvStore:
    """A `KvStore` on SQLite. A `set` returns after a commit that survives a power cut."""

    def __init__(self, connection: sqlite3.Connection, *, is_in_memory: bool) -> None:
        self._connection = connection
        self._is_in_memory = is_in_memory
        # One thread at a time: the connection is shared, and SQLite writes one by one anyway.
        self._limiter = trio.CapacityLimiter(1)

    async def get(self, scope: KvScope, key: str) -> str | None:
        """Return the value, or None where there is none."""

        def get() -> str | None:
            row = self._connection.execute(
                "SELECT value FROM kv WHERE plugin=? AND workspace=? AND key=?",
                (scope.plugin, scope.workspace_id, key),
            ).fetchone()
            return None if row is None else str(row[0])

        return await self._run(get)

    async def set(self, scope: KvScope, key: str, value: str, *, bytes_max: int) -> None:
        """Keep a value.

        Raises:
            LimitExceededError: the plugin would hold more than `bytes_max` over all workspaces.
        """

        def set_() -> None:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                grown = self._grow(scope, key, _size(key, value))
                if grown > bytes_max:
                    raise LimitExceededError(
                        scope.plugin,
                        bound="kept keys and values",
                        value=f"{bytes_max} bytes",
                        key="settings.kv_bytes_per_plugin",
                    )
                self._connection.execute(
                    "INSERT OR REPLACE INTO kv VALUES(?,?,?,?)",
                    (scope.plugin, scope.workspace_id, key, value),
                )

        await self._run(set_)

    async def delete(self, scope: KvScope, key: str) -> bool:
        """Forget a key; tell whether it was there."""

        def delete() -> bool:
            with self._connection:
                self._connection.execute("BEGIN IMMEDIATE")
                self._grow(scope, key, 0)
                gone = self._connection.execute(
                    "DELETE FROM kv WHERE plugin=? AND workspace=? AND key=?",
                    (scope.plugin, scope.workspace_id, key),
                )
                return gone.rowcount > 0

        return await self._run(delete)

    async def list_keys(self, scope: KvScope, prefix: str, *, limit: int) -> Sequence[str]:
        """Return the keys that begin with `prefix`, sorted, at most `limit`."""

        def list_keys() -> Sequence[str]:
            rows = self._connection.execute(
                "SELECT key FROM kv WHERE plugin=? AND workspace=? AND substr(key, 1, ?)=?"
                " ORDER BY key LIMIT ?",
                (scope.plugin, scope.workspace_id, len(prefix), prefix, limit),
            )
            return [str(row[0]) for row in rows]

        return await self._run(list_keys)

    def _grow(self, scope: KvScope, key: str, size: int) -> int:
        """Take the key's new size into the plugin's account; return what it then holds."""
        row = self._connection.execute(
            "SELECT length(CAST(key AS BLOB)) + length(CAST(value AS BLOB)) FROM kv"
            " WHERE plugin=? AND workspace=? AND key=?",
            (scope.plugin, scope.workspace_id, key),
        ).fetchone()
        more = size - (row[0] if row else 0)
        account = self._connection.execute(
            "INSERT INTO usage VALUES(?,?) ON CONFLICT(plugin) DO UPDATE SET bytes=bytes+?"
            " RETURNING bytes",
            (scope.plugin, more, more),
        ).fetchone()
        return int(account[0])

    async def _run(self, work: Callable[[], T]) -> T:
        try:
            if self._is_in_memory:
                # Microseconds, and virtual time in tests knows nothing of threads.
                await trio.lowlevel.checkpoint()
                return work()
            return await run_in_worker(work, limiter=self._limiter, abandon_on_cancel=False)
        except sqlite3.Error as error:
            raise KvUnavailableError(
                f"the key-value store failed: {error}",
                remedy="Look at the disk and the file kv.sqlite3 in the state folder",
            ) from error


def _size(key: str, value: str) -> int:
    return len(key.encode()) + len(value.encode())


@asynccontextmanager
async def open_sqlite_kv(folder: Path | None) -> AsyncGenerator[SqliteKvStore]:
    """Open `kv.sqlite3` in `folder`; None keeps everything in memory, for as long as the block.

    Raises:
        KvUnavailableError: it can't be opened.
    """
    try:
        connection = (
            _connect(None) if folder is None else await trio.to_thread.run_sync(_connect, folder)
        )
    except (sqlite3.Error, OSError) as error:
        raise KvUnavailableError(
            f"the key-value store in {folder} can't be opened: {error}",
            remedy="Give the runtime a state folder that it can write, or move that file away",
        ) from error
    with closing(connection):
        yield SqliteKvStore(connection, is_in_memory=folder is None)


def _connect(folder: Path | None) -> sqlite3.Connection:
    if folder is None:
        path = ":memory:"
    else:
        path = str(folder / "kv.sqlite3")
        # Made by us first, so that it is nobody else's to read.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection
