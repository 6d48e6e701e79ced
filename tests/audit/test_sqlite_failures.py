"""Where nothing can be stored the store says so, within its time, and is right when it is back."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from math import inf
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from sigil_actors.audit.sqlite import TIMEOUT_S, SqliteAuditStore
from sigil_actors.audit.verify import verify_log
from sigil_actors.core.audit_entry import AuditEntry, AuditFilter
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.testing.audit_store_contract import example_entry


async def open_and_close(folder: Path, **arguments: Any) -> None:
    async with SqliteAuditStore(folder, **arguments):
        pass


async def expect_refusal(store: SqliteAuditStore, match: str) -> AuditUnavailableError:
    """Append, see it refused with a remedy; see that nothing goes on before a reopening."""
    with pytest.raises(AuditUnavailableError, match=match) as caught:
        await store.append([example_entry(2)])
    assert caught.value.remedy
    with pytest.raises(AuditUnavailableError, match="since an error"):
        await store.append([example_entry(2)])
    return caught.value


async def expect_recovery(store: SqliteAuditStore, entries: int) -> None:
    """Open the store again: so many entries are there, and the chain goes on from them."""
    async with store:
        assert store.last_seq == entries
        (stored,) = await store.append([example_entry(9)])
        assert stored.seq == entries + 1
        assert len(await store.query(AuditFilter())) == entries + 1
    report = verify_log(store._folder)
    assert (report.entries, report.first_bad) == (entries + 1, None)


# --- locked -------------------------------------------------------------------------------------


async def test_a_lock_of_another_program_is_waited_for_no_longer_than_the_time_out(
    folder: Path, database: Path
) -> None:
    store = SqliteAuditStore(folder, timeout_s=0.1)
    async with store:
        await store.append([example_entry(1)])
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            await expect_refusal(store, "locked by another program")
    await expect_recovery(store, 1)


async def test_a_log_that_is_locked_cannot_be_opened(folder: Path, database: Path) -> None:
    await open_and_close(folder)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(AuditUnavailableError, match="locked by another program"):
            await open_and_close(folder, timeout_s=0.1)
    await open_and_close(folder)


# --- hung ---------------------------------------------------------------------------------------


@asynccontextmanager
async def hanging_at(word: str, connection: Any, clock: MockClock) -> AsyncIterator[None]:
    """Let the database hang at `word`; virtual time jumps once it does, and not before.

    Threads take real time, in which the loop is idle: a clock that jumps then would jump too soon.
    """

    async def jump_once_it_hangs() -> None:
        await trio.to_thread.run_sync(connection.reached.wait)
        clock.autojump_threshold = 0

    connection.hang_at = word
    async with trio.open_nursery() as nursery:
        nursery.start_soon(jump_once_it_hangs)
        yield
    clock.autojump_threshold = inf
    connection.hang_at = ""


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=inf)


async def wait_for_the_thread(store: SqliteAuditStore) -> None:
    await store._write_limiter.acquire_on_behalf_of(store)
    store._write_limiter.release_on_behalf_of(store)


async def test_a_commit_that_hangs_is_waited_for_no_longer_than_the_time_out(
    folder: Path, failing_connection: Any, clock: MockClock
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    async with store:
        before = trio.current_time()
        async with hanging_at("COMMIT", failing_connection, clock):
            await expect_refusal(store, "didn't return within 5 s")
        after = trio.current_time()
        assert after - before == pytest.approx(TIMEOUT_S)
    assert trio.current_time() == after  # nobody waits a second time

    with pytest.raises(AuditUnavailableError, match="hasn't returned"):
        await open_and_close(folder)  # its thread is still in there, and keeps others out
    clock.autojump_threshold = 0
    with pytest.raises(AuditUnavailableError, match="opening"):
        await store.__aenter__()
    assert trio.current_time() - after == pytest.approx(TIMEOUT_S)
    clock.autojump_threshold = inf

    failing_connection.go_on.set()
    await wait_for_the_thread(store)
    # The commit went through after all. The store finds that out by reading, not by guessing.
    await expect_recovery(store, 1)


async def test_an_opening_that_hangs_is_bounded_too_and_leaves_nothing_open(
    folder: Path, failing_connection: Any, clock: MockClock
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    async with hanging_at("BEGIN", failing_connection, clock):
        with pytest.raises(AuditUnavailableError, match=r"opening .* didn't return within 5 s"):
            await store.__aenter__()
    failing_connection.go_on.set()
    await wait_for_the_thread(store)
    await expect_recovery(store, 0)


async def test_a_closing_that_hangs_is_bounded_and_goes_on_by_itself(
    folder: Path, failing_connection: Any, clock: MockClock
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    await store.__aenter__()
    await store.append([example_entry(1)])
    before = trio.current_time()
    async with hanging_at("close", failing_connection, clock):
        await store.__aexit__(None, None, None)
    assert trio.current_time() - before == pytest.approx(TIMEOUT_S)
    failing_connection.go_on.set()
    await wait_for_the_thread(store)
    await expect_recovery(store, 1)


async def test_an_append_that_is_cancelled_during_its_commit_counts_as_stored(
    folder: Path, failing_connection: Any
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    async with store:
        failing_connection.hang_at = "COMMIT"
        stored: list[AuditEntry] = []
        async with trio.open_nursery() as nursery:

            async def append() -> None:
                stored.extend(await store.append([example_entry(1)]))

            nursery.start_soon(append)
            await trio.to_thread.run_sync(failing_connection.reached.wait)
            nursery.cancel_scope.cancel()
            failing_connection.hang_at = ""
            failing_connection.go_on.set()
        assert [entry.seq for entry in stored] == [1]
        await store.append([example_entry(2)])
    await expect_recovery(store, 2)


# --- errors of the database ---------------------------------------------------------------------


@pytest.mark.parametrize("word", ["BEGIN", "INSERT", "COMMIT", "PRAGMA"])
async def test_an_error_at_any_statement_stores_nothing_and_passes(
    folder: Path, failing_connection: Any, word: str
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    async with store:
        await store.append([example_entry(1)])
        failing_connection.failures = {word: sqlite3.OperationalError("disk I/O error")}
        await expect_refusal(store, "disk I/O error")
    failing_connection.failures = {}
    await expect_recovery(store, 1)


async def test_a_transaction_that_sqlite_rolled_back_by_itself_is_not_acknowledged(
    folder: Path, failing_connection: Any
) -> None:
    store = SqliteAuditStore(folder, connection_factory=failing_connection)
    async with store:
        await store.append([example_entry(1)])
        failing_connection.rolls_back_after = "INSERT"
        await expect_refusal(store, "rolled the entries back")
        failing_connection.rolls_back_after = ""
    await expect_recovery(store, 1)


async def test_entries_of_another_program_are_noticed(folder: Path, database: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
        with closing(sqlite3.connect(database)) as other, other:
            other.execute("UPDATE entry SET body = body || ' ' WHERE seq = 1")
        await expect_refusal(store, "another program wrote")
    with pytest.raises(AuditUnavailableError, match=r"last entry .1. .* isn't what was written"):
        await open_and_close(folder)


async def test_nothing_is_chained_to_a_last_entry_that_was_edited(
    folder: Path, database: Path
) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1), example_entry(2)])
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("UPDATE entry SET body = replace(body, 'gateway', 'someone') WHERE seq = 2")
    with pytest.raises(AuditUnavailableError, match=r"last entry .2. .* isn't what was written"):
        await open_and_close(folder)


async def test_a_full_disk_stores_nothing_and_passes(folder: Path) -> None:
    store = SqliteAuditStore(folder)
    async with store:
        await store.append([example_entry(1)])
        assert store._writer is not None
        assert store._writer._connection is not None
        store._writer._connection.execute("PRAGMA max_page_count = 8")
        with pytest.raises(AuditUnavailableError, match="disk is full") as caught:
            await store.append([example_entry(number) for number in range(500)])
        assert "Make room" in caught.value.remedy
        with pytest.raises(AuditUnavailableError, match="since an error"):
            await store.append([example_entry(2)])
    await expect_recovery(store, 1)


CHILD_WITH_A_LIMIT = """
import resource, sys, trio
from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.testing.audit_store_contract import example_entry

async def main():
    async with SqliteAuditStore(sys.argv[1]) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
        try:
            while True:
                await store.append([example_entry(number) for number in range(10)])
        except AuditUnavailableError as error:
            print(store.last_seq, error)

trio.run(main)
"""


def test_a_file_that_may_not_grow_loses_nothing_acknowledged(folder: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", CHILD_WITH_A_LIMIT, str(folder)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    acknowledged, message = run.stdout.split(maxsplit=1)
    assert int(acknowledged) > 0
    assert "disk" in message
    report = verify_log(folder)
    assert report.first_bad is None
    assert report.entries == int(acknowledged)


# --- files taken away or put there --------------------------------------------------------------


@pytest.mark.parametrize("replaced", [False, True], ids=["deleted", "replaced"])
@pytest.mark.parametrize("suffix", ["", "-wal", "-shm", "lock"])
async def test_a_file_that_vanishes_beneath_the_store_is_noticed(
    folder: Path, database: Path, suffix: str, *, replaced: bool
) -> None:
    file = (
        folder / "writer.lock" if suffix == "lock" else database.with_name(database.name + suffix)
    )
    store = SqliteAuditStore(folder)
    async with store:
        await store.append([example_entry(1)])
        copy = folder / "copy"
        shutil.copy(file, copy)
        file.unlink()
        if replaced:
            copy.rename(file)
        assert store._writer is not None
        assert store._writer._connection is not None
        said: list[str] = []
        store._writer._connection.set_trace_callback(said.append)
        await expect_refusal(store, "deleted or replaced")
        assert not said  # nothing was written to whatever is there now


async def test_a_file_that_vanishes_during_the_commit_is_noticed_before_the_reply(
    folder: Path, database: Path, failing_connection: Any
) -> None:
    async with SqliteAuditStore(folder, connection_factory=failing_connection) as store:
        failing_connection.hang_at = "COMMIT"

        async def delete() -> None:
            await trio.to_thread.run_sync(failing_connection.reached.wait)
            database.unlink()
            failing_connection.go_on.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            await expect_refusal(store, "deleted or replaced")


async def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "audit"
    file.write_text("a file")
    with pytest.raises(AuditUnavailableError, match="is a file, not a folder"):
        await open_and_close(file)


@pytest.mark.parametrize("content", [b"this is no database\n" * 100, b"x", b"\0" * 8192])
async def test_a_file_that_is_no_database_is_refused_and_left_alone(
    folder: Path, database: Path, content: bytes
) -> None:
    folder.mkdir()
    database.write_bytes(content)
    with pytest.raises(AuditUnavailableError, match="not a SQLite database") as caught:
        await open_and_close(folder)
    assert "another folder" in caught.value.remedy
    with pytest.raises(AuditUnavailableError, match=r"not a SQLite database|not an audit log"):
        await SqliteAuditStore(folder).query(AuditFilter())
    assert database.read_bytes() == content


async def test_an_empty_file_becomes_a_log(folder: Path, database: Path) -> None:
    """A crash between making the file and making its tables leaves one."""
    folder.mkdir()
    database.touch()
    await open_and_close(folder)
    assert verify_log(folder).is_good


async def test_a_database_of_another_program_is_refused_and_left_alone(
    folder: Path, database: Path
) -> None:
    folder.mkdir()
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("CREATE TABLE entry (seq)")
    for attempt in (open_and_close(folder), SqliteAuditStore(folder).query(AuditFilter())):
        with pytest.raises(AuditUnavailableError, match="but not an audit log"):
            await attempt
    with closing(sqlite3.connect(database)) as other:
        assert other.execute("SELECT name FROM sqlite_schema").fetchall() == [("entry",)]


async def test_a_trigger_that_would_hide_entries_is_refused(folder: Path, database: Path) -> None:
    await open_and_close(folder)
    with closing(sqlite3.connect(database)) as other, other:
        other.execute("CREATE TRIGGER hide AFTER INSERT ON entry BEGIN DELETE FROM entry; END")
    with pytest.raises(AuditUnavailableError, match="but not an audit log"):
        await open_and_close(folder)


async def test_a_log_of_a_newer_version_is_refused_with_the_remedy(
    folder: Path, database: Path
) -> None:
    await open_and_close(folder)
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA user_version = 2")
    with pytest.raises(AuditUnavailableError, match="schema version 2") as caught:
        await open_and_close(folder)
    assert "Upgrade" in caught.value.remedy


@pytest.mark.parametrize("kind", ["symlink", "folder"])
async def test_a_lock_file_that_is_not_a_file_is_refused(
    folder: Path, tmp_path: Path, kind: str
) -> None:
    folder.mkdir()
    lock = folder / "writer.lock"
    if kind == "symlink":
        lock.symlink_to(tmp_path / "elsewhere")
    else:
        lock.mkdir()
    with pytest.raises(AuditUnavailableError, match="can't be opened"):
        await open_and_close(folder)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("kind", ["symlink", "folder"])
async def test_a_database_that_is_not_a_regular_file_is_refused(
    folder: Path, database: Path, tmp_path: Path, kind: str
) -> None:
    folder.mkdir()
    if kind == "symlink":
        database.symlink_to(tmp_path / "elsewhere")
    else:
        database.mkdir()
    with pytest.raises(AuditUnavailableError, match="not a regular file"):
        await open_and_close(folder)
    assert not (tmp_path / "elsewhere").exists()


# --- not allowed --------------------------------------------------------------------------------


@pytest.fixture
def folder_of_an_ordinary_user() -> Iterator[Path]:
    """Give a folder in which modes mean something: root would write through them."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setegid(65534)
        os.seteuid(65534)
    try:
        with tempfile.TemporaryDirectory() as place:
            yield Path(place) / "audit"
    finally:
        if is_root:
            os.seteuid(0)
            os.setegid(0)


async def test_a_read_only_file_takes_nothing_but_can_be_read(
    folder_of_an_ordinary_user: Path,
) -> None:
    folder = folder_of_an_ordinary_user
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
    (folder / "segment-000001.db").chmod(0o400)
    with pytest.raises(AuditUnavailableError, match="read-only") as caught:
        await open_and_close(folder)
    assert "writable" in caught.value.remedy
    assert len(await store.query(AuditFilter())) == 1
    assert verify_log(folder).entries == 1


async def test_a_read_only_folder_takes_nothing_but_can_be_read(
    folder_of_an_ordinary_user: Path,
) -> None:
    folder = folder_of_an_ordinary_user
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
    (folder / "writer.lock").unlink()
    folder.chmod(0o500)
    try:
        with pytest.raises(AuditUnavailableError, match="may not be accessed"):
            await open_and_close(folder)
        assert len(await store.query(AuditFilter())) == 1
        assert verify_log(folder).entries == 1
    finally:
        folder.chmod(0o700)


async def test_a_copy_with_a_write_ahead_log_needs_a_folder_that_can_be_written(
    folder_of_an_ordinary_user: Path,
) -> None:
    folder = folder_of_an_ordinary_user
    copy = folder.with_name("copy")
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("*-shm"))
    copy.chmod(0o500)
    try:
        with pytest.raises(AuditUnavailableError, match=r"read-only|can't be opened"):
            verify_log(copy)
    finally:
        copy.chmod(0o700)
    assert verify_log(copy).entries == 1


async def test_a_file_that_may_not_be_read_is_no_verdict_about_it(
    folder_of_an_ordinary_user: Path,
) -> None:
    folder = folder_of_an_ordinary_user
    await open_and_close(folder)
    (folder / "segment-000001.db").chmod(0)
    with pytest.raises(AuditUnavailableError, match="can't be opened"):
        verify_log(folder)
    with pytest.raises(AuditUnavailableError, match="can't be opened"):
        await SqliteAuditStore(folder).query(AuditFilter())


# --- a busy host --------------------------------------------------------------------------------


async def test_a_loop_that_is_never_idle_does_not_make_a_commit_look_hung(folder: Path) -> None:
    """The thread has to get the interpreter's lock from a loop that always takes it back."""

    async def compute_without_end() -> None:
        while True:
            until = time.perf_counter() + 0.003
            while time.perf_counter() < until:
                pass
            await trio.lowlevel.checkpoint()

    batch = [example_entry(number) for number in range(256)]
    async with SqliteAuditStore(folder) as store, trio.open_nursery() as nursery:
        nursery.start_soon(compute_without_end)
        for _ in range(5):
            await store.append(batch)
        assert len(await store.query(AuditFilter(limit=1000))) == 1000
        nursery.cancel_scope.cancel()
