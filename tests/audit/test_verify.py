"""Verification names the first entry that isn't what was written, and what is wrong with it."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from sigil_actors.audit import verify
from sigil_actors.audit.verify import BadEntry, BadEntryKind, VerifyReport, verify_log
from sigil_actors.core.audit_entry import GENESIS
from sigil_actors.errors import AuditUnavailableError

MakeLog = Callable[[int], bytes]
ENTRIES = 300


def change(database: Path, *statements: str) -> None:
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def expect_bad(report: VerifyReport, kind: BadEntryKind, seq: int) -> None:
    assert report.first_bad is not None
    assert (report.first_bad.kind, report.first_bad.seq) == (kind, seq), report
    assert report.entries == seq - 1
    assert report.first_bad.what
    assert not report.is_good


def test_a_log_that_nobody_touched_is_good(folder: Path, make_log: MakeLog) -> None:
    head = make_log(ENTRIES)
    report = verify_log(folder, expected_head=head)
    assert (report.entries, report.head, report.first_bad) == (ENTRIES, head, None)
    assert report.is_good


def test_a_log_without_entries_is_good(folder: Path, make_log: MakeLog) -> None:
    make_log(0)
    assert verify_log(folder, expected_head=GENESIS) == VerifyReport(entries=0, head=GENESIS)


def test_a_log_that_has_grown_since_the_expected_head_is_good(
    folder: Path, make_log: MakeLog
) -> None:
    head = make_log(5)
    make_log(5)
    assert verify_log(folder, expected_head=head).entries == 10


def test_verification_leaves_nothing_behind(
    folder: Path, make_log: MakeLog, tmp_path: Path
) -> None:
    make_log(5)
    copy = tmp_path / "copy.db"
    shutil.copy(folder / "segment-000001.db", copy)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert verify_log(folder).is_good
    assert verify_log(copy).is_good
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["audit", "copy.db"]


def test_progress_is_told(folder: Path, make_log: MakeLog) -> None:
    make_log(20_001)
    told: list[int] = []
    verify_log(folder, progress=told.append)
    assert told == [10_000, 20_000, 20_001]


def test_a_writer_that_comes_while_the_log_is_read_as_if_there_were_none_is_no_tampering(
    folder: Path, database: Path, make_log: MakeLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a write-ahead log the file is read unshared, and may change under the reading."""
    make_log(5)
    shared: list[bool] = []
    verify_file = verify._verify_file

    def verify_and_be_overtaken(*arguments: Any, is_shared: bool) -> VerifyReport:
        shared.append(is_shared)
        if is_shared:
            return verify_file(*arguments, is_shared=True)
        database.with_name(database.name + "-wal").touch()
        torn = BadEntry(seq=3, kind=BadEntryKind.UNREADABLE, what="torn")
        return VerifyReport(entries=2, head=GENESIS, first_bad=torn)

    monkeypatch.setattr(verify, "_verify_file", verify_and_be_overtaken)
    assert verify_log(folder).entries == 5
    assert shared == [False, True]


def test_where_there_is_no_log_there_is_no_verdict(folder: Path) -> None:
    with pytest.raises(AuditUnavailableError, match="no audit log"):
        verify_log(folder)


@pytest.mark.parametrize("seq", [1, 2, 150, ENTRIES])
@pytest.mark.parametrize(
    "set_clause",
    [
        "body = replace(body, 'allowed', 'ALLOWED') || ' '",
        "body = replace(body, '\"gateway\"', '\"someone\"')",
        "body = body || char(0)",
        "body = '[]'",
        "hash = zeroblob(32)",
        "hash = x'00'",
        "body = replace(body, '[1,' || seq || ',', '[1,' || (seq + 1000) || ',')",
    ],
)
def test_an_entry_that_was_edited_is_named(
    folder: Path, database: Path, make_log: MakeLog, seq: int, set_clause: str
) -> None:
    make_log(ENTRIES)
    change(database, f"UPDATE entry SET {set_clause} WHERE seq = {seq}")
    report = verify_log(folder)
    if seq == ENTRIES and "1000" in set_clause:  # no successor vouches for its hash
        expect_bad(report, BadEntryKind.REORDERED, seq)
    else:
        expect_bad(report, BadEntryKind.EDITED, seq)


@pytest.mark.parametrize("seq", [1, 2, 150, ENTRIES - 1])
def test_an_entry_that_is_missing_is_named(
    folder: Path, database: Path, make_log: MakeLog, seq: int
) -> None:
    make_log(ENTRIES)
    change(database, f"DELETE FROM entry WHERE seq = {seq}")
    expect_bad(verify_log(folder), BadEntryKind.MISSING, seq)


def test_a_run_of_missing_entries_is_named_as_a_whole(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(ENTRIES)
    change(database, "DELETE FROM entry WHERE seq BETWEEN 10 AND 99")
    report = verify_log(folder)
    expect_bad(report, BadEntryKind.MISSING, 10)
    assert report.first_bad is not None
    assert "10 to 99" in report.first_bad.what


@pytest.mark.parametrize(("one", "other"), [(1, 2), (20, 21), (5, 200), (1, ENTRIES)])
def test_entries_that_changed_places_are_named(
    folder: Path, database: Path, make_log: MakeLog, one: int, other: int
) -> None:
    make_log(ENTRIES)
    change(
        database,
        f"UPDATE entry SET seq = -1 WHERE seq = {one}",
        f"UPDATE entry SET seq = {one} WHERE seq = {other}",
        f"UPDATE entry SET seq = {other} WHERE seq = -1",
    )
    report = verify_log(folder)
    expect_bad(report, BadEntryKind.REORDERED, one)
    assert report.first_bad is not None
    assert str(other) in report.first_bad.what


def test_an_entry_that_was_given_another_number_is_named(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(ENTRIES)
    change(database, f"UPDATE entry SET seq = 1000 WHERE seq = {ENTRIES}")
    expect_bad(verify_log(folder), BadEntryKind.EDITED, ENTRIES)


def test_an_entry_before_the_first_is_foreign(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(ENTRIES)
    change(database, "INSERT INTO entry SELECT 0, body, hash FROM entry WHERE seq = 3")
    expect_bad(verify_log(folder), BadEntryKind.FOREIGN, 1)


def test_an_entry_added_behind_the_stores_back_is_named(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(5)
    change(database, "INSERT INTO entry SELECT 6, replace(body, '[1,5,', '[1,6,'), hash "
                     "FROM entry WHERE seq = 5")  # fmt: skip
    expect_bad(verify_log(folder), BadEntryKind.EDITED, 6)


def test_an_entry_in_a_later_form_is_foreign(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    make_log(1)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        (body,) = connection.execute("SELECT body FROM entry").fetchone()
        body = body.replace("[1,1,", "[2,1,")
        connection.execute(
            "UPDATE entry SET body = ?, hash = ?",
            (body, sha256(GENESIS + body.encode()).digest()),
        )
    expect_bad(verify_log(folder), BadEntryKind.FOREIGN, 1)


def test_a_tail_that_was_cut_off_shows_against_the_expected_head_only(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    head = make_log(ENTRIES)
    change(database, "DELETE FROM entry WHERE seq > 250")
    assert verify_log(folder).is_good
    expect_bad(verify_log(folder, expected_head=head), BadEntryKind.TRUNCATED, 251)


def test_a_log_that_was_rewritten_as_a_whole_shows_against_the_expected_head(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    head = make_log(ENTRIES)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        previous = GENESIS
        for seq, body in connection.execute("SELECT seq, body FROM entry ORDER BY seq").fetchall():
            forged = body.replace("denied", "allowed")
            previous = sha256(previous + forged.encode()).digest()
            connection.execute(
                "UPDATE entry SET body = ?, hash = ? WHERE seq = ?", (forged, previous, seq)
            )
    assert verify_log(folder).is_good
    report = verify_log(folder, expected_head=head)
    expect_bad(report, BadEntryKind.TRUNCATED, ENTRIES + 1)


def test_an_index_that_hides_an_entry_is_found(
    folder: Path, database: Path, make_log: MakeLog
) -> None:
    """A query for a plugin reads the index; the chain covers the table only."""
    make_log(ENTRIES)
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'entry_by_plugin'"
        ).fetchone()
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', ?, "
            "'CREATE TABLE x (plugin, seq, row, PRIMARY KEY (plugin, seq, row)) WITHOUT ROWID')",
            (page,),
        )
    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("DELETE FROM x WHERE seq = 20")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'x'")
    report = verify_log(folder)
    assert report.entries == ENTRIES
    assert report.first_bad is not None
    assert report.first_bad.kind is BadEntryKind.UNREADABLE
    assert "index" in report.first_bad.what


@pytest.mark.parametrize("seed", range(25))
def test_one_flipped_byte_of_any_stored_entry_names_that_entry(
    folder: Path, database: Path, make_log: MakeLog, seed: int
) -> None:
    make_log(ENTRIES)
    choice = random.Random(seed)
    with closing(sqlite3.connect(database)) as connection:
        stored = {
            seq: body.encode() + entry_hash  # as they lie in the file, one after the other
            for seq, body, entry_hash in connection.execute("SELECT seq, body, hash FROM entry")
        }
    content = bytearray(database.read_bytes())
    for _ in range(20):
        seq = choice.randint(1, ENTRIES)
        place = content.find(stored[seq])
        assert place > 0
        offset = place + choice.randrange(len(stored[seq]))
        flip = choice.randint(1, 255)
        content[offset] ^= flip
        database.write_bytes(content)
        expect_bad(verify_log(folder), BadEntryKind.EDITED, seq)
        content[offset] ^= flip
