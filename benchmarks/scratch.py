"""A folder for what a measure writes, on a disk that is one: a commit to memory costs nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.harness import BenchmarkError

_NO_DISKS = {"tmpfs", "ramfs", "devtmpfs"}


@contextmanager
def scratch_folder() -> Iterator[tuple[Path, str]]:
    """Give a folder, removed at the end, and the name of the file system that it is on.

    Raises:
        BenchmarkError: neither the temporary folder nor the current one is on a disk.
    """
    for parent in (Path(tempfile.gettempdir()), Path.cwd()):
        file_system = _file_system(parent)
        if file_system not in _NO_DISKS:
            with tempfile.TemporaryDirectory(prefix="sigil-bench-", dir=parent) as folder:
                yield Path(folder), file_system
            return
    raise BenchmarkError("neither the temporary folder nor this one is on a disk; set TMPDIR")


def _file_system(folder: Path) -> str:
    mounts = {mount.mountpoint: mount.fstype for mount in psutil.disk_partitions(all=True)}
    for parent in (folder.resolve(), *folder.resolve().parents):
        if str(parent) in mounts:
            return mounts[str(parent)]
    return "unknown"
