"""A temporary folder is removed with its owner, or by who comes after; and nothing else is."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from sigil_actors.storage.temporary_folder import (
    MARK,
    make_temporary_folder,
    sweep_temporary_folders,
)

PREFIX = "sigil-some-"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the temporary folder one that nobody else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def sweep() -> None:
    sweep_temporary_folders(PREFIX, shutil.rmtree)


def test_one_that_is_held_stays_and_goes_with_its_owner(temporary: Path) -> None:
    held = make_temporary_folder(PREFIX)
    assert held.path.stat().st_mode & 0o777 == 0o711
    (held.path / "inner").mkdir()
    sweep()
    assert (held.path / "inner").exists()
    held.release(shutil.rmtree)
    assert not list(temporary.iterdir())


def test_one_that_nobody_holds_is_swept() -> None:
    left = make_temporary_folder(PREFIX)
    (left.path / "inner" / "most").mkdir(parents=True)
    os.close(left.lock)
    sweep()
    assert not left.path.exists()


def test_only_what_carries_the_mark_is_swept_and_no_link_is_followed(temporary: Path) -> None:
    mine = temporary / f"{PREFIX}something"
    mine.mkdir()
    (mine / "precious").touch()
    (temporary / f"{PREFIX}linked").symlink_to(mine)
    (temporary / f"{PREFIX}odd" / MARK).mkdir(parents=True)
    (temporary / f"{PREFIX}pipe").mkdir()
    os.mkfifo(temporary / f"{PREFIX}pipe" / MARK)
    (temporary / f"{PREFIX}file").touch()
    before = sorted(temporary.rglob("*"))
    sweep()
    assert sorted(temporary.rglob("*")) == before


def test_one_whose_maker_was_killed_before_it_was_marked_is_swept(temporary: Path) -> None:
    tempfile.mkdtemp(prefix=PREFIX)
    sweep()
    assert not list(temporary.iterdir())


def test_the_mark_stays_as_long_as_anything_else_does() -> None:
    left = make_temporary_folder(PREFIX)
    (left.path / "stuck").mkdir()
    left.release(lambda _: None)
    assert (left.path / MARK).exists()
    sweep()
    assert not left.path.exists()


def test_who_is_swept_while_making_one_makes_another(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = tempfile.mkdtemp
    swept: list[str] = []

    def make_and_be_swept(prefix: str) -> str:
        made = make(prefix=prefix)
        if not swept:
            swept.append(made)
            sweep()
        return made

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_be_swept)
    held = make_temporary_folder(PREFIX)
    assert list(temporary.iterdir()) == [held.path]
    assert str(held.path) not in swept
    held.release(shutil.rmtree)
