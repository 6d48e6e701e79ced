"""Where an entry into a guest finds its instance, and what becomes of that: the two modes."""

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from sigil_actors.core.guest_ops import GuestOp
from sigil_actors.errors import PluginCrashedError
from sigil_actors.tiers.wasm.ending import Ending, Run
from sigil_actors.tiers.wasm.entry import Entry, enter, enter_for_init, new_run
from sigil_actors.tiers.wasm.instance import GuestInstance
from sigil_actors.tiers.wasm.limits import CALLS_AT_ONCE_MAX, GuestLimits
from sigil_actors.tiers.wasm.program import Program


class Instances(Protocol):
    """The instances of one plugin."""

    init_request: bytes | None
    """What every fresh instance is told first; None until the plugin took it once."""

    @property
    def calls_at_once(self) -> int | None:
        """Return how many entries there can be at the same time, or None for any number."""

    @property
    def is_busy(self) -> bool:
        """Return whether a further entry would have to wait."""

    def enter(self, entry: Entry | None) -> AbstractAsyncContextManager[Run]:
        """Find an instance for `entry`, not run yet; clear up on leaving.

        Without an entry, an instance is made and nothing more, so that its faults show.
        """

    def close(self) -> None:
        """Free everything, or have it freed by the thread that is still inside."""


class SharedInstance:
    """One instance for all calls, one after another; it keeps its memory between them.

    One that was interrupted may be half-written. After a cancelled call a fresh one takes its
    place, told the configuration again; after a trap or a bound the whole session is over.
    """

    def __init__(self, plugin: str, code: bytes, limits: GuestLimits, ending: Ending) -> None:
        self._plugin = plugin
        self._limits = limits
        self._ending = ending
        self._program = Program(plugin, code, limits)
        self._instance: GuestInstance | None = None
        self._turn = trio.Lock()
        self._run: Run | None = None
        self.init_request: bytes | None = None

    @property
    def calls_at_once(self) -> int | None:
        """Return 1: a store takes one thread."""
        return 1

    @property
    def is_busy(self) -> bool:
        """Return whether a call is under way."""
        return self._turn.locked()

    @asynccontextmanager
    async def enter(self, entry: Entry | None) -> AsyncGenerator[Run, None]:
        """Wait for the turn, then give a run in the one instance."""

        def work(run: Run) -> bytes:
            instance = self._instance
            if instance is None:
                instance = self._instance = self._program.instantiate(lambda: run.is_stopping)
                if self.init_request is not None:
                    enter_for_init(self._plugin, instance, self.init_request, run)
            return b"" if entry is None else enter(instance, entry, run)

        async with self._turn:
            run = new_run(self._plugin, self._limits, work, self._program.interrupt)
            with self._ending.watching(run):
                self._run = run
                try:
                    yield run
                finally:
                    await self._judge(run)
                    self._run = None

    async def _judge(self, run: Run) -> None:
        if not await run.stop():
            self._ending.end_with(PluginCrashedError(self._plugin, "doesn't let itself be stopped"))
            run.when_out(self._free)
        elif run.failure is not None:
            self._ending.end_with(run.failure)
            self._discard()
        elif run.interrupted:
            self._discard()

    def close(self) -> None:
        """Free everything, or have it freed by the thread that is still inside."""
        if self._run is None:
            self._free()
        else:
            self._run.when_out(self._free)

    def _discard(self) -> None:
        if self._instance is not None:
            self._instance.close()
            self._instance = None

    def _free(self) -> None:
        self._discard()
        self._program.close()


class InstancePerCall:
    """A fresh instance for each call; nothing of one is left for the next, nor hurts it."""

    def __init__(self, plugin: str, code: bytes, limits: GuestLimits, ending: Ending) -> None:
        self._plugin = plugin
        self._code = code
        self._limits = limits
        self._ending = ending
        # Each running instance has an engine of its own, so that what interrupts one spares the
        # others. Loading code into an engine is cheap, but not as cheap as using it again.
        self._idle = [Program(plugin, code, limits)]
        self._runs: dict[Run, Program] = {}
        self._places = trio.Semaphore(CALLS_AT_ONCE_MAX)
        self.init_request: bytes | None = None

    @property
    def calls_at_once(self) -> int | None:
        """Return None: what is more than the bound waits in here."""
        return None

    @property
    def is_busy(self) -> bool:
        """Return whether all places are taken."""
        return self._places.value == 0

    @asynccontextmanager
    async def enter(self, entry: Entry | None) -> AsyncGenerator[Run, None]:
        """Wait for a place, then give a run in an instance of its own."""
        async with self._places:
            self._ending.check()
            program = self._idle.pop() if self._idle else await self._load()

            def work(run: Run) -> bytes:
                instance = program.instantiate(lambda: run.is_stopping)
                try:
                    if entry is None:
                        return b""
                    if self.init_request is not None and entry.op is not GuestOp.INIT:
                        enter_for_init(self._plugin, instance, self.init_request, run)
                    return enter(instance, entry, run)
                finally:
                    instance.close()

            run = new_run(self._plugin, self._limits, work, program.interrupt)
            self._runs[run] = program
            try:
                with self._ending.watching(run):
                    yield run
            finally:
                await self._give_back(run, program)

    async def _load(self) -> Program:
        return await trio.to_thread.run_sync(Program, self._plugin, self._code, self._limits)

    async def _give_back(self, run: Run, program: Program) -> None:
        is_out = await run.stop()
        del self._runs[run]
        if is_out and not self._ending.is_over:
            self._idle.append(program)
        else:
            run.when_out(program.close)

    def close(self) -> None:
        """Free everything, or have it freed by the threads that are still inside."""
        for program in self._idle:
            program.close()
        self._idle.clear()
        for run, program in self._runs.items():
            run.when_out(program.close)
