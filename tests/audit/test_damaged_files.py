"""Files that are torn, cut or full of rubbish get a report or a typed error, never a traceback."""

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio

from sigil_actors.audit.segment import connect
from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.audit.verify import BadEntryKind, verify_log
from sigil_actors.core.audit_entry import AuditFilter
from sigil_actors.errors import AuditIntegrityError, AuditUnavailableError
from sigil_actors.testing.audit_store_contract import example_entry

MakeLog = Callable[[int], bytes]
ENTRIES = 200
ROUNDS = 60


def look_at(folder: Path, head: bytes) -> None:
    """Do everything that reads a log: only the errors of the contract may come out."""
    with suppress(AuditUnavailableError):
        report = verify_log(folder, expected_head=head)
        assert report.entries <= ENTRIES
        assert report.is_good == (report.entries == ENTRIES and report.head == head) or (
            report.first_bad is not None and report.first_bad.kind is BadEntryKind.UNREADABLE
        )

    async def use() -> None:
        for query in (
            AuditFilter(),
            AuditFilter(plugin="plugin-1"),
            AuditFilter(capability="messages.*", newest_first=True),
        ):
            with suppress(AuditUnavailableError, AuditIntegrityError):
                await SqliteAuditStore(folder).query(query)
        with suppress(AuditUnavailableError):
            async with SqliteAuditStore(folder) as store:
                await store.append([example_entry(1)])

    trio.run(use)


def spoil(content: bytes, choice: random.Random) -> bytes:
    """Return `content` with one thing wrong with it."""
    spoiled = bytearray(content)
    match choice.randrange(6):
        case 0:  # a byte, anywhere
            spoiled[choice.randrange(len(spoiled))] ^= choice.randint(1, 255)
        case 1:  # a byte where SQLite keeps its own things: headers of the file and of pages
            page = 4096 * choice.randrange(len(spoiled) // 4096)
            spoiled[page + choice.randrange(130)] ^= choice.randint(1, 255)
        case 2:  # a torn tail
            del spoiled[choice.randrange(len(spoiled)) :]
        case 3:  # a stretch of rubbish
            start = choice.randrange(len(spoiled))
            length = min(choice.randint(1, 5000), len(spoiled) - start)
            spoiled[start : start + length] = choice.randbytes(length)
        case 4:  # a page in another's place
            pages = len(spoiled) // 4096
            one, other = 4096 * choice.randrange(pages), 4096 * choice.randrange(pages)
            spoiled[one : one + 4096] = content[other : other + 4096]
        case _:  # a page of nothing
            page = 4096 * choice.randrange(len(spoiled) // 4096)
            spoiled[page : page + 4096] = bytes(4096)
    return bytes(spoiled)


@pytest.mark.parametrize("seed", range(4))
def test_a_spoiled_database_never_gives_a_foreign_exception(
    folder: Path, database: Path, make_log: MakeLog, seed: int
) -> None:
    head = make_log(ENTRIES)
    content = database.read_bytes()
    choice = random.Random(seed)
    for _ in range(ROUNDS):
        database.write_bytes(spoil(content, choice))
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        look_at(folder, head)


def test_a_spoiled_write_ahead_log_never_gives_a_foreign_exception(
    folder: Path, database: Path
) -> None:
    files: dict[Path, bytes] = {}

    async def write() -> bytes:
        async with SqliteAuditStore(folder) as store:
            for _ in range(ENTRIES // 4):
                await store.append([example_entry(number) for number in range(4)])
            for suffix in ("", "-wal"):
                file = database.with_name(database.name + suffix)
                files[file] = file.read_bytes()
            return store.head

    head = trio.run(write)
    choice = random.Random(0)
    wal = database.with_name(database.name + "-wal")
    assert len(files[wal]) > 4096
    for _ in range(ROUNDS):
        for file, content in files.items():
            file.write_bytes(content)
        wal.write_bytes(spoil(files[wal], choice))
        database.with_name(database.name + "-shm").unlink(missing_ok=True)
        look_at(folder, head)


def test_a_broken_page_is_reported_with_where_it_is(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(2000)
    content = bytearray(database.read_bytes())
    page = 4096 * 40
    content[page : page + 8] = b"\xff" * 8  # a page's header: what kind it is, how much is on it
    database.write_bytes(content)
    report = verify_log(folder)
    assert report.first_bad is not None
    assert report.first_bad.kind is BadEntryKind.UNREADABLE
    assert "damaged" in report.first_bad.what
    assert f"after {report.entries} good entries" in report.first_bad.what


def test_rubbish_instead_of_a_database_is_reported_as_unreadable(
    folder: Path, database: Path
) -> None:
    folder.mkdir()
    database.write_bytes(random.Random(0).randbytes(10_000))
    report = verify_log(folder)
    assert report.first_bad is not None
    assert report.first_bad.kind is BadEntryKind.UNREADABLE
    assert "not a SQLite database" in report.first_bad.what


def test_a_page_that_hides_an_entry_is_damage_and_not_somebodys_deletion(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(ENTRIES)
    content = bytearray(database.read_bytes())
    # A leaf of a table begins with 13; its number of entries follows at 3, in two bytes.
    leaf = next(page for page in range(4096, len(content), 4096) if content[page] == 13)
    content[leaf + 4] -= 1
    database.write_bytes(content)
    report = verify_log(folder)
    assert report.first_bad is not None
    assert report.first_bad.kind is BadEntryKind.UNREADABLE
    assert 0 < report.entries < ENTRIES


def test_undecodable_bytes_in_the_databases_own_words_give_a_typed_error(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    """SQLite quotes them in its message, and Python can't decode that message."""
    head = make_log(ENTRIES)
    content = database.read_bytes()
    for name in (b"entry_by_plugin", b"CREATE INDEX", b"CREATE TABLE"):
        assert name in content
        database.write_bytes(content.replace(name, b"\xff" * len(name), 1))
        look_at(folder, head)
        report = verify_log(folder)
        assert report.first_bad is not None
        assert report.first_bad.kind in (BadEntryKind.UNREADABLE, BadEntryKind.FOREIGN)


def test_a_damaged_length_cannot_make_us_allocate_much(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(1)
    with closing(connect(database, options="mode=ro", busy_timeout_s=1)) as connection:
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) <= 1024 * 1024
