"""The processes below this one, as the kernel tells of them.

This process is made the subreaper of all that it starts: whoever loses its parent becomes a child
of this process, whatever session, group or folder it went to. So nothing can hide.
"""

import ctypes
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import attrs

_PR_SET_CHILD_SUBREAPER = 36


@attrs.frozen(kw_only=True)
class Process:
    """One process at a moment."""

    pid: int
    parent: int
    name: str
    is_zombie: bool
    arguments: str


@contextmanager
def subreaper() -> Iterator[None]:
    """Have orphans fall to this process while the block lasts."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "PR_SET_CHILD_SUBREAPER")
    try:
        yield
    finally:
        libc.prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def below(pid: int) -> Sequence[Process]:
    """Return all descendants of a process."""
    children: dict[int, list[Process]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (found := _read(int(entry.name))) is not None:
            children.setdefault(found.parent, []).append(found)
    todo, found_below = [pid], []
    while todo:
        mine = children.get(todo.pop(), [])
        found_below += mine
        todo += [child.pid for child in mine]
    return found_below


def _read(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        name, _, rest = stat.partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
        arguments = Path(f"/proc/{pid}/cmdline").read_text(errors="replace").replace("\0", " ")
    except (OSError, ValueError):
        return None
    return Process(
        pid=pid, parent=int(parent), name=name, is_zombie=state == "Z", arguments=arguments[:300]
    )


def reap_orphans(*, but: int | None) -> None:
    """Wait for zombies that fell to this process; `but` is waited for elsewhere."""
    for process in below(os.getpid()):
        if process.parent == os.getpid() and process.is_zombie and process.pid != but:
            with suppress(ChildProcessError):
                os.waitpid(process.pid, os.WNOHANG)


def kill_if_still(process: Process, host: int) -> bool:
    """Send SIGKILL to what was found below a host, and to nobody who has its number by now."""
    try:
        held = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        now = next((found for found in below(host) if found.pid == process.pid), None)
        if now is None or now.is_zombie:
            return False
        signal.pidfd_send_signal(held, signal.SIGKILL)
    except ProcessLookupError:
        return False
    else:
        return True
    finally:
        os.close(held)
