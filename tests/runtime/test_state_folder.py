"""The folder that a runtime keeps its state in: one at a time, and nothing left over."""

import os
import tempfile
from pathlib import Path

import pytest

from sigil_actors.errors import KvUnavailableError, StateFolderError
from sigil_actors.storage.sqlite_kv import open_sqlite_kv
from sigil_actors.storage.state_folder import open_state_folder
from sigil_actors.storage.temporary_folder import make_temporary_folder


async def test_it_is_held_by_one_runtime_at_a_time(tmp_path: Path) -> None:
    async with open_state_folder(tmp_path / "state"):
        with pytest.raises(StateFolderError, match="another runtime"):
            async with open_state_folder(tmp_path / "state"):
                pytest.fail("it must not open")
    async with open_state_folder(tmp_path / "state"):
        assert (tmp_path / "state").stat().st_mode & 0o077 == 0


async def test_snapshots_of_a_killed_runtime_are_removed(tmp_path: Path) -> None:
    left_over = tmp_path / "snapshots" / "old-plugin"
    left_over.mkdir(parents=True)
    async with open_state_folder(tmp_path) as state:
        assert not left_over.exists()
        (state.snapshots() / "new").mkdir()
    assert not (tmp_path / "snapshots").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs plugins as somebody else")
async def test_as_root_snapshots_are_where_other_users_can_read_them(tmp_path: Path) -> None:
    async with open_state_folder(tmp_path) as state:
        snapshots = state.snapshots()
        assert snapshots.stat().st_mode & 0o777 == 0o711
        assert snapshots.parent == Path(tempfile.gettempdir())
        assert (tmp_path / "snapshots").resolve() == snapshots
    assert not snapshots.exists()
    assert not (tmp_path / "snapshots").is_symlink()


async def test_where_a_killed_runtimes_snapshots_were_is_removed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    state = tmp_path / "state"
    state.mkdir()
    left = make_temporary_folder("sigil-snapshots-")
    os.close(left.lock)
    (left.path / "old-plugin").mkdir()
    other = tmp_path / "sigil-snapshots-precious"
    (other / "mine").mkdir(parents=True)
    for target, is_removed in ((left.path, True), (other, False)):
        (state / "snapshots").symlink_to(target)
        async with open_state_folder(state):
            assert not (state / "snapshots").is_symlink()
        assert target.exists() is not is_removed


async def test_without_a_folder_there_is_a_temporary_one_that_goes() -> None:
    async with open_state_folder(None) as state:
        assert state.kv is None
        snapshots = state.snapshots()
        assert snapshots.is_dir()
    assert not snapshots.exists()


async def test_a_folder_that_cant_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateFolderError, match="can't be used"):
        async with open_state_folder(tmp_path / "file" / "state"):
            pytest.fail("it must not open")


async def test_a_kv_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "kv.sqlite3").write_bytes(b"no database, " * 100)
    with pytest.raises(KvUnavailableError, match=r"kv\.sqlite3|can't be opened"):
        async with open_sqlite_kv(tmp_path):
            pytest.fail("it must not open")
