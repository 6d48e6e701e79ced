"""One child process: wait for it without a thread, end its group, leave nothing of it.

A child is a leader of its own session and group. Its end is seen by a pidfd, which is readable
from then on; the group is killed before the child is reaped, since the number of the group can't
belong to anybody else until then.
"""

import os
import signal
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import IO, Self

import trio

from sigil_actors.tiers.process.program import ProgramEnd

REAP_S = 5.0
"""Seconds that a killed child gets to be gone; longer only if it is stuck in the kernel."""


class ChildProcess:
    """A running child, as made by `Spawner`. Leaving its block kills its group and reaps it."""

    def __init__(self, process: subprocess.Popen[bytes], pidfd: int) -> None:
        self._process = process
        self._pidfd = pidfd
        self._stdout = _stream(process.stdout)
        self._stderr = _stream(process.stderr)
        self._end: ProgramEnd | None = None
        self._wait_lock = trio.Lock()

    @property
    def pid(self) -> int:
        """Return its number; it stays its own until `end` is known."""
        return self._process.pid

    @property
    def stdout(self) -> trio.lowlevel.FdStream:
        """Return its standard output; only where a pipe was asked for."""
        if self._stdout is None:
            raise AssertionError("its standard output is no pipe")
        return self._stdout

    @property
    def stderr(self) -> trio.lowlevel.FdStream:
        """Return its standard error; only where a pipe was asked for."""
        if self._stderr is None:
            raise AssertionError("its standard error is no pipe")
        return self._stderr

    @property
    def end(self) -> ProgramEnd | None:
        """Return how it ended, or None while nobody has seen it end."""
        return self._end

    async def wait(self) -> ProgramEnd:
        """Wait until it has ended, end what is left of its group, and return how it ended."""
        async with self._wait_lock:
            if self._end is None:
                await trio.lowlevel.wait_readable(self._pidfd)
                self._end = self._reap()
                # Popen would wait for it once more, by a number that is somebody else's by now.
                self._process.returncode = 0
            return self._end

    def send_signal(self, number: int) -> None:
        """Send a signal to the child alone. Nothing happens where it has ended."""
        if self._end is None:
            # It may have ended a moment ago, or (a set-uid program) be none of ours any more.
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill_group(self) -> None:
        """Kill the child and its whole group. Nothing happens where it has ended."""
        if self._end is None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _reap(self) -> ProgramEnd:
        self.kill_group()
        try:
            told = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
        except ChildProcessError:
            told = None
        if told is None:
            return ProgramEnd()
        if told.si_code == os.CLD_EXITED:
            return ProgramEnd(exit_status=told.si_status)
        return ProgramEnd(signal=told.si_status)

    async def aclose(self) -> None:
        """Kill its group, wait until it is reaped, and close its descriptors."""
        self.kill_group()
        # Shielded, since a child left behind is what this class is there to prevent; bounded,
        # since one that is stuck in the kernel may outlive its SIGKILL for a while.
        with trio.move_on_after(REAP_S, shield=True):
            await self.wait()
        if self._end is None:
            # Nobody is left to wait for it: init will, when the kernel lets go of it.
            self._end = ProgramEnd(signal=signal.SIGKILL)
            self._process.returncode = 0
        if self._pidfd >= 0:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1
        for stream in (self._stdout, self._stderr):
            if stream is not None:
                # Shielded, since closing one must not leave the other open; it waits for nothing.
                with trio.move_on_after(REAP_S, shield=True):
                    await stream.aclose()

    async def __aenter__(self) -> Self:
        """Return the child."""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End it."""
        await self.aclose()


def _stream(pipe: IO[bytes] | None) -> trio.lowlevel.FdStream | None:
    """Return a stream that owns the pipe's descriptor in the place of `pipe`."""
    if pipe is None:
        return None
    descriptor = os.dup(pipe.fileno())
    pipe.close()
    return trio.lowlevel.FdStream(descriptor)
