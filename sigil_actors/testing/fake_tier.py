"""A tier that runs plugins as scripts in this process: the same promises, no sandbox, no clock.

For tests of an application's behaviour under faults, on virtual time. It passes the same contract
suite as the real tiers.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

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
from sigil_actors.errors import PluginCrashedError, PluginStartError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, TierSession

Script = Callable[[ExecuteRequest, HostFunctions], AsyncGenerator[str]]
"""A tool: an async generator of pieces of text.

It may raise `ScriptCrash` to take its instance down, and errors of the call like
`PluginCallError`. It runs in the caller's task, so a sleep in it is one on trio's clock.
"""


class ScriptCrash(Exception):  # noqa: N818 - what a script does, not an error of this package
    """Raised by a script: the instance is gone, as if its process had died."""


async def _echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments


@attrs.frozen(kw_only=True)
class FakePlugin:
    """How a plugin behaves in a `FakeTier`."""

    tools: Mapping[str, Script] = attrs.field(factory=lambda: {"echo": _echo})
    calls_at_once: int | None = None
    start_s: float = 0.0
    """How long it takes to come up."""
    failing_starts: int = 0
    """How many of its first starts fail."""
    health: Health = attrs.field(factory=lambda: Health(HealthStatus.HEALTHY))
    shutdown_s: float = 0.0
    """How long it takes to answer a shutdown; `math.inf` never does."""
    input_schema: JsonObject = attrs.field(factory=dict)
    """The schema of all of its tools."""


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
        self._starts: dict[str, int] = {}
        self.calls: list[FakeCall] = []
        self.open_sessions: list[FakeSession] = []

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it."""
        return self._kind

    def set_plugin(self, name: str, plugin: FakePlugin) -> None:
        """Have a plugin behave otherwise from its next start on."""
        self._plugins[name] = plugin

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[TierSession]:
        """Run one instance for as long as the block lasts."""
        plugin = self._plugins.get(launch.plugin, FakePlugin())
        starts = self._starts[launch.plugin] = self._starts.get(launch.plugin, 0) + 1
        await trio.sleep(plugin.start_s)
        if starts <= plugin.failing_starts:
            raise PluginStartError(launch.plugin, "fails to start, as its script says")
        session = FakeSession(plugin, launch, self.calls)
        self.open_sessions.append(session)
        try:
            yield session
        finally:
            session.close()
            self.open_sessions.remove(session)


class FakeSession:
    """One instance of a fake plugin."""

    def __init__(self, plugin: FakePlugin, launch: Launch, calls: list[FakeCall]) -> None:
        self._plugin = plugin
        self._launch = launch
        self._calls = calls
        self._ended = trio.Event()
        self._end: InstanceEnd | None = None
        self._inside: dict[trio.CancelScope, None] = {}
        self.config: JsonObject | None = None

    @property
    def plugin(self) -> str:
        """Return the name of the plugin that it is an instance of."""
        return self._launch.plugin

    @property
    def calls_at_once(self) -> int | None:
        """Return how many calls it takes at the same time."""
        return self._plugin.calls_at_once

    async def init(self, config: JsonObject) -> None:
        """Take the configuration."""
        await self._reach()
        self.config = config

    async def health(self) -> Health:
        """Say what the script says."""
        await self._reach()
        return self._plugin.health

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
        self._calls.append(FakeCall(self._launch.plugin, self._launch.generation, request))
        script = self._plugin.tools[request.tool_name]
        async with aclosing(script(request, self._launch.host)) as pieces:
            yield self._guarded(pieces)

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
            error = PluginCrashedError(self._launch.plugin, reason)
            self._end = InstanceEnd(reason=reason, error=error)
            self._ended.set()
            self.close()

    def close(self) -> None:
        """Interrupt what is in it."""
        for scope in tuple(self._inside):
            scope.cancel()

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_alive()

    def _check_alive(self) -> None:
        if self._end is not None:
            raise self._end.error

    def _guarded(self, pieces: AsyncGenerator[str]) -> AsyncIterator[str]:
        return _Guarded(self, pieces)

    async def next_piece(self, pieces: AsyncGenerator[str]) -> str:
        """Return a script's next piece, unless the instance ends first."""
        self._check_alive()
        with trio.CancelScope() as scope:
            self._inside[scope] = None
            try:
                return await anext(pieces)
            except ScriptCrash as crash:
                self.crash(str(crash) or "crashed")
            finally:
                self._inside.pop(scope)
        self._check_alive()
        raise PluginCrashedError(self._launch.plugin, "was closed while the call was in it")


class _Guarded:
    def __init__(self, session: FakeSession, pieces: AsyncGenerator[str]) -> None:
        self._session = session
        self._pieces = pieces

    def __aiter__(self) -> "_Guarded":
        return self

    async def __anext__(self) -> str:
        return await self._session.next_piece(self._pieces)
