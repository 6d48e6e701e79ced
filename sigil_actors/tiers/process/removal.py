"""Removes a folder that a plugin could write in, whatever it made of it."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path


def remove_folder(folder: Path) -> None:
    """Remove a folder with all that is in it; what can't be removed stays.

    Nobody may write in it any more. Unlike `shutil.rmtree`, takes any depth: what lies in an inner
    folder is moved up first, so that there is never more than one level to go down. Follows no
    link.
    """
    with suppress(OSError):
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            _empty(top)
        finally:
            os.close(top)
        folder.rmdir()


def _empty(top: int) -> None:
    names = count()
    removed = -1
    while removed:
        # Until nothing more can be removed, not until it is empty: that may never come.
        removed = sum(_remove_entry(top, name, names) for name in os.listdir(top))


def _remove_entry(top: int, name: str, names: Iterator[int]) -> bool:
    """Tell whether something was removed."""
    try:
        if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=top)
            return True
        # No link, as was just seen; without this, its owner may be kept out of it.
        os.chmod(name, 0o700, dir_fd=top)
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=top)
        try:
            for inner in os.listdir(folder):  # noqa: PTH208 - Path can't list a descriptor
                _move_or_unlink(folder, inner, top, names)
        finally:
            os.close(folder)
        os.rmdir(name, dir_fd=top)
    except OSError:
        return False
    return True


def _move_or_unlink(folder: int, name: str, top: int, names: Iterator[int]) -> None:
    if not stat.S_ISDIR(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=folder)
        return
    os.chmod(name, 0o700, dir_fd=folder)
    while True:
        # Moving a folder onto another's name would fail unless that one is empty.
        moved = f"{next(names)}.moved"
        try:
            os.stat(moved, dir_fd=top, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, moved, src_dir_fd=folder, dst_dir_fd=top)
            return
