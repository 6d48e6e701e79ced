"""The runtime: the enforcer, the manager and one actor a plugin, under one roof."""

import logging
import math
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.explanation import Explanation
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import CheckRequest
from sigil_actors.errors import PluginStartError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.kv_store import KvStore
from sigil_actors.ports.tier import Tier
from sigil_actors.runtime.builtin_functions import BuiltinFunctions
from sigil_actors.runtime.call_tokens import CallTokens
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain, Waits
from sigil_actors.runtime.definition import NO_CONFIG, Definition
from sigil_actors.runtime.discovery import DiscoveryProblem, Found, read_plugin
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.host_calls import HostFunction, HostFunctionTable, InstanceHost
from sigil_actors.runtime.instance_life import LifeServices
from sigil_actors.runtime.manager import Manager, not_found
from sigil_actors.runtime.plugin_actor import PluginActor
from sigil_actors.runtime.session import Admitted, Session
from sigil_actors.runtime.settings import RuntimeSettings
from sigil_actors.runtime.status import PluginStatus
from sigil_actors.runtime.stop_order import StopKind

logger = logging.getLogger(__name__)

FAST_STOP_S = 5.0
"""What a runtime that is left by an error or a cancel takes at most to end its plugins."""

LAST_RESORT_S = 5.0
"""What comes on top of the grace of a stop: shutting down, leaving the tier, removing files."""


@attrs.frozen(kw_only=True)
class Parts:
    """What a runtime is made of; `assembly` chooses them."""

    enforcer: Enforcer
    manager: Manager
    definitions: Sequence[Definition]
    """Plugins that were given in code, besides those that the manager finds."""
    tiers: Mapping[str, Tier]
    snapshots: Callable[[], Path]
    kv: KvStore
    host_functions: Mapping[str, HostFunction]
    configs: Mapping[str, JsonObject]
    settings: RuntimeSettings
    jitter: Callable[[], float] = random.random


class Runtime:
    """Runs plugins. Made by `open_runtime`, never by hand."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._actors: dict[str, PluginActor] = {}
        self._calls = 0
        self._bounds: dict[str, HostBounds] = {}
        self._scope = trio.CancelScope()
        self._leaving = trio.Event()
        self._hurried = trio.Event()
        self._ended = trio.Event()
        self._orderly = False
        background = parts.settings.background_session
        self._background = Caller(
            workspace_id=background.workspace_id,
            workspace_allow=background.workspace_allow,
            user_id=background.user_id,
            user_permissions=background.user_permissions,
            session_id="",
            actor="background",
        )
        builtin = BuiltinFunctions(
            kv=parts.kv,
            kv_enabled=lambda name: self._actor(name).definition.manifest.storage.kv,
            kv_bytes_per_plugin=parts.settings.kv_bytes_per_plugin,
            config=lambda name: self._actor(name).definition.config,
            write_log=lambda name, level, text: self._actor(name).log(level, text),
        )
        self._functions = HostFunctionTable(parts.host_functions).joined(builtin.table())
        self._services = LifeServices(
            settings=parts.settings,
            enforcer=parts.enforcer,
            tiers=parts.tiers,
            snapshots=parts.snapshots,
            waits=Waits(),
            host_of=self._host_of,
        )

    # What an application uses

    def session(
        self,
        *,
        workspace_id: str,
        workspace_allow: CapabilitySet,
        user_id: str,
        user_permissions: CapabilitySet,
        session_id: str | None = None,
        actor: str | None = None,
    ) -> Session:
        """Return a session for one caller, for whom the application vouches.

        Args:
            workspace_id: Whose data it touches.
            workspace_allow: What the workspace grants; an empty set is nothing.
            user_id: Who calls.
            user_permissions: What the user may do; an empty set is nothing.
            session_id: Its name in the audit log; a random one where none is given.
            actor: Who stands in the log as asking; the user where nobody is given.
        """
        caller = Caller(
            workspace_id=workspace_id,
            workspace_allow=workspace_allow,
            user_id=user_id,
            user_permissions=user_permissions,
            session_id=session_id or f"session-{secrets.token_hex(8)}",
            actor=actor or user_id,
        )
        return Session(self, caller)

    def list(self) -> tuple[PluginStatus, ...]:
        """Return all plugins by name."""
        return tuple(self._actors[name].status() for name in sorted(self._actors))

    def get(self, name: str) -> PluginStatus:
        """Return one plugin.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        return self._actor(name).status()

    @property
    def problems(self) -> tuple[DiscoveryProblem, ...]:
        """Return what was found in the plugins folder and can't be used."""
        return self._parts.manager.problems

    def explain(self, request: CheckRequest) -> Explanation:
        """Decide without auditing, and say why, set by set."""
        return self._parts.enforcer.explain(request)

    async def wait_until_running(self, name: str) -> None:
        """Wait until a plugin runs.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginUnavailableError: it is down, and nobody is going to start it.
        """
        await self._actor(name).wait_until_running()

    async def start(self, name: str) -> None:
        """Start a plugin that is stopped or quarantined; returns when it runs.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginStartError: it didn't come up.
        """
        actor = self._actor(name)
        await actor.start(actor.definition)

    async def drain(self, name: str) -> None:
        """Let a plugin finish its calls, take no more, and stop it.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        await self._actor(name).stop(StopKind.DRAIN)

    async def stop(self, name: str) -> None:
        """Stop a plugin; its calls get `settings.stop_grace_s`.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        await self._actor(name).stop(StopKind.STOP)

    async def reload(self, name: str) -> None:
        """Read a plugin's folder again, drain what runs and start what the folder holds now.

        Where the folder is bad, what runs goes on running.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginStartError: the folder can't be used, or the new version doesn't come up.
        """
        actor = self._actor(name)
        definition = await self._read_again(actor.definition)
        await actor.stop(StopKind.DRAIN)
        await actor.start(definition)

    # What sessions use

    @property
    def enforcer(self) -> Enforcer:
        """Return the one that decides."""
        return self._parts.enforcer

    @property
    def settings(self) -> RuntimeSettings:
        """Return the settings."""
        return self._parts.settings

    @contextmanager
    def admit(self, plugin: str, chain: Chain) -> Generator[Admitted]:
        """Let a call into the running instance of a plugin for as long as the block lasts."""
        with self._actor(plugin).admit(chain) as admitted:
            yield admitted

    def new_chain(self) -> Chain:
        """Return a chain for a call that no other call led to."""
        return Chain(self._count_call())

    # Within

    def _actor(self, name: str) -> PluginActor:
        try:
            return self._actors[name]
        except KeyError:
            raise not_found(name, list(self._actors)) from None

    def _count_call(self) -> int:
        self._calls += 1
        return self._calls

    def _host_of(self, plugin: str, generation: int, tokens: CallTokens) -> HostFunctions:
        return InstanceHost(
            plugin,
            generation,
            enforcer=self._parts.enforcer,
            functions=self._functions,
            tokens=tokens,
            bounds=self._bounds.setdefault(plugin, HostBounds(self._parts.settings)),
            background=self._background,
            open_session=lambda caller, chain: Session(self, caller, chain),
        )

    async def _read_again(self, definition: Definition) -> Definition:
        name, folder = definition.name, definition.folder
        if folder is None:
            return definition
        read = await trio.to_thread.run_sync(
            lambda: read_plugin(folder, tiers=tuple(self._parts.tiers))
        )
        if isinstance(read, Found):
            if read.manifest.name == name:
                return self._definition(read)
            what = f"is now called {read.manifest.name!r}"
        else:
            what = "has no manifest any more" if read is None else read.render()
        raise PluginStartError(
            name, f"can't be loaded again: {what}", remedy="What ran before goes on running"
        )

    def _definition(self, found: Found) -> Definition:
        return Definition(
            manifest=found.manifest,
            folder=found.folder,
            config=self._parts.configs.get(found.manifest.name, NO_CONFIG),
            manifest_sha256=found.manifest_sha256,
        )

    async def _start_all(self, nursery: trio.Nursery) -> None:
        await self._parts.manager.discover()
        for found in self.problems:
            for problem in found.problems:
                logger.warning("a plugin is not loaded: %s", problem.render(found.file))
        definitions = [*self._parts.definitions, *map(self._definition, self._parts.manager.found)]
        for definition in definitions:
            if definition.name in self._actors:
                raise PluginStartError(
                    definition.name,
                    "was given in code and is in the plugins folder as well",
                    remedy="Take out one of them",
                )
            actor = PluginActor(
                definition,
                self._services,
                count_call=self._count_call,
                jitter=self._parts.jitter,
            )
            self._actors[definition.name] = actor
            await nursery.start(actor.run, name=f"plugin {definition.name}")
        for actor in self._actors.values():
            actor.start_nowait(actor.definition)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `leave`; belongs to `run_runtime`."""
        with self._scope:
            async with trio.open_nursery() as nursery:
                await self._start_all(nursery)
                task_status.started()
                await self._leaving.wait()
                await self._stop_all()
                nursery.cancel_scope.cancel()
        self._ended.set()

    def shield(self) -> None:
        """Have plugins end in our order from now on, and not in that of a cancellation.

        Bounded by `leave`, from the moment at which the application's block is left. Not earlier
        than that block is entered: nobody would call `leave` for a start that was cancelled.
        """
        self._scope.shield = True

    def leave(self, *, orderly: bool) -> None:
        """Have `run` end: in order, draining, or else as fast as it goes."""
        self._orderly = orderly
        bound_s = self._drain_bound_s() if orderly else FAST_STOP_S
        self._scope.deadline = trio.current_time() + bound_s
        self._leaving.set()

    async def wait_ended(self) -> None:
        """Wait until nothing of it is left; a cancel meanwhile ends the waiting for any call.

        Shielded as it is, a drain wouldn't notice the cancel by itself.
        """
        try:
            await self._ended.wait()
        except trio.Cancelled:
            self._scope.deadline = min(self._scope.deadline, trio.current_time() + FAST_STOP_S)
            self._hurried.set()
            raise

    async def _stop_all(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._kill_when_hurried)
            with trio.move_on_after(math.inf if self._orderly else FAST_STOP_S / 2) as patience:
                await self._order_all(StopKind.DRAIN if self._orderly else StopKind.STOP)
            nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            await self._order_all(StopKind.KILL)

    async def _kill_when_hurried(self) -> None:
        await self._hurried.wait()
        await self._order_all(StopKind.KILL)

    async def _order_all(self, kind: StopKind) -> None:
        async with trio.open_nursery() as nursery:
            for actor in self._actors.values():
                nursery.start_soon(actor.stop, kind)

    def _drain_bound_s(self) -> float:
        graces = [
            actor.definition.manifest.lifecycle.graceful_shutdown_timeout
            for actor in self._actors.values()
        ]
        return max([self._parts.settings.stop_grace_s, *graces]) + LAST_RESORT_S


@asynccontextmanager
async def run_runtime(parts: Parts) -> AsyncGenerator[Runtime]:
    """Run a runtime for as long as the block lasts.

    Leaving the block normally drains every plugin; leaving it by an error or a cancel, or a cancel
    while it drains, ends everything within 5 s. Errors of the block leave it as they are.
    """
    runtime = Runtime(parts)
    async with open_bare_nursery() as nursery:
        await nursery.start(runtime.run)
        runtime.shield()
        orderly = False
        try:
            yield runtime
            orderly = True
        finally:
            runtime.leave(orderly=orderly)
            if orderly:
                await runtime.wait_ended()
