"""The processes of a sandbox, held by descriptors: its first one, and the plugin itself.

The first one is bubblewrap's own; when it ends, the kernel ends all others before it counts as
gone. The plugin is its child with the number 2 inside.
"""

import os
import select
import signal
from contextlib import suppress
from pathlib import Path

import trio

PLUGIN_INSIDE = 2

FIND_S = 5.0
"""Seconds that the plugin's process may take to be there once nothing holds it any more."""

FIND_EVERY_S = 0.0005
"""It takes less than a millisecond, and no event tells."""


class HeldProcess:
    """A process by its descriptor: never somebody else's."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._waiting = trio.Lock()

    def is_over(self) -> bool:
        """Tell whether it has ended."""
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(0))

    async def wait_over(self) -> None:
        """Wait until it has ended."""
        async with self._waiting:
            if self._descriptor >= 0:
                await trio.lowlevel.wait_readable(self._descriptor)

    def reap(self) -> None:
        """Let the kernel forget it, where it fell to this process when its parent ended.

        So it does in a container that the host is the first process of. Others aren't touched.
        """
        if self._descriptor >= 0:
            with suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, self._descriptor, os.WEXITED | os.WNOHANG)

    def send_signal(self, number: int) -> None:
        """Send it a signal; nothing happens where it has ended."""
        with suppress(ProcessLookupError, PermissionError):
            signal.pidfd_send_signal(self._descriptor, number)

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor >= 0:
            trio.lowlevel.notify_closing(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1


def hold_first_process(pid: int, parent: int) -> HeldProcess | None:
    """Return a sandbox's first process, or None where it has ended; `parent` is bubblewrap's."""
    return _hold(pid, parent, inside=1)


async def find_plugin(first: HeldProcess) -> HeldProcess | None:
    """Return the plugin's own process, or None where it has ended already."""
    with trio.move_on_after(FIND_S):
        while not first.is_over():
            for pid in _children(first.pid):
                if (found := _hold(pid, first.pid, inside=PLUGIN_INSIDE)) is not None:
                    return found
            await trio.sleep(FIND_EVERY_S)
    return None


def _hold(pid: int, parent: int, *, inside: int) -> HeldProcess | None:
    try:
        process = HeldProcess(pid)
    except OSError:
        return None
    # Looked at after it is held: so it is what was meant, or has ended.
    status = _status(pid)
    is_right = status.get("PPid") == str(parent) and status.get("NSpid", "").split()[-1:] == [
        str(inside)
    ]
    if not is_right or process.is_over():
        process.close()
        return None
    return process


def _children(pid: int) -> tuple[int, ...]:
    with suppress(OSError):
        return tuple(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return ()


def _status(pid: int) -> dict[str, str]:
    with suppress(OSError):
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return {name: rest.strip() for name, _, rest in (line.partition(":") for line in lines)}
    return {}
