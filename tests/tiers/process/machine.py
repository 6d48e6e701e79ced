"""What the tests of real processes look at: who is alive, what is open, what is left."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import trio


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children() -> set[int]:
    """Return this process's own children, zombies included."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


def descriptors() -> int:
    """Return how many descriptors this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def eventually(is_so: Callable[[], bool]) -> None:
    """Wait, within bounds, for what nobody can tell us about."""
    with trio.fail_after(5):
        while not is_so():  # noqa: ASYNC110 - no event comes from another process or thread
            await trio.sleep(0.001)
