"""Whether a session is over, why, and who has to be told."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeAlias

import trio

from sigil_actors.core.calls import InstanceEnd
from sigil_actors.errors import PluginCrashedError, PluginError
from sigil_actors.ports.tier import PluginLog
from sigil_actors.tiers.wasm.guest_run import GuestRun
from sigil_actors.tiers.wasm.host_imports import Answer, Question
from sigil_actors.tiers.wasm.limits import STOP_S

Run: TypeAlias = GuestRun[Question, Answer, bytes]


class Ending:
    """The runs of one session, and what they and later callers get when it is over."""

    def __init__(self, plugin: str, log: PluginLog) -> None:
        self._plugin = plugin
        self._log = log
        self._runs: set[Run] = set()
        self._over = ""
        """Why no call gets in any more; empty while calls do."""
        self._ended = trio.Event()
        self._end: InstanceEnd | None = None

    @property
    def is_over(self) -> bool:
        """Whether no call gets in any more."""
        return bool(self._over)

    def check(self) -> None:
        """Raise `PluginCrashedError` if the session is over."""
        if self._over:
            raise PluginCrashedError(self._plugin, self._over)

    @contextmanager
    def watching(self, run: Run) -> Iterator[None]:
        """Have `run` killed if the session ends while the block lasts."""
        self.check()
        self._runs.add(run)
        try:
            yield
        finally:
            self._runs.discard(run)

    def end_with(self, error: BaseException) -> None:
        """Be over though nobody asked for it."""
        if self._over:
            return
        if not isinstance(error, PluginError):
            error = PluginCrashedError(self._plugin, f"ended with {type(error).__name__}")
        self._end = InstanceEnd(reason=error.what, error=error)
        self._log("error", error.what)
        self._ended.set()
        self._kill_runs("has ended while the call was in it or waited for it")

    async def close(self) -> None:
        """Be over because it is being stopped; wait until no thread is in a guest, bounded."""
        if not self._over:
            self._kill_runs("is being stopped")
        # Shielded, since the block is often left by a cancel, and a store that is freed with a
        # thread inside ends the process. Bounded, since a thread may be in something that can't be
        # interrupted; what it is in is freed when it comes out.
        with trio.move_on_after(STOP_S, shield=True):
            for run in tuple(self._runs):
                await run.wait_out()

    async def wait(self) -> InstanceEnd:
        """Wait until it ended though nobody asked for it."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    def _kill_runs(self, why: str) -> None:
        self._over = why
        for run in tuple(self._runs):
            run.kill(PluginCrashedError(self._plugin, why))
