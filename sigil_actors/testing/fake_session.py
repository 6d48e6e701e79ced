"""One instance of a fake plugin: runs its scripts in the tasks of those who call it."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager
from typing import Generic, TypeVar

import attrs
import trio

from sigil_actors.core.calls import (
    ExecuteRequest,
    Health,
    HealthStatus,
    InstanceEnd,
    ToolDefinition,
    Usage,
)
from sigil_actors.core.channel_calls import (
    InboundMessage,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.provider_calls import ChatEvent, ChatRequest, ModelInfo, ProviderStatus
from sigil_actors.errors import PluginCallError, PluginCrashedError
from sigil_actors.ports.tier import Launch
from sigil_actors.runtime.session import tool_capability
from sigil_actors.testing.fake_plugin import FakePlugin, ScriptCrash
from sigil_actors.testing.fake_services import FakeAsk, FakeChannel, FakeProvider, Presence
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow

Answer = TypeVar("Answer")
Piece = TypeVar("Piece")


@attrs.frozen
class FakeCall:
    """A call that reached a plugin."""

    plugin: str
    generation: int
    request: ExecuteRequest

    @property
    def capability(self) -> str:
        """Return what a caller needs for it."""
        return tool_capability(self.request.tool_name)


class FakeSession:
    """One instance of a fake plugin."""

    def __init__(
        self,
        plugin: FakePlugin,
        launch: Launch,
        take_call: Callable[[FakeCall], int],
        take_ask: Callable[[FakeAsk], None],
    ) -> None:
        self._plugin = plugin
        self._launch = launch
        self._take_call = take_call
        self._take_ask = take_ask
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
        async with self._running(script) as pieces:
            yield pieces

    @asynccontextmanager
    async def listen(self, *, session_id: str) -> AsyncGenerator[AsyncIterator[InboundMessage]]:
        """Run the channel's script in the caller's task."""
        self._check_alive()
        channel = self._channel
        self._ask("channel.listen", session_id)
        async with self._running(channel.listen(session_id, self._launch.host)) as messages:
            yield messages

    async def send(self, request: SendRequest, *, session_id: str) -> SendResult:
        """Run the channel's script for it."""
        await self._reach()
        channel = self._channel
        self._ask("channel.send", session_id, request)
        with self._entered():
            return await self.inside(channel.send(request, session_id, self._launch.host))

    async def update_presence(
        self, channel_id: str, status: PresenceStatus, *, session_id: str
    ) -> None:
        """Keep it among the tier's `asks`."""
        await self._reach()
        _ = self._channel  # raises where there is none
        shown = Presence(channel_id=channel_id, status=status)
        self._ask("channel.presence", session_id, shown)

    async def get_identity(self, platform_user_id: str, *, session_id: str) -> UserIdentity:
        """Run the channel's script for it."""
        await self._reach()
        channel = self._channel
        self._ask("channel.identity", session_id, platform_user_id)
        with self._entered():
            return await self.inside(
                channel.identity(platform_user_id, session_id, self._launch.host)
            )

    async def list_models(self, *, session_id: str) -> tuple[ModelInfo, ...]:
        """Return the provider's models."""
        await self._reach()
        models = self._provider.models
        self._ask("provider.models", session_id)
        return models

    @asynccontextmanager
    async def chat(
        self, request: ChatRequest, *, session_id: str
    ) -> AsyncGenerator[AsyncIterator[ChatEvent]]:
        """Run the provider's script in the caller's task."""
        self._check_alive()
        provider = self._provider
        self._ask("provider.chat", session_id, request)
        async with self._running(provider.chat(request, session_id, self._launch.host)) as events:
            yield events

    async def provider_status(self, *, session_id: str) -> ProviderStatus:
        """Return what the provider says of itself."""
        await self._reach()
        status = self._provider.status
        self._ask("provider.status", session_id)
        if isinstance(status, ProviderStatus):
            return status
        with self._entered():
            return await self.inside(status(session_id))

    def usage(self) -> Usage | None:
        """Return what the script says."""
        return self._plugin.usage

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

    async def next_piece(self, pieces: AsyncGenerator[Piece]) -> Piece:
        """Return a script's next piece, unless the instance ends first."""
        self._check_alive()
        return await self.inside(anext(pieces))

    @contextmanager
    def _entered(self) -> Generator[None]:
        self.calls_inside += 1
        try:
            yield
        finally:
            self.calls_inside -= 1

    @asynccontextmanager
    async def _running(self, script: AsyncGenerator[Piece]) -> AsyncGenerator["_Guarded[Piece]"]:
        with self._entered():
            async with aclosing(script) as pieces:
                yield _Guarded(self, pieces)

    @property
    def _channel(self) -> FakeChannel:
        if self._plugin.channel is None:
            raise PluginCallError(self.plugin, "not supported: the script has no channel")
        return self._plugin.channel

    @property
    def _provider(self) -> FakeProvider:
        if self._plugin.provider is None:
            raise PluginCallError(self.plugin, "not supported: the script has no provider")
        return self._plugin.provider

    def _ask(
        self,
        capability: str,
        session_id: str,
        request: SendRequest | Presence | ChatRequest | str | None = None,
    ) -> None:
        self._take_ask(FakeAsk(self.plugin, self.generation, capability, session_id, request))

    async def _reach(self) -> None:
        await trio.lowlevel.checkpoint()
        self._check_alive()

    def _check_alive(self) -> None:
        if self._end is not None:
            raise self._end.error


class _Guarded(Generic[Piece]):
    def __init__(self, session: FakeSession, pieces: AsyncGenerator[Piece]) -> None:
        self._session = session
        self._pieces = pieces

    def __aiter__(self) -> "_Guarded[Piece]":
        return self

    async def __anext__(self) -> Piece:
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
