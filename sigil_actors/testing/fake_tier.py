"""A tier that runs plugins as scripts in this process: the same promises, no sandbox, no clock.

For tests of an application's behaviour under faults, on virtual time. It passes the same contract
suite as the real tiers.
"""

import math
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

import attrs
import trio

from sigil_actors.core.calls import (
    ExecuteRequest,
    Health,
    HealthStatus,
    InstanceEnd,
    ToolDefinition,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import PluginCallError, PluginCrashedError, PluginStartError
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.testing.fake_plugin import FakePlugin, Script, ScriptCrash
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow

__all__ = ["FakeCall", "FakePlugin", "FakeSession", "FakeTier", "Script", "ScriptCrash"]

Answer = TypeVar("Answer")


@attrs.frozen
class FakeCall:
    """A call that reached a plugin."""

    plugin: str
    generation: int
    request: ExecuteRequest


class FakeTier:
    """Runs the plugins that it was given; others as a `FakePlugin()`. `calls` tells what came."""

    def __init__(
        self, plugins: Mapping[str, FakePlugin] | None = None, *, kind: str = "wasm"
    ) -> None:
        self._plugins = dict(plugins or {})
        self._kind = kind
        self._calls_of: Counter[str] = Counter()
        self.starts: Counter[str] = Counter()
        """How often each plugin was started, whether it came up or not."""
        self.calls: list[FakeCall] = []
        """Every call that reached a plugin, in order."""
        self.open_sessions: list[FakeSession] = []
        """The instances that are up, until nothing is left of them."""

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it."""
        return self._kind

    def set_plugin(self, name: str, plugin: FakePlugin) -> None:
        """Have a plugin behave otherwise from its next start on. Its counts go on."""
        self._plugins[name] = plugin

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[TierSession]:
        """Run one instance for as long as the block lasts."""
        plugin = self._plugins.get(launch.plugin, FakePlugin())
        self.starts[launch.plugin] += 1
        number = self.starts[launch.plugin]
        await trio.sleep(plugin.start_s)
        if number <= plugin.failing_starts:
            raise PluginStartError(launch.plugin, "fails to start, as its script says")
        fault = plugin.on_start.get(number)
        match fault:
            case Fail(reason):
                raise PluginStartError(launch.plugin, reason)
            case Hang():
                await trio.sleep_forever()
            case Slow(seconds):
                await trio.sleep(seconds)
            case Crash() | None:
                pass
        session = FakeSession(plugin, launch, self._take_call)
        if isinstance(fault, Crash):
            session.crash(fault.reason)
        self.open_sessions.append(session)
        try:
            yield session
        finally:
            session.close()
            if plugin.close_s:
                # Shielded, since a cancel doesn't make a process die sooner, and leaving earlier
                # would break the promise that nothing is left. Bounded by what it waits for.
                with trio.CancelScope(shield=True):
                    await trio.sleep(plugin.close_s)
            self.open_sessions.remove(session)

    def _take_call(self, call: FakeCall) -> int:
        self.calls.append(call)
        self._calls_of[call.plugin] += 1
        return self._calls_of[call.plugin]


class FakeSession:
    """One instance of a fake plugin."""

    def __init__(
        self, plugin: FakePlugin, launch: Launch, take_call: Callable[[FakeCall], int]
    ) -> None:
        self._plugin = plugin
        self._launch = launch
        self._take_call = take_call
        self._questions = 0
        self._ended = trio.Event()
        self._end: InstanceEnd | None = None
        self._inside: dict[trio.CancelScope, None] = {}
        self.calls_inside = 0
        """How many calls are in it now."""
        self.config: JsonObject | None = None
        """What its `init` was given."""
        self.said: HealthStatus | None = None
        """Its last answer to how it is."""
        self.asked_at = math.inf
        """When it was asked last, on trio's clock."""
        self.unanswered = 0
        """How many questions after its last answer it has left without one."""

    @property
    def plugin(self) -> str:
        """Return the name of the plugin that it is an instance of."""
        return self._launch.plugin

    @property
    def generation(self) -> int:
        """Return which of its plugin's generations it is."""
        return self._launch.generation

    @property
    def calls_at_once(self) -> int | None:
        """Return how many calls it takes at the same time."""
        return self._plugin.calls_at_once

    @property
    def has_ended(self) -> bool:
        """Whether it has ended by itself, though its tier still has it open."""
        return self._end is not None

    @property
    def waits_inside(self) -> int:
        """Return how many tasks wait for something that happens in it."""
        return len(self._inside)

    async def init(self, config: JsonObject) -> None:
        """Take the configuration."""
        await self._reach()
        self.config = config

    async def health(self) -> Health:
        """Say what the script says."""
        await self._reach()
        self._questions += 1
        self.asked_at = trio.current_time()
        self.unanswered += 1
        health = self._plugin.health
        if not isinstance(health, Health):
            health = await self.inside(health(self._questions))
        self.unanswered = 0
        self.said = health.status
        return health

    async def describe(self) -> tuple[ToolDefinition, ...]:
        """Return a tool for each script."""
        await self._reach()
        return tuple(
            ToolDefinition(name, f"the script {name}", self._plugin.input_schema)
            for name in self._plugin.tools
        )

    @asynccontextmanager
    async def execute(self, request: ExecuteRequest) -> AsyncGenerator[AsyncIterator[str]]:
        """Run a script in the caller's task."""
        self._check_alive()
        number = self._take_call(FakeCall(self.plugin, self.generation, request))
        script = self._plugin.tools[request.tool_name](request, self._launch.host)
        fault = self._plugin.on_call.get(number)
        if fault is not None:
            script = _faulty(self.plugin, script, fault)
        self.calls_inside += 1
        try:
            async with aclosing(script) as pieces:
                yield _Guarded(self, pieces)
        finally:
            self.calls_inside -= 1

    async def shutdown(self, *, grace_s: float) -> bool:
        """Take as long as the script says; an instance that is gone says nothing."""
        if self._end is not None:
            await trio.lowlevel.checkpoint()
            return False
        with trio.move_on_after(grace_s):
            await trio.sleep(self._plugin.shutdown_s)
            return True
        return False

    async def wait_ended(self) -> InstanceEnd:
        """Wait until a script has crashed."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    def crash(self, reason: str = "crashed") -> None:
        """End the instance as if its process had died."""
        if self._end is None:
            error = PluginCrashedError(self.plugin, reason)
            self._end = InstanceEnd(reason=reason, error=error)
            self._ended.set()
            self.close()

    def close(self) -> None:
        """Interrupt what is in it."""
        for scope in tuple(self._inside):
            scope.cancel()

    async def inside(self, work: Awaitable[Answer]) -> Answer:
        """Wait for what happens in the instance, unless the instance ends first."""
        with trio.CancelScope() as scope:
            self._inside[scope] = None
            try:
                return await work
            except ScriptCrash as crash:
                self.crash(str(crash) or "crashed")
            finally:
                self._inside.pop(scope)
        self._check_alive()
        raise PluginCrashedError(self.plugin, "was closed while the call was in it")

    async def next_piece(self, pieces: AsyncGenerator[str]) -> str:
        """Return a script's next piece, unless the instance ends first."""
        self._check_alive()
        return await self.inside(anext(pieces))

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_alive()

    def _check_alive(self) -> None:
        if self._end is not None:
            raise self._end.error


class _Guarded:
    def __init__(self, session: FakeSession, pieces: AsyncGenerator[str]) -> None:
        self._session = session
        self._pieces = pieces

    def __aiter__(self) -> "_Guarded":
        return self

    async def __anext__(self) -> str:
        return await self._session.next_piece(self._pieces)


async def _faulty(plugin: str, script: AsyncGenerator[str], fault: Fault) -> AsyncGenerator[str]:
    async with aclosing(script) as pieces:
        match fault:
            case Fail(reason):
                raise PluginCallError(plugin, reason)
            case Crash(reason):
                raise ScriptCrash(reason)
            case Hang():
                await trio.sleep_forever()
            case Slow(seconds):
                await trio.sleep(seconds)
        async for piece in pieces:
            yield piece
