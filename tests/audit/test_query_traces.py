"""A query leaves nothing beside the log, and notices a writer that comes while it reads."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from sigil_actors import AuditEntry, AuditFilter, SqliteAuditStore
from sigil_actors.audit import segment_reader
from sigil_actors.errors import AuditUnavailableError, ForeignAuditLogError


def entry() -> AuditEntry:
    return AuditEntry(action="lifecycle", timestamp=datetime.now(UTC))


async def write(folder: Path, count: int) -> None:
    async with SqliteAuditStore(folder) as store:
        await store.append([entry() for _ in range(count)])


async def test_a_query_leaves_the_folder_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    await write(folder, 3)
    before = sorted(path.name for path in folder.iterdir())
    assert len(await SqliteAuditStore(folder).query(AuditFilter())) == 3
    assert sorted(path.name for path in folder.iterdir()) == before


async def test_a_query_of_a_log_that_is_being_written_sees_what_is_in_its_write_ahead_log(
    tmp_path: Path,
) -> None:
    async with SqliteAuditStore(tmp_path / "audit") as store:
        await store.append([entry()])
        assert len(await SqliteAuditStore(tmp_path / "audit").query(AuditFilter())) == 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_query_reads_again_where_a_writer_came_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    folder = tmp_path / "audit"
    await write(folder, 1)
    opened: list[str] = []

    def open_unshared(file: Path, *, busy_timeout_s: float) -> object:
        opened.append("unshared")
        connection = real(file, busy_timeout_s=busy_timeout_s)
        (folder / "segment-000001.db-wal").touch()
        if fails:
            connection.close()
            raise OSError("half of a page")
        return connection

    real = segment_reader.open_unshared
    monkeypatch.setattr(segment_reader, "open_unshared", open_unshared)
    assert len(await SqliteAuditStore(folder).query(AuditFilter())) == 1
    assert opened == ["unshared"]


async def test_an_error_is_told_where_no_writer_came(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path / "audit", 1)

    def open_unshared(file: Path, *, busy_timeout_s: float) -> object:
        raise OSError("half of a page")

    monkeypatch.setattr(segment_reader, "open_unshared", open_unshared)
    with pytest.raises(AuditUnavailableError, match="can't be"):
        await SqliteAuditStore(tmp_path / "audit").query(AuditFilter())


async def test_a_file_that_is_no_database_is_told_by_its_type(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    (folder / "segment-000001.db").write_bytes(b"x" * 20_000)
    with pytest.raises(ForeignAuditLogError, match="not a SQLite database"):
        await SqliteAuditStore(folder).query(AuditFilter())
