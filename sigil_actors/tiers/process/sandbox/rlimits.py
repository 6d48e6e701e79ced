"""The limits that each process carries itself, beside the group's and where there is no group.

They don't count what a plugin has in shared memory, and count processes by user: a group of the
kernel is what bounds a plugin; these bound what no group counts, and are the fallback.
"""

import resource

import attrs

from sigil_actors.core.sandbox_plan import SandboxLimits

FILE_BYTES_UNIT = 512
"""In which a POSIX shell takes the size of a file."""
KIBIBYTE = 1024
LOCKED_BYTES = 8 << 20
"""Memory that may be locked: the kernel's own default."""
SPARE_PROCESSES = 2
"""bubblewrap's own, which run as the plugin's user."""


@attrs.frozen(kw_only=True)
class ProcessLimits:
    """What every process of a plugin gets. None: unbounded here, since a group counts it."""

    open_files: int
    file_bytes: int
    """The largest file that may be written."""
    data_bytes: int | None
    """Private memory of one process. Not its address space: Go reserves far more than it uses."""
    processes: int | None
    """Of its user, threads counted."""

    def shell_commands(self, *, with_processes: bool) -> tuple[str, ...]:
        """Return the commands by which a shell takes these limits on, for what it runs then.

        Where the host itself has less, less it is: nobody could raise it.
        """
        commands = [
            "ulimit -c 0",
            f"ulimit -n {_possible(resource.RLIMIT_NOFILE, self.open_files)}",
            f"ulimit -l {_possible(resource.RLIMIT_MEMLOCK, LOCKED_BYTES) // KIBIBYTE}",
            f"ulimit -f {_possible(resource.RLIMIT_FSIZE, self.file_bytes) // FILE_BYTES_UNIT}",
        ]
        if self.data_bytes is not None:
            data_bytes = _possible(resource.RLIMIT_DATA, self.data_bytes)
            commands.append(f"ulimit -d {data_bytes // KIBIBYTE}")
        if with_processes and self.processes is not None:
            count = _possible(resource.RLIMIT_NPROC, self.processes)
            # The letter is p in dash and busybox, u in bash, where p can't be set.
            commands.append(f"{{ ulimit -p {count} 2>/dev/null || ulimit -u {count}; }}")
        return tuple(commands)

    def bound_processes(self, pid: int) -> None:
        """Bound how many processes the user of a process, and of its children to be, may have.

        Raises:
            OSError: it isn't the host's own user's.
        """
        if self.processes is not None:
            count = _possible(resource.RLIMIT_NPROC, self.processes)
            resource.prlimit(pid, resource.RLIMIT_NPROC, (count, count))


def _possible(kind: int, wanted: int) -> int:
    _, hard = resource.getrlimit(kind)
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)


def process_limits(
    limits: SandboxLimits, *, counted: frozenset[str], file_bytes: int
) -> ProcessLimits:
    """Return the limits for the processes of a plugin.

    `counted` holds what a group of the kernel counts: `memory`, `pids`.
    """
    return ProcessLimits(
        open_files=limits.open_files,
        file_bytes=file_bytes,
        data_bytes=None if "memory" in counted else limits.memory_bytes,
        processes=None if "pids" in counted else limits.pids + SPARE_PROCESSES,
    )
