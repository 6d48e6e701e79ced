"""What a plugin's write folders may hold: looked at from time to time, and it is ended when over.

No file system bounds a folder by itself without quotas of the operator's making. So this is a look
every few seconds, cheap and bounded itself: between two looks a plugin can go over by what the disk
takes in that time, and a single file never grows over the bound (RLIMIT_FSIZE).
"""

import os
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

import attrs
import trio

from sigil_actors.actors.worker_thread import run_in_worker

WRITE_BYTES_MAX = 1 << 30
"""What all write folders of a plugin may hold together: room for a cache or a database, and small
beside any disk."""

WRITE_ENTRIES_MAX = 100_000
"""Files and folders in them: empty ones take the disk's table of files, and the time of a look."""

LOOK_EVERY_S = 5.0
"""From the end of a look to the next."""

LOOK_S = 2.0
"""Seconds that a look takes at most; what it has counted by then is what it tells."""

DEPTH_MAX = 64
"""Levels that are looked at. Deeper down lies what somebody wants to hide: that counts as over."""

BLOCK_BYTES = 512
"""In which stat(2) counts what a file takes on the disk."""


class WriteBound:
    """The bound on one instance's write folders, which it was given open."""

    def __init__(self, folders: Sequence[int], *, size_bytes_max: int) -> None:
        self._folders = folders
        self._size_bytes_max = size_bytes_max

    async def look(self) -> str | None:
        """Return which bound is passed, in words; None where none is."""
        if not self._folders:
            return None
        # Not abandoned: its thread works with descriptors that are closed with the instance.
        held = await run_in_worker(
            lambda: look(self._folders, self._size_bytes_max), abandon_on_cancel=False
        )
        return held.what_is_over(self._size_bytes_max)

    async def wait_passed(self) -> str:
        """Wait until a bound is passed, and return which one."""
        if not self._folders:
            await trio.sleep_forever()
        while (what := await self.look()) is None:  # noqa: ASYNC110 - no event tells of bytes
            await trio.sleep(LOOK_EVERY_S)
        return what


@attrs.frozen(kw_only=True)
class Held:
    """What was found in write folders."""

    size_bytes: int
    entries: int
    is_too_deep: bool = False
    is_hidden: bool = False
    """Whether there is a folder that the host's user can't look into."""

    def what_is_over(self, size_bytes_max: int) -> str | None:
        """Return which bound is passed, in words; None where none is."""
        if self.size_bytes > size_bytes_max:
            return f"its write folders hold more than {size_bytes_max} bytes"
        if self.entries > WRITE_ENTRIES_MAX:
            return f"its write folders hold more than {WRITE_ENTRIES_MAX} files"
        if self.is_too_deep:
            return f"its write folders are nested deeper than {DEPTH_MAX}"
        if self.is_hidden:
            return "its write folders hold a folder that the host can't look into"
        return None


def look(folders: Iterable[int], size_bytes_max: int) -> Held:
    """Count what lies in folders, following no link, until a bound is passed or time is up.

    A file with several names counts for each: that it has others can't be told without a memory of
    all of them. Blocks: runs in a thread.
    """
    counted = _Count(size_bytes_max=size_bytes_max, deadline_s=time.monotonic() + LOOK_S)
    for folder in folders:
        with suppress(OSError):
            # Anew, since a descriptor that only stands for a folder can't be read.
            _count(os.open(f"/proc/self/fd/{folder}", os.O_RDONLY | os.O_DIRECTORY), counted, 0)
    return Held(
        size_bytes=counted.size_bytes,
        entries=counted.entries,
        is_too_deep=counted.is_too_deep,
        is_hidden=counted.is_hidden,
    )


@attrs.define
class _Count:
    size_bytes_max: int
    deadline_s: float
    size_bytes: int = 0
    entries: int = 0
    is_too_deep: bool = False
    is_hidden: bool = False

    def is_enough(self) -> bool:
        return (
            self.size_bytes > self.size_bytes_max
            or self.entries > WRITE_ENTRIES_MAX
            or self.is_too_deep
            or self.is_hidden
            or time.monotonic() > self.deadline_s
        )


def _count(folder: int, counted: _Count, depth: int) -> None:
    """Count what is in a folder, and close it."""
    try:
        if depth > DEPTH_MAX:
            counted.is_too_deep = True
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                if counted.is_enough():
                    return
                with suppress(OSError):
                    _count_entry(folder, entry, counted, depth)
    finally:
        os.close(folder)


def _count_entry(folder: int, entry: "os.DirEntry[str]", counted: _Count, depth: int) -> None:
    counted.entries += 1
    counted.size_bytes += entry.stat(follow_symlinks=False).st_blocks * BLOCK_BYTES
    if entry.is_dir(follow_symlinks=False):
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            inner = os.open(entry.name, flags, dir_fd=folder)
        except PermissionError:
            counted.is_hidden = True
        else:
            _count(inner, counted, depth + 1)
