"""Each instance has a folder for sockets of its own, and none of them stays behind."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import trio

from sigil_actors.tiers.process.removal import remove_folder
from sigil_actors.tiers.process.socket_dir import open_socket_dirs
from sigil_actors.tiers.process.spawner import Identity
from tests.tiers.process.machine import descriptors


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the temporary folder one that nobody else uses."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


async def test_folders_are_private_and_gone_with_their_blocks(temporary: Path) -> None:
    before = descriptors()
    async with open_socket_dirs() as dirs:
        async with dirs.open(None) as first, dirs.open(None) as second:
            assert first.path != second.path
            assert first.path.stat().st_mode & 0o777 == 0o700
            (first.path / "plugin123").touch()
        assert not first.path.exists()
    assert not list(temporary.iterdir())
    assert descriptors() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
async def test_a_folder_belongs_to_whom_the_plugin_runs_as_but_not_the_hosts_part_of_it() -> None:
    async with open_socket_dirs() as dirs, dirs.open(Identity(uid=54321, gid=54322)) as made:
        found = made.path.stat()
        assert (found.st_uid, found.st_gid, found.st_mode & 0o777) == (54321, 54322, 0o700)
        found = made.host_path.stat()
        assert (found.st_uid, found.st_mode & 0o777) == (0, 0o711)
        assert made.is_shared


async def test_cancelled_it_leaves_nothing_either(temporary: Path) -> None:
    with trio.CancelScope() as scope:
        async with open_socket_dirs() as dirs, dirs.open(None):
            scope.cancel()
            await trio.lowlevel.checkpoint()
    assert not list(temporary.iterdir())


KILLED = """
import tempfile, trio, sys
tempfile.tempdir = sys.argv[1]
from sigil_actors.tiers.process.socket_dir import open_socket_dirs
async def main():
    async with open_socket_dirs() as dirs, dirs.open(None):
        print("open", flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_what_a_killed_runtime_left_is_swept_and_what_a_living_one_has_is_not(
    temporary: Path,
) -> None:
    with subprocess.Popen(  # noqa: ASYNC220 - it answers at once
        (sys.executable, "-c", KILLED, str(temporary)), stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        (left,) = temporary.iterdir()
        async with open_socket_dirs():
            assert (left / "1").exists()
        other.send_signal(signal.SIGKILL)
        other.wait()
    assert (left / "1").exists()
    async with open_socket_dirs():
        pass  # it is swept meanwhile, and waited for at the end
    assert not left.exists()


def test_a_folder_is_removed_however_deep_it_is_and_no_link_is_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "0.moved").mkdir()
    (folder / "0.moved" / "file").touch()
    depth = os.open(folder, os.O_RDONLY)
    for level in range(1100):
        os.mkdir("d", dir_fd=depth)
        if level % 100 == 0:
            os.mkdir("e", dir_fd=depth, mode=0)
            os.symlink(outside, "l", dir_fd=depth)
        deeper = os.open("d", os.O_RDONLY, dir_fd=depth)
        os.close(depth)
        depth = deeper
    os.close(depth)
    remove_folder(folder)
    assert not folder.exists()
    assert (outside / "precious").exists()


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (tmp_path / "link").symlink_to(outside)
    remove_folder(tmp_path / "link")
    assert (outside / "precious").exists()
