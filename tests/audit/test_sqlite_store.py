"""What the store on disk adds to the contract: files, modes, one writer, readers beside it."""

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from hypothesis import example, given
from hypothesis import strategies as st

from sigil_actors.audit.segment import create_schema, field_expression
from sigil_actors.audit.segment_reader import _select
from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.audit.verify import verify_log
from sigil_actors.core.audit_entry import (
    GENESIS,
    AuditEntry,
    AuditFilter,
    canonical_bytes,
    entry_from_bytes,
    seal_entry,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import AuditIntegrityError, AuditUnavailableError
from sigil_actors.testing.audit_store_contract import example_entry


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_folder_and_files_are_private_to_their_user(folder: Path) -> None:
    before = os.umask(0)
    try:
        async with SqliteAuditStore(folder) as store:
            await store.append([example_entry(1)])
            assert mode(folder) == 0o700
            files = sorted(folder.iterdir())
            assert [file.name for file in files] == [
                "segment-000001.db",
                "segment-000001.db-shm",
                "segment-000001.db-wal",
                "writer.lock",
            ]
            assert {mode(file) for file in files} == {0o600}
    finally:
        os.umask(before)


async def test_a_commit_is_synced_through_a_write_ahead_log(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        assert store._writer is not None
        connection = store._writer._connection
        assert connection is not None
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_one_append_is_one_transaction(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        assert store._writer is not None
        connection = store._writer._connection
        assert connection is not None
        said: list[str] = []
        connection.set_trace_callback(said.append)
        await store.append([example_entry(number) for number in range(1000)])
    assert said.count("BEGIN IMMEDIATE") == 1
    assert said.count("COMMIT") == 1


async def test_head_and_last_seq_follow_the_commits(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        assert (store.last_seq, store.head) == (0, GENESIS)
        stored = await store.append([example_entry(1), example_entry(2)])
        assert (store.last_seq, store.head) == (2, stored[-1].hash)
    async with store:
        assert (store.last_seq, store.head) == (2, stored[-1].hash)


async def test_a_second_writer_is_refused_and_told_who_the_first_is(folder: Path) -> None:
    async with SqliteAuditStore(folder):
        with pytest.raises(AuditUnavailableError, match=f"this very process .pid {os.getpid()}"):
            await SqliteAuditStore(folder).__aenter__()
    async with SqliteAuditStore(folder):
        pass


def test_a_writer_in_another_process_is_named_and_its_end_frees_the_log(folder: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, trio\n"
            "from sigil_actors.audit.sqlite import SqliteAuditStore\n"
            "async def main():\n"
            "    async with SqliteAuditStore(sys.argv[1]):\n"
            "        print('open', flush=True)\n"
            "        await trio.sleep_forever()\n"
            "trio.run(main)\n",
            str(folder),
        ],
        stdout=subprocess.PIPE,
    )
    with holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"open\n"

            async def open_and_close() -> None:
                async with SqliteAuditStore(folder):
                    pass

            with pytest.raises(AuditUnavailableError, match=f"pid {holder.pid}"):
                trio.run(open_and_close)
        finally:
            holder.kill()
            holder.wait()
        trio.run(open_and_close)


async def test_a_store_that_is_open_is_not_opened_twice(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        with pytest.raises(AuditUnavailableError, match="open already"):
            await store.__aenter__()
        await store.append([example_entry(1)])


async def test_queries_and_verification_work_while_a_writer_is_open(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
        report = verify_log(folder)
        assert (report.entries, report.head, report.is_good) == (1, store.head, True)
        await store.append([example_entry(2)])
        assert len(await SqliteAuditStore(folder).query(AuditFilter())) == 2


async def test_a_query_where_there_is_no_log_says_so_and_makes_nothing(folder: Path) -> None:
    with pytest.raises(AuditUnavailableError, match="no audit log"):
        await SqliteAuditStore(folder).query(AuditFilter())
    assert not folder.exists()


async def test_a_query_uses_the_index_for_a_plugin(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        assert store._writer is not None
        assert store._writer._connection is not None
        for query in (
            AuditFilter(plugin="a", after_seq=3),
            AuditFilter(plugin="a", newest_first=True, limit=3),
        ):
            sql, values = _select(query)
            plan = store._writer._connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)
            steps = " ".join(str(row[3]) for row in plan)
            assert "entry_by_plugin" in steps
            assert "TEMP B-TREE" not in steps


async def test_a_cancelled_query_is_left_at_once(folder: Path) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
        with trio.CancelScope() as scope:
            scope.cancel()
            await store.query(AuditFilter())
        assert scope.cancelled_caught
        assert len(await store.query(AuditFilter())) == 1


async def test_a_query_refuses_to_show_an_entry_that_was_changed_out_of_form(
    folder: Path, database: Path
) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1), example_entry(2)])
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE entry SET body = '[1,2,3]' WHERE seq = 2")
    connection.close()
    with pytest.raises(AuditIntegrityError):
        await store.query(AuditFilter())


async def test_a_query_refuses_to_show_an_entry_in_anothers_place(
    folder: Path, database: Path
) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1), example_entry(2)])
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE entry SET seq = 7 WHERE seq = 2")
    connection.close()
    with pytest.raises(AuditIntegrityError) as caught:
        await store.query(AuditFilter())
    assert caught.value.seq == 7


async def test_a_path_with_odd_characters_is_just_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "a?b#c%20 d"
    async with SqliteAuditStore(folder) as store:
        await store.append([example_entry(1)])
    assert verify_log(folder).entries == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(text=st.text(max_size=50), details=st.dictionaries(st.text(), json_values, max_size=3))
@example(text="", details={"": [[[[[]]]]]})
@example(text="\ud800\x00", details={"\ud800": "\ud83d\ude00"})
@example(text="", details={"a": 10**4000})
def test_the_database_takes_every_entry_that_can_be_made(text: str, details: JsonObject) -> None:
    """An index reads the canonical text as JSON; what it refused could never be stored."""
    made = AuditEntry(action=text, timestamp=datetime.now(UTC), plugin=text, details=details)
    sealed, stored = seal_entry(GENESIS, 1, made)
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_schema(connection)
        connection.execute("INSERT INTO entry VALUES (1, ?, ?)", (stored, sealed.hash))
        found = connection.execute(
            f"SELECT CAST(body AS BLOB), hash FROM entry WHERE {field_expression('plugin')} = ?",
            (made.plugin,),
        ).fetchone()
    assert canonical_bytes(entry_from_bytes(*found)) == canonical_bytes(sealed)
