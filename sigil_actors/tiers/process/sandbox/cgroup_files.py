"""The kernel's two interfaces for groups of processes: which file says what.

Owns names and forms of files. A group is one folder in version 2, and one folder for each
controller in version 1. Every function here reads or writes files that the kernel makes up, which
takes microseconds. See the kernel's admin-guide/cgroup-v2 and cgroup-v1.
"""

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from sigil_actors.core.calls import Usage
from sigil_actors.core.host_facts import CgroupVersion
from sigil_actors.core.sandbox_plan import SandboxLimits

PREFIX: Final = "sigil-plugins-"
"""What the names of a runtime's own groups begin with."""

CPU_PERIOD_US: Final = 100_000
"""The kernel's default: after its share of this time, a group waits for the next period."""
CPU_QUOTA_MIN_US: Final = 1_000
"""The least that the kernel takes."""

OWN_PROCESSES: Final = 1
"""bubblewrap's own in the group: the first process of the sandbox."""

Folders = Mapping[str, Path]
"""A group's folder, by controller."""


def write_limits(version: CgroupVersion, folders: Folders, limits: SandboxLimits) -> None:
    """Set what the group may use, as far as its controllers count it.

    Raises:
        OSError: a limit couldn't be set, so there is none.
    """
    for controller, folder in folders.items():
        for name, value, is_optional in _limits_of(version, controller, limits):
            file = folder / name
            if is_optional and not file.exists():
                continue
            file.write_text(value)


def _limits_of(
    version: CgroupVersion, controller: str, limits: SandboxLimits
) -> Iterator[tuple[str, str, bool]]:
    """Yield the file, what is written to it, and whether the kernel may have been built without."""
    quota_us = max(int(limits.cpu * CPU_PERIOD_US), CPU_QUOTA_MIN_US)
    memory = str(limits.memory_bytes)
    match controller, version:
        case "memory", CgroupVersion.V2:
            yield "memory.max", memory, False
            yield "memory.swap.max", "0", True
            # All of it ends, rather than what the kernel picks: half a plugin is no plugin.
            yield "memory.oom.group", "1", True
        case "memory", CgroupVersion.V1:
            yield "memory.limit_in_bytes", memory, False
            yield "memory.memsw.limit_in_bytes", memory, True  # swap counts too
        case "pids", _:
            yield "pids.max", str(limits.pids + OWN_PROCESSES), False
        case "cpu", CgroupVersion.V2:
            yield "cpu.max", f"{quota_us} {CPU_PERIOD_US}", False
        case "cpu", CgroupVersion.V1:
            yield "cpu.cfs_period_us", str(CPU_PERIOD_US), False
            yield "cpu.cfs_quota_us", str(quota_us), False
        case _:
            pass


def attach(folders: Folders, pid: int) -> None:
    """Move a process into the group; what it starts is born there.

    Raises:
        OSError: it couldn't be moved.
    """
    for folder in set(folders.values()):
        (folder / "cgroup.procs").write_text(str(pid))


def read_usage(version: CgroupVersion, folders: Folders) -> Usage | None:
    """Return what the group uses, or None where a part of it isn't counted, or the group is gone.

    The memory is what its limit counts: caches of files among it.
    """
    try:
        if version is CgroupVersion.V2:
            memory = _number(folders["memory"] / "memory.current")
            cpu_s = _words(folders["cpu"] / "cpu.stat")["usage_usec"] / 1e6
        else:
            memory = _number(folders["memory"] / "memory.usage_in_bytes")
            cpu_s = _number(folders["cpuacct"] / "cpuacct.usage") / 1e9
        pids = _number(folders["pids"] / "pids.current")
    except (OSError, KeyError, ValueError):
        return None
    return Usage(memory_bytes=memory, cpu_s=cpu_s, pids=max(pids - OWN_PROCESSES, 0))


def read_memory_kills(version: CgroupVersion, folders: Folders) -> int:
    """Return how many processes were killed since the group reached its memory limit."""
    name = "memory.events" if version is CgroupVersion.V2 else "memory.oom_control"
    try:
        return _words(folders["memory"] / name).get("oom_kill", 0)
    except (OSError, KeyError, ValueError):
        return 0


def _number(file: Path) -> int:
    return int(file.read_text())


def _words(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text().splitlines())
    return {name: int(value) for name, value in lines}


def processes(folder: Path) -> tuple[int, ...]:
    """Return the processes of a group that this process can see."""
    try:
        found = map(int, (folder / "cgroup.procs").read_text().split())
    except (OSError, ValueError):
        return ()
    return tuple(pid for pid in found if pid > 0)


def kill_all(folders: Folders) -> None:
    """Kill every process of the group."""
    for folder in set(folders.values()):
        with suppress(OSError):
            # Version 2, since Linux 5.14: at once, and whatever is being forked too.
            (folder / "cgroup.kill").write_text("1")
            continue
        for pid in processes(folder):
            _kill_member(folder, pid)


def _kill_member(folder: Path, pid: int) -> None:
    with suppress(OSError):
        descriptor = os.pidfd_open(pid)
        try:
            # The number may have become somebody else's before the descriptor held it.
            if pid in processes(folder):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        finally:
            os.close(descriptor)
