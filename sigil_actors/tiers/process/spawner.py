"""Starts child processes, all of them from one thread that lives as long as the spawner.

A parent-death signal (`PR_SET_PDEATHSIG`, which bubblewrap's `--die-with-parent` asks for) fires
when the *thread* that spawned ends, not the process. Trio's own worker threads end after ten idle
seconds, and every plugin spawned from one would be killed then.
"""

import os
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import attrs
import outcome
import trio

from sigil_actors.actors.worker_thread import open_turns
from sigil_actors.tiers.process.child_process import REAP_S, ChildProcess

SPAWN_S = 5.0
"""Seconds that a cancelled spawn waits for the one that is under way: it takes a millisecond."""


@attrs.frozen(kw_only=True)
class Identity:
    """As whom a child runs. Only a host that is root can choose."""

    uid: int
    gid: int


@attrs.frozen(kw_only=True)
class _Order:
    """What to spawn; what it says is what `Spawner.spawn` was given."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    pass_fds: Sequence[int]
    stdin: int
    stdout: int
    stderr: int
    identity: Identity | None
    umask: int

    def spawn(self) -> ChildProcess:
        # No preexec_fn: Python code between fork and exec can deadlock where there are threads.
        process = subprocess.Popen(  # noqa: S603 - running what a manifest names is the purpose
            list(self.argv),
            env=dict(self.env),
            cwd=self.cwd,
            pass_fds=self.pass_fds,
            stdin=self.stdin,
            stdout=self.stdout,
            stderr=self.stderr,
            user=None if self.identity is None else self.identity.uid,
            group=None if self.identity is None else self.identity.gid,
            extra_groups=None if self.identity is None else [],
            umask=self.umask,
            start_new_session=True,
        )
        try:
            # Before anybody can reap it, so that the number is still its own.
            pidfd = os.pidfd_open(process.pid)
            try:
                return ChildProcess(process, pidfd)
            except BaseException:
                os.close(pidfd)
                raise
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
            raise


class _Request:
    """One spawn, between the task that asks and the thread that does it."""

    def __init__(self, order: _Order, end_work: Callable[[], None]) -> None:
        self._order = order
        self._end_work = end_work
        self.done = trio.Event()
        self.outcome: outcome.Outcome[ChildProcess] = outcome.Error(AssertionError("not done yet"))
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """Tell whether the caller is the first: the thread to begin, or the task to withdraw."""
        return self._claim.acquire(blocking=False)

    def run(self) -> None:
        """Spawn, in the thread."""
        self.outcome = outcome.capture(self._order.spawn)
        self._end_work()

    def child(self) -> ChildProcess | None:
        """Return what was spawned, or None."""
        return self.outcome.value if isinstance(self.outcome, outcome.Value) else None


class Spawner:
    """Spawns for as long as its block lasts. The children must be gone before it is left.

    Those that asked for a death signal die when it is.
    """

    def __init__(self) -> None:
        self._requests: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._ended = trio.Event()
        self._is_open = False

    async def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: Path = Path("/"),
        pass_fds: Sequence[int] = (),
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.PIPE,
        identity: Identity | None = None,
        umask: int = 0o077,
    ) -> ChildProcess:
        """Start a child in a session of its own; it has these variables and descriptors, no others.

        Cancelled, it leaves no child. Otherwise the caller has to close the child, or to enter its
        block: at once, since no checkpoint comes between.

        Args:
            argv: The program, by its absolute path, and its arguments.
            env: Its whole environment.
            cwd: Its working directory.
            pass_fds: Descriptors that it inherits, under the same numbers.
            stdin: A descriptor, or `subprocess.DEVNULL`.
            stdout: A descriptor, `subprocess.PIPE` or `subprocess.DEVNULL`.
            stderr: A descriptor, or one of these.
            identity: As whom it runs; as the host where None.
            umask: Its mask for the modes of new files.

        Raises:
            OSError: it can't be started.
        """
        if not self._is_open:
            raise AssertionError("the spawner isn't open")
        await trio.lowlevel.checkpoint_if_cancelled()
        order = _Order(
            argv=argv,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            identity=identity,
            umask=umask,
        )
        with open_turns() as end_work:
            request = _Request(order, end_work)
            self._requests.put(request)
            try:
                await request.done.wait()
            except BaseException:
                if not request.claim():
                    await self._discard(request)
                raise
        return request.outcome.unwrap()

    async def _discard(self, request: _Request) -> None:
        # Shielded: the caller may close what it passes to the child only once that was forked.
        # Bounded, since the program's file may lie on a disk that doesn't answer.
        with trio.move_on_after(SPAWN_S, shield=True):
            await request.done.wait()
        if (child := request.child()) is not None:
            await child.aclose()

    async def __aenter__(self) -> Self:
        """Start the thread."""
        await trio.lowlevel.checkpoint_if_cancelled()
        token = trio.lowlevel.current_trio_token()
        threading.Thread(
            target=self._work, args=(token,), name="sigil-actors spawner", daemon=True
        ).start()
        self._is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the thread, once it has done what it was asked for."""
        self._is_open = False
        self._requests.put(None)
        # Shielded, so that no thread is left; bounded for the same reason as a cancelled spawn.
        with trio.move_on_after(SPAWN_S + REAP_S, shield=True):
            await self._ended.wait()

    def _work(self, token: trio.lowlevel.TrioToken) -> None:
        while (request := self._requests.get()) is not None:
            if request.claim():
                request.run()
                _tell(token, request)
        with suppress(trio.RunFinishedError):
            token.run_sync_soon(self._ended.set)


def _tell(token: trio.lowlevel.TrioToken, request: _Request) -> None:
    try:
        token.run_sync_soon(request.done.set)
    except trio.RunFinishedError:
        if (child := request.child()) is not None:
            child.kill_group()
