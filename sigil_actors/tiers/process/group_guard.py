"""A tiny process that outlives the host by a moment, and kills what the host left behind.

A death signal reaches a plugin, but nothing that the plugin has started: without a sandbox, which
has its own process namespace, that would live on after a kill -9 of the host. The guard reads which
groups there are from a pipe; when the pipe's other end is gone, so is the host. One that was killed
itself is started again and told what there is; until then, what is told waits in the pipe.
"""

import logging
import os
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Final

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.tiers.process.spawner import Spawner

logger = logging.getLogger(__name__)

# A shell, since it is there within a millisecond and needs a megabyte.
_SCRIPT = """
groups=" $* "
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


RESTART_S: Final = 0.1
"""Between a guard and the next: whoever kills each one can't keep the host busy."""


class GroupGuard:
    """The host's end of the pipe."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._groups: set[int] = set()
        self.first = trio.Event()
        """Set once it is known whether the first guard could be started."""
        self.error: OSError | None = None
        """Why it couldn't."""
        self.pid: int | None = None
        """The guard's process; None while there is none."""

    @property
    def groups(self) -> tuple[int, ...]:
        """Return the groups that are watched now."""
        return tuple(self._groups)

    @property
    def descriptor(self) -> int:
        """Return the pipe, for a child that tells the guard of itself: `add GROUP`, a line."""
        return self._pipe

    async def wait_started(self) -> None:
        """Wait until there is a guard.

        Raises:
            OSError: there is no shell.
        """
        await self.first.wait()
        if self.error is not None:
            raise self.error

    @contextmanager
    def watching(self, group: int) -> Generator[None, None, None]:
        """Have the group killed if the host is, for as long as the block lasts.

        Raises:
            OSError: the guard is long gone, and the pipe full.
        """
        with self.forgetting(group):
            yield

    @contextmanager
    def forgetting(self, group: int) -> Generator[None, None, None]:
        """Have a group, also one that told of itself, watched no more when the block is left."""
        self._groups.add(group)
        try:
            # Told once more, in case the guard that heard it is dead. Short enough to be written
            # whole or not at all.
            os.write(self._pipe, f"add {group}\n".encode())
            yield
        finally:
            self._groups.discard(group)
            with suppress(OSError):
                os.write(self._pipe, f"remove {group}\n".encode())


@asynccontextmanager
async def open_group_guard(spawner: Spawner) -> AsyncGenerator[GroupGuard, None]:
    """Run a guard as long as the block lasts.

    It is started before whatever the same spawner is asked for in the block, and need not be there
    yet when the block is entered: `wait_started` tells whether it could be.
    """
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    try:
        async with open_bare_nursery() as nursery:
            guard = GroupGuard(writable)
            await nursery.start(_keep_guarding, spawner, readable, guard)
            yield guard
            nursery.cancel_scope.cancel()
    finally:
        os.close(writable)
        os.close(readable)


@trio.lowlevel.enable_ki_protection
async def _keep_guarding(
    spawner: Spawner,
    pipe: int,
    guard: GroupGuard,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Have a guard run until cancelled, unless not even the first can be started."""
    # The spawner is asked before anybody else has a turn.
    task_status.started()
    while True:
        try:
            child = await spawner.spawn(
                ("/bin/sh", "-c", _SCRIPT, "sh", *map(str, guard.groups)), env={}, stdin=pipe
            )
        except OSError as error:
            if not guard.first.is_set():
                guard.error = error
                guard.first.set()
                return
            logger.error(  # noqa: TRY400 - the error is the message
                "what a killed host leaves behind isn't guarded now: %s", error
            )
        else:
            async with child:
                guard.pid = child.pid
                guard.first.set()
                end = await child.wait()
                guard.pid = None
            logger.warning("the guard of plugins' processes ended (%s), and is started again", end)
        await trio.sleep(RESTART_S)
