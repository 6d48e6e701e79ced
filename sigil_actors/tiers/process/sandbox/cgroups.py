"""Groups of processes: one for each instance, bounded before its program runs, gone with it.

All groups of a runtime lie in a folder of its own (one in each hierarchy), on which it holds a lock
while it lives: what a killed runtime left is killed and swept away by the next one. A number of a
process would say less: it may be somebody else's by now, or one of another container.
"""

import fcntl
import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.calls import Usage
from sigil_actors.core.host_facts import Cgroups, CgroupVersion
from sigil_actors.core.sandbox_plan import SandboxLimits
from sigil_actors.tiers.process.sandbox.cgroup_delegation import enable, made_room
from sigil_actors.tiers.process.sandbox.cgroup_files import (
    PREFIX,
    Folders,
    attach,
    kill_all,
    read_memory_kills,
    read_usage,
    write_limits,
)
from sigil_actors.tiers.process.sandbox.cgroup_probe import own_group

REMOVE_S = 5.0
"""Seconds that a group may take to become empty once it was killed; longer only where a process is
stuck in the kernel. What stays is swept by the next runtime."""

RETRY_S = 0.002
"""Seconds until a group that isn't empty yet is looked at again: the kernel tells nobody."""

SWEEP_S = 2.0
"""Seconds that a start spends on what others left."""

SWEPT_MAX = 4096
"""Groups that a sweep looks at: far more than a runtime has plugins."""


class Cgroup:
    """One instance's group."""

    def __init__(self, version: CgroupVersion, folders: Folders, limits: SandboxLimits) -> None:
        self._version = version
        self._folders = folders
        self._limits = limits

    async def make(self) -> None:
        """Make and bound it, and make moves to it quick; once, first.

        Raises:
            OSError: it couldn't be made or bounded.
        """
        # Not abandoned on cancel: the thread would make it behind the back of its removal.
        await run_in_worker(self._make, abandon_on_cancel=False)

    def _make(self) -> None:
        for folder in set(self._folders.values()):
            folder.mkdir()
        write_limits(self._version, self._folders, self._limits)
        hasten_moves()

    @property
    def folders(self) -> tuple[Path, ...]:
        """Return where it lies."""
        return tuple(dict.fromkeys(self._folders.values()))

    async def attach(self, pid: int) -> None:
        """Move a process into it.

        Raises:
            OSError: it couldn't be moved.
        """
        await run_in_worker(lambda: attach(self._folders, pid), abandon_on_cancel=False)

    def kill(self) -> None:
        """Kill every process in it."""
        kill_all(self._folders)

    def usage(self) -> Usage | None:
        """Return what it uses, or None where that isn't counted."""
        return read_usage(self._version, self._folders)

    def memory_kills(self) -> int:
        """Return how many of its processes were killed since it reached its memory limit."""
        return read_memory_kills(self._version, self._folders)


class CgroupMaker:
    """Makes the groups of one runtime."""

    def __init__(self, facts: Cgroups, folders: Folders) -> None:
        self._facts = facts
        self._folders = folders
        self._made = 0

    @property
    def controllers(self) -> frozenset[str]:
        """Return what its groups count and bound."""
        return self._facts.controllers

    @property
    def places(self) -> tuple[Path, ...]:
        """Return the folders in which its groups lie."""
        return tuple(dict.fromkeys(self._folders.values()))

    @asynccontextmanager
    async def open_group(self, limits: SandboxLimits) -> AsyncGenerator[Cgroup, None]:
        """Give a group that is still to be made; all that is in it ends with the block, and it too.

        Two steps, so that it can be made at the same time as something else.
        """
        self._made += 1
        name = str(self._made)
        group = {controller: folder / name for controller, folder in self._folders.items()}
        try:
            yield Cgroup(self._facts.version, group, limits)
        finally:
            await _remove(group)


def hasten_moves() -> None:
    """Have the kernel get ready to move processes, which takes it some 7 ms after a while without.

    It waits until all processors have noticed, for the first move only. So this process is moved to
    where it is already, which can be done while bubblewrap is still being started.
    """
    if (folder := own_group()) is not None:
        with suppress(OSError):
            (folder / "cgroup.procs").write_text(str(os.getpid()))


async def _remove(group: Folders) -> None:
    # Shielded, since nobody else removes it while this runtime lives; bounded, see REMOVE_S.
    with trio.move_on_after(REMOVE_S, shield=True):
        # No event tells that a group is empty in version 1.
        while not await run_in_worker(  # noqa: ASYNC110
            lambda: _try_to_remove(group), abandon_on_cancel=False
        ):
            await trio.sleep(RETRY_S)


def _try_to_remove(group: Folders) -> bool:
    """Tell whether nothing of it is left."""
    is_gone = True
    for folder in set(group.values()):
        try:
            folder.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            is_gone = False
    if not is_gone:
        kill_all({controller: folder for controller, folder in group.items() if folder.exists()})
    return is_gone


@attrs.frozen
class _Locked:
    """A folder of this runtime's own, and the descriptor that holds its lock."""

    folder: Path
    descriptor: int


@asynccontextmanager
async def open_cgroups(facts: Cgroups) -> AsyncGenerator[CgroupMaker, None]:
    """Own a place for groups as long as the block lasts; sweep those whose owner was killed.

    Raises:
        OSError: no group can be made there, though the probe found so.
    """
    bases = {controller: Path(folder) for controller, folder in facts.folders.items()}
    # A start that is cancelled goes on without it; the sweep ends by itself.
    await run_in_worker(lambda: _sweep(set(bases.values())))
    held: dict[Path, _Locked] = {}
    room = ExitStack()
    try:
        await run_in_worker(
            lambda: _make_place(facts.version, bases, held, room), abandon_on_cancel=False
        )
        yield CgroupMaker(
            facts, {controller: held[base].folder for controller, base in bases.items()}
        )
    finally:
        # Shielded, since the next runtime may be long in coming. The lock is held to the end.
        with trio.move_on_after(REMOVE_S, shield=True):
            await run_in_worker(lambda: _remove_place(held, room), abandon_on_cancel=False)


def _remove_place(held: dict[Path, _Locked], room: ExitStack) -> None:
    for locked in held.values():
        with suppress(OSError):
            _clear(locked.folder, time.monotonic() + SWEEP_S)
        os.close(locked.descriptor)
    room.close()


def _make_place(
    version: CgroupVersion, bases: Folders, held: dict[Path, _Locked], room: ExitStack
) -> None:
    for base in set(bases.values()):
        if version is CgroupVersion.V2:
            room.enter_context(made_room(base, frozenset(bases)))
        held[base] = _make_locked(base)
        if version is CgroupVersion.V2:
            enable(held[base].folder, frozenset(bases))


def _make_locked(base: Path) -> _Locked:
    while True:
        folder = base / f"{PREFIX}{secrets.token_hex(4)}"
        folder.mkdir()
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another runtime's sweep may have come between, and may have removed it.
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return _Locked(folder, descriptor)
        os.close(descriptor)


def _sweep(bases: set[Path]) -> None:
    deadline_s = time.monotonic() + SWEEP_S
    # Exactly the names that runtimes give: what is swept is killed, and others name groups too.
    pattern = PREFIX + "[0-9a-f]" * 8
    found = (folder for base in bases for folder in base.glob(pattern))
    for folder, _ in zip(found, range(SWEPT_MAX), strict=False):
        with suppress(OSError):
            _sweep_one(folder, deadline_s)


def _sweep_one(folder: Path, deadline_s: float) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        # Refused where its owner lives.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(folder, deadline_s)
    finally:
        os.close(descriptor)


def _clear(folder: Path, deadline_s: float) -> None:
    """Kill what is in the groups of a folder, and remove it with them, as far as time allows."""
    for group in (*(entry for entry in folder.iterdir() if entry.is_dir()), folder):
        while not _try_to_remove({"": group}) and time.monotonic() < deadline_s:
            time.sleep(RETRY_S)
