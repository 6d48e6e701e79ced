"""The snapshot: what was checked is what runs, and nothing outside the folder gets in."""

import os
import socket
from pathlib import Path

import pytest
import trio

from sigil_actors import LimitExceededError, PluginStartError
from sigil_actors.runtime.snapshot import Snapshot, open_snapshot

MIB = 1024 * 1024


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "plugin"
    (folder / "bin").mkdir(parents=True)
    (folder / "plugin.yaml").write_text("name: x")
    (folder / "bin" / "run").write_bytes(b"#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o700)
    return folder


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "snapshots"
    folder.mkdir()
    return folder


async def digest(plugin: Path, into: Path) -> str:
    async with open_snapshot("x", plugin, into=into, bytes_max=MIB, files_max=100) as snapshot:
        return snapshot.digest


async def test_a_copy_holds_what_the_folder_held_and_goes_with_its_block(
    plugin: Path, into: Path
) -> None:
    async with open_snapshot("x", plugin, into=into, bytes_max=MIB, files_max=100) as snapshot:
        assert (snapshot.folder / "plugin.yaml").read_text() == "name: x"
        assert (snapshot.folder / "bin" / "run").stat().st_mode & 0o777 == 0o755
        assert (snapshot.files, snapshot.size_bytes) == (3, 17)
        (plugin / "plugin.yaml").write_text("name: changed")
        assert (snapshot.folder / "plugin.yaml").read_text() == "name: x"
    assert list(into.iterdir()) == []


async def test_the_digest_tells_every_difference(plugin: Path, into: Path) -> None:
    seen = [await digest(plugin, into)]
    assert await digest(plugin, into) == seen[0]
    changes = (
        lambda: (plugin / "plugin.yaml").write_text("name: y"),
        lambda: (plugin / "bin" / "run").chmod(0o600),
        lambda: (plugin / "plugin.yaml").rename(plugin / "plugin.yml"),
        lambda: (plugin / "link").symlink_to("bin"),
        (plugin / "folder").mkdir,
    )
    for change in changes:
        change()
        seen.append(await digest(plugin, into))
    assert len(set(seen)) == len(seen)


async def test_a_link_is_copied_as_a_link_and_never_followed(
    plugin: Path, into: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    (plugin / "file").symlink_to(secret)
    (plugin / "folder").symlink_to(tmp_path)
    async with open_snapshot("x", plugin, into=into, bytes_max=MIB, files_max=100) as snapshot:
        assert (snapshot.folder / "file").is_symlink()
        assert (snapshot.folder / "folder").is_symlink()
        assert snapshot.size_bytes == 17


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_what_is_neither_file_nor_folder_is_refused(
    plugin: Path, into: Path, kind: str
) -> None:
    if kind == "pipe":
        os.mkfifo(plugin / "odd")
    else:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(plugin / "odd"))
    with pytest.raises(PluginStartError, match="odd"):
        await digest(plugin, into)
    assert list(into.iterdir()) == []


@pytest.mark.parametrize(("bytes_max", "files_max"), [(16, 100), (100, 2)])
async def test_a_folder_over_its_bounds_is_refused_and_leaves_nothing(
    plugin: Path, into: Path, bytes_max: int, files_max: int
) -> None:
    with pytest.raises(LimitExceededError, match="snapshot"):
        async with open_snapshot("x", plugin, into=into, bytes_max=bytes_max, files_max=files_max):
            pytest.fail("it must not open")
    assert list(into.iterdir()) == []


async def test_a_folder_of_endless_depth_is_refused(tmp_path: Path, into: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    deepest = folder
    for _ in range(40):
        deepest /= "d"
    deepest.mkdir(parents=True)
    with pytest.raises(LimitExceededError, match="depth"):
        await digest(folder, into)


async def test_a_missing_folder_is_told(tmp_path: Path, into: Path) -> None:
    with pytest.raises(PluginStartError, match="can't be copied"):
        await digest(tmp_path / "missing", into)


async def test_a_cancelled_load_leaves_no_copy_behind(plugin: Path, into: Path) -> None:
    (plugin / "large").write_bytes(bytes(8 * MIB))
    for steps in range(1, 8):
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel(steps: int = steps, scope: trio.CancelScope = scope) -> None:
                    for _ in range(steps):
                        await trio.lowlevel.checkpoint()
                    scope.cancel()

                nursery.start_soon(cancel)
                async with open_snapshot(
                    "x", plugin, into=into, bytes_max=100 * MIB, files_max=100
                ):
                    await trio.sleep_forever()
        assert list(into.iterdir()) == []


def test_a_snapshot_is_a_value() -> None:
    made = Snapshot(folder=Path("a"), digest="0", size_bytes=1, files=1)
    assert made == Snapshot(folder=Path("a"), digest="0", size_bytes=1, files=1)
