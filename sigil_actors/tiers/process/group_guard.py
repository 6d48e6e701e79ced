"""A tiny process that outlives the host by a moment, and kills what the host left behind.

A death signal reaches a plugin, but nothing that the plugin has started: without a sandbox, which
has its own process namespace, that would live on after a kill -9 of the host. The guard reads which
groups there are from a pipe; when the pipe's other end is gone, so is the host.
"""

import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress

from sigil_actors.tiers.process.spawner import Spawner

# A shell, since it is there within a millisecond and needs a megabyte.
_SCRIPT = """
groups=' '
while read -r order group; do
    case $order in
        add) case $groups in *" $group "*) ;; *) groups="$groups$group " ;; esac ;;
        remove) case $groups in
            *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;;
        esac ;;
    esac
done
for group in $groups; do kill -s KILL -- "-$group"; done 2>/dev/null
"""


class GroupGuard:
    """The host's end of the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    @property
    def descriptor(self) -> int:
        """Return the pipe, for a child that tells the guard of itself: `add GROUP`, a line."""
        return self._pipe

    @contextmanager
    def watching(self, group: int) -> Generator[None, None, None]:
        """Have the group killed if the host is, for as long as the block lasts.

        Raises:
            OSError: the guard is gone.
        """
        # Short enough to be written whole or not at all, and read at once.
        os.write(self._pipe, f"add {group}\n".encode())
        with self.forgetting(group):
            yield

    @contextmanager
    def forgetting(self, group: int) -> Generator[None, None, None]:
        """Have a group that told of itself watched no more when the block is left."""
        try:
            yield
        finally:
            with suppress(OSError):
                os.write(self._pipe, f"remove {group}\n".encode())


@asynccontextmanager
async def open_group_guard(spawner: Spawner) -> AsyncGenerator[GroupGuard, None]:
    """Run a guard as long as the block lasts.

    Raises:
        OSError: there is no shell.
    """
    readable, writable = os.pipe()
    try:
        try:
            guard = await spawner.spawn(("/bin/sh", "-c", _SCRIPT), env={}, stdin=readable)
        finally:
            os.close(readable)
        async with guard:
            yield GroupGuard(writable)
    finally:
        os.close(writable)
