"""What the tests of the audit stores share: a log to spoil, a database that fails."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import trio

from sigil_actors.audit.segment import FIRST_SEGMENT
from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.testing.audit_store_contract import example_entry


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "audit"


@pytest.fixture
def database(folder: Path) -> Path:
    return folder / FIRST_SEGMENT


MakeLog = Callable[[int], bytes]


@pytest.fixture
def make_log(folder: Path) -> MakeLog:
    """Write a log of so many entries and close it; return its head."""

    async def write(entries: int) -> bytes:
        async with SqliteAuditStore(folder) as store:
            await store.append([example_entry(number) for number in range(1, entries + 1)])
            return store.head

    return lambda entries: trio.run(write, entries)


class FailingConnection(sqlite3.Connection):
    """Raises what `failures` holds for a statement's first word, or hangs there."""

    failures: ClassVar[dict[str, Exception]]
    hang_at: ClassVar[str]
    rolls_back_after: ClassVar[str]
    reached: ClassVar[threading.Event]
    go_on: ClassVar[threading.Event]

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        word = sql.split(maxsplit=1)[0]
        if word == self.hang_at:
            self.reached.set()
            assert self.go_on.wait(60)
        if word in self.failures:
            raise self.failures[word]
        result = super().execute(sql, parameters)
        if word == self.rolls_back_after:
            super().execute("ROLLBACK")  # as SQLite does by itself where it sees no other way
        return result

    def close(self) -> None:
        if self.hang_at == "close":
            self.reached.set()
            assert self.go_on.wait(60)
        super().close()


@pytest.fixture
def failing_connection() -> Iterator[type[FailingConnection]]:
    class Connection(FailingConnection):
        failures: ClassVar = {}
        hang_at = ""
        rolls_back_after = ""
        reached = threading.Event()
        go_on = threading.Event()

    yield Connection
    Connection.go_on.set()  # no thread is left behind, whatever the test did
