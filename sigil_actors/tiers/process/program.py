"""What a started program is to the tier, whichever way it was started; and how it ended."""

import signal as signals
import socket
from pathlib import Path
from typing import Protocol

import attrs
import trio

from sigil_actors.core.calls import Usage


@attrs.frozen(kw_only=True)
class ProgramEnd:
    """How a program ended. Of `exit_status` and `signal` at most one is set."""

    exit_status: int | None = None
    signal: int | None = None
    out_of_memory: bool = False
    """Whether it was killed because it reached its memory limit."""
    passed_bound: str = ""
    """Why the host killed it, where it held more of the machine than it may."""

    def __str__(self) -> str:
        """Return it as the end of a sentence that begins with the plugin's name."""
        if self.out_of_memory:
            return "was killed when it reached its memory limit"
        if self.passed_bound:
            return f"was killed, since {self.passed_bound}"
        if self.signal is not None:
            return f"was killed by {_signal_name(self.signal)}"
        if self.exit_status is not None:
            return f"exited with status {self.exit_status}"
        # Somebody else in this process has waited for it: an embedding application that calls
        # waitpid(-1), or one that ignores SIGCHLD.
        return "exited with a status that wasn't told"


def _signal_name(number: int) -> str:
    try:
        return signals.Signals(number).name
    except ValueError:
        return f"signal {number}"


class RunningProgram(Protocol):
    """A program that runs. Whoever opened it sees to it that nothing of it is left."""

    @property
    def pid(self) -> int:
        """Return the plugin's own process, as the host sees it: signals go there."""

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """Return what it writes to its standard output, for one reader."""

    @property
    def stderr(self) -> trio.abc.ReceiveStream:
        """Return what it writes to its standard error, for one reader."""

    @property
    def socket_dir(self) -> Path:
        """Return the folder for its sockets, as the host sees it; it has the same path inside."""

    @property
    def socket_uid(self) -> int:
        """Return the uid that its sockets belong to, as the host sees it."""

    async def connect_tcp(self, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to 127.0.0.1:`port` as the plugin sees it.

        Raises:
            OSError: nobody listens there.
        """

    async def wait(self) -> ProgramEnd:
        """Wait until it has ended, and return how. Any number of tasks may wait."""

    def terminate(self) -> None:
        """Send SIGTERM to the plugin itself. Nothing happens where it has ended."""

    def kill(self) -> None:
        """End it and all that it started, at once. Nothing happens where it has ended."""

    def usage(self) -> Usage | None:
        """Return what it uses, or None where the machine can't tell."""
