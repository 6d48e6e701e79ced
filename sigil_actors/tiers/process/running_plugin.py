"""A plugin's program from its first line to its end: read, watched, asked to go, and explained."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.handshake import (
    Handshake,
    HandshakeOffer,
    missing_handshake_error,
    parse_handshake,
)
from sigil_actors.errors import PluginCrashedError, PluginStartError
from sigil_actors.ports.tier import PluginLog
from sigil_actors.tiers.process.handshake_reader import NoHandshakeError, Output, OutputClosedError
from sigil_actors.tiers.process.log_reader import OutputLog
from sigil_actors.tiers.process.program import ProgramEnd, RunningProgram

EXIT_S = 2.0
"""Seconds that a plugin that was asked to go gets until SIGTERM; go-plugin's own host waits as
long."""

TERM_S = 2.0
"""Seconds from SIGTERM to SIGKILL."""

LEAVE_S = 1.0
"""Seconds that a plugin that has closed its output gets to exit, so that its status can be told."""

LAST_WORDS_S = 0.5
"""Seconds that are waited for the rest of what an ended plugin wrote: it lies in the pipe, unless
something that it started holds the pipe open."""


class _StepError(Exception):
    """A step of the start came to nothing. Says why."""


class RunningPlugin:
    """A plugin that has been started, and has so many seconds to be ready."""

    def __init__(
        self, plugin: str, program: RunningProgram, log: PluginLog, *, start_timeout_s: float
    ) -> None:
        self._start_timeout_s = start_timeout_s
        self._start_deadline = trio.current_time() + start_timeout_s
        self.plugin = plugin
        self.program = program
        self.log = log
        self.output = OutputLog(log)
        self._stdout = Output(program.stdout)
        self._end: ProgramEnd | None = None
        self._ended = trio.Event()
        self._starting: trio.CancelScope | None = None

    @property
    def end(self) -> ProgramEnd | None:
        """Return how it ended, or None while it runs."""
        return self._end

    @trio.lowlevel.enable_ki_protection
    async def watch(self) -> None:
        """Wait for its end; then whoever waits for it, or for a step of its start, is told."""
        end = await self.program.wait()
        with trio.move_on_after(LAST_WORDS_S):
            await self.output.wait_all_read()
        self._end = end
        self._ended.set()
        if self._starting is not None:
            self._starting.cancel()

    async def shake_hands(self, offer: HandshakeOffer) -> Handshake:
        """Return what it answers to the offer.

        Raises:
            HandshakeError: nothing in time, or nothing that can be taken.
        """
        try:
            async with self._step("gave no handshake"):
                line = await self._stdout.read_line()
        except (NoHandshakeError, _StepError) as error:
            if isinstance(error, OutputClosedError):
                with trio.move_on_after(LEAVE_S):
                    await self._ended.wait()
            raise missing_handshake_error(
                self.plugin,
                str(error) if self._end is None else str(self._end),
                last_words=self.output.last_words,
            ) from error
        return parse_handshake(line, offer, plugin=self.plugin)

    @trio.lowlevel.enable_ki_protection
    async def read_output(self) -> None:
        """Log what it writes to its standard output after the handshake."""
        await self.output.read(self._stdout)

    @asynccontextmanager
    async def starting(self, what: str) -> AsyncGenerator[None, None]:
        """Do a step of its start, which ends when the plugin does, or when the time is up.

        Raises:
            PluginStartError: it has; `what` says what it didn't do in time.
        """
        try:
            async with self._step(what):
                yield
        except _StepError as error:
            raise self._start_error(str(error)) from error

    @asynccontextmanager
    async def _step(self, what: str) -> AsyncGenerator[None, None]:
        with trio.CancelScope(deadline=self._start_deadline) as scope:
            self._starting = scope
            if self._end is not None:
                scope.cancel()
            try:
                yield
            finally:
                self._starting = None
        if scope.cancelled_caught:
            raise _StepError(
                f"{what} within {self._start_timeout_s:g} s"
                if self._end is None
                else str(self._end)
            )

    async def start_error(self, what: str) -> PluginStartError:
        """Return why it can't be started: that it ended, if it did, else `what`."""
        with trio.move_on_after(LEAVE_S):
            await self._ended.wait()
        return self._start_error(what if self._end is None else str(self._end))

    def _start_error(self, what: str) -> PluginStartError:
        words = self.output.last_words
        said = f"; its last words: {' | '.join(words)}" if words else ""
        return PluginStartError(self.plugin, f"{what}{said}")

    def crash(self) -> PluginCrashedError:
        """Return what a call gets that was in it when it ended."""
        end = self._end
        if end is None:
            what, status = "closed its connection", None
        else:
            what, status = str(end), end.exit_status
        return PluginCrashedError(
            self.plugin, what, exit_status=status, last_words=self.output.last_words
        )

    async def wait_ended(self) -> ProgramEnd:
        """Wait until it has ended and all that it wrote was read."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - it is set first
        return self._end

    async def stop(self, *, was_asked: bool) -> None:
        """Give it time to go, then SIGTERM and some more; SIGKILL is for whoever opened it.

        Cancelled, the time is over: nothing here is shielded.
        """
        if was_asked:
            with trio.move_on_after(EXIT_S):
                await self.program.wait()
                return
        self.program.terminate()
        with trio.move_on_after(TERM_S):
            await self.program.wait()


@asynccontextmanager
async def open_running_plugin(
    plugin: str, program: RunningProgram, log: PluginLog, *, start_timeout_s: float
) -> AsyncGenerator[RunningPlugin, None]:
    """Read what a program writes, and watch it, for as long as the block lasts."""
    running = RunningPlugin(plugin, program, log, start_timeout_s=start_timeout_s)
    async with open_bare_nursery() as nursery:
        nursery.start_soon(running.output.read, program.stderr)
        nursery.start_soon(running.watch)
        yield running
        nursery.cancel_scope.cancel()
