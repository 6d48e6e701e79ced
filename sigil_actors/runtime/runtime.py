"""The runtime: the enforcer, the manager and one actor a plugin, under one roof."""

import logging
import math
import random
import secrets
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.approvals import with_approved
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.explanation import Explanation
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import CheckRequest
from sigil_actors.errors import PluginStartError, PluginUnavailableError
from sigil_actors.ports.approval_store import ApprovalStore
from sigil_actors.ports.egress import EgressGate
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.kv_store import KvStore
from sigil_actors.ports.tier import Tier
from sigil_actors.runtime.approval_records import ApprovalRecords
from sigil_actors.runtime.builtin_functions import BuiltinFunctions
from sigil_actors.runtime.call import Admitted
from sigil_actors.runtime.call_tokens import CallTokens
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain, Waits
from sigil_actors.runtime.definition import NO_CONFIG, Definition
from sigil_actors.runtime.discovery import DiscoveryProblem, Found, read_plugin
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.events import EventKind, Events, EventStream
from sigil_actors.runtime.folder_follower import FolderFollower
from sigil_actors.runtime.folder_watch import FolderWatch
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.host_calls import HostFunction, HostFunctionTable, InstanceHost
from sigil_actors.runtime.instance_egress import InstanceEgress
from sigil_actors.runtime.instance_life import LifeServices
from sigil_actors.runtime.manager import Manager
from sigil_actors.runtime.plugin_actor import PluginActor
from sigil_actors.runtime.plugin_set import PluginSet, check_definitions
from sigil_actors.runtime.rescan import Rescan, RescanResult
from sigil_actors.runtime.session import Session
from sigil_actors.runtime.settings import RuntimeSettings
from sigil_actors.runtime.status import PluginStatus
from sigil_actors.runtime.stop_order import StopKind
from sigil_actors.runtime.tree import NodeKind, TreeNode
from sigil_actors.runtime.version import Version

logger = logging.getLogger(__name__)

FAST_STOP_S = 5.0
"""What a runtime that is left by an error or a cancel takes at most to end its plugins."""

DIFFERENCES_RECORDED_MAX = 64
"""Of what an approval's entry spells out; the hash of the snapshot stands for all of it."""

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
    """Tells the folder in which snapshots are made."""
    kv: KvStore
    approvals: ApprovalStore
    host_functions: Mapping[str, HostFunction]
    configs: Mapping[str, JsonObject]
    settings: RuntimeSettings
    jitter: Callable[[], float] = random.random


class Runtime:
    """Runs plugins. Made by `open_runtime`, never by hand."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
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
        self._events = Events(parts.enforcer.clock)
        self._approvals = ApprovalRecords(parts.approvals)
        self._plugins = PluginSet(self._new_actor, stop_s=parts.settings.stop_grace_s)
        self._rescan = Rescan(parts.manager, self._plugins, self._events, define=self._definition)
        builtin = BuiltinFunctions(
            kv=parts.kv,
            kv_enabled=lambda name, generation: (
                self._plugins.get(name).definition_of(generation).manifest.storage.kv
            ),
            kv_bytes_per_plugin=parts.settings.kv_bytes_per_plugin,
            config=lambda name, generation: (
                self._plugins.get(name).definition_of(generation).config
            ),
            write_log=lambda name, level, text: self._plugins.get(name).log(level, text),
        )
        self._functions = HostFunctionTable(parts.host_functions).joined(builtin.table())
        self._services = LifeServices(
            settings=parts.settings,
            enforcer=parts.enforcer,
            waits=Waits(),
            events=self._events,
            new_version=self._new_version,
            wait_for=self._plugins.wait_for,
            host_of=self._host_of,
            egress_of=self._egress_of,
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
        return tuple(self._plugins.get(name).status() for name in self._plugins.names())

    def get(self, name: str) -> PluginStatus:
        """Return one plugin.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        return self._plugins.get(name).status()

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
        await self._plugins.get(name).wait_until_running()

    async def start(self, name: str) -> None:
        """Start a plugin that is stopped or quarantined, from its folder as it is now.

        Returns when it runs.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginHeldError: it asks for more than the version before.
            PluginStartError: it didn't come up, or its folder can't be used.
            AuditUnavailableError: its start can't be recorded; it starts by itself once it can.
            ApprovalsUnavailableError: what it was allowed can't be read; as above.
        """
        actor = self._plugins.get(name)
        definition = actor.definition if actor.is_running else await self._read_again(actor)
        self._check_stays(name)
        await actor.start(definition)

    async def drain(self, name: str) -> None:
        """Let a plugin finish its calls, take no more, and stop it.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        await self._plugins.get(name).stop(StopKind.DRAIN)

    async def stop(self, name: str) -> None:
        """Stop a plugin; its calls get `settings.stop_grace_s`.

        Raises:
            PluginNotFoundError: there is none of that name.
        """
        await self._plugins.get(name).stop(StopKind.STOP)

    async def reload(self, name: str) -> None:
        """Read a plugin's folder again and have what it holds now take over.

        The new version is started beside the one that runs (a channel in its place), and new calls
        go to it once it is up and healthy; the old one finishes its calls. Where the folder is bad
        or the new version doesn't come up, what runs goes on running. Returns when the new version
        serves; what was stopped or quarantined is started.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginHeldError: it asks for more than the version before; see `approve`.
            PluginStartError: the folder can't be used, or the new version doesn't come up.
            PluginUnavailableError: it is being stopped.
        """
        actor = self._plugins.get(name)
        definition = await self._read_again(actor)
        self._check_stays(name)
        await actor.reload(definition)

    async def rescan(self) -> tuple[RescanResult, ...]:
        """Look into the plugins folder again, and bring what runs in line with it.

        What is new starts, what changed is reloaded, what is gone is drained and forgotten. Returns
        when all of that is done, by name. A plugin whose manifest has become bad goes on running as
        it was; see `problems`.
        """
        return await self._rescan.run()

    async def approve(
        self, name: str, snapshot_sha256: str | None = None, *, actor: str = "operator"
    ) -> None:
        """Let the held version of a plugin run, and start it; returns when it serves.

        Approved are exactly the files that were held: where the folder has changed since, it is
        held again.

        Args:
            name: The plugin's.
            snapshot_sha256: What was looked at, as `HeldVersion.snapshot_sha256` has it; what is
                held now where it isn't given.
            actor: Who stands in the log as having approved it.

        Raises:
            PluginNotFoundError: there is none of that name.
            PluginStartError: nothing is held, or something else; or it doesn't come up.
            AuditUnavailableError: it can't be recorded, so nothing was approved.
            ApprovalsUnavailableError: the approval can't be kept.
        """
        held = self._plugins.get(name).held
        if held is None or snapshot_sha256 not in (None, held.snapshot_sha256):
            what = "nothing of it is held" if held is None else "other files of it are held"
            raise PluginStartError(
                name,
                f"can't be approved: {what}",
                remedy="sigil-actors ps, or runtime.get(), tells what is held",
            )
        enforcer = self._parts.enforcer
        await enforcer.record(
            AuditEntry(
                action="plugin_approved",
                timestamp=enforcer.clock.now(),
                actor=actor,
                plugin=name,
                result="approved",
                details={
                    "version": held.version,
                    "snapshot_sha256": held.snapshot_sha256,
                    "differences": list(held.differences[:DIFFERENCES_RECORDED_MAX]),
                },
            )
        )
        await self._approvals.update(
            name, lambda before: with_approved(before, held.snapshot_sha256)
        )
        self._events.publish(name, EventKind.APPROVED, reason=f"version {held.version}")
        await self.reload(name)

    def tree(self) -> TreeNode:
        """Return the supervision tree as it is now: supervisors, actors, instances."""
        plugins = TreeNode(
            name="plugins",
            kind=NodeKind.SUPERVISOR,
            state="running",
            children=tuple(self._plugins.get(name).node() for name in self._plugins.names()),
        )
        manager = TreeNode(
            name="manager",
            kind=NodeKind.ACTOR,
            state="looking" if self._rescan.is_under_way else "waiting",
        )
        return TreeNode(
            name="runtime",
            kind=NodeKind.SUPERVISOR,
            state="stopping" if self._leaving.is_set() else "running",
            children=(self._parts.enforcer.node(), manager, plugins),
        )

    def events(self) -> AbstractAsyncContextManager[EventStream]:
        """Follow what happens: `async with runtime.events() as stream: async for event in stream`.

        From the moment at which the block is entered, in order, until the runtime has ended.
        """
        return self._events.open_stream()

    # What sessions use

    @property
    def enforcer(self) -> Enforcer:
        """Return the one that decides."""
        return self._parts.enforcer

    @property
    def settings(self) -> RuntimeSettings:
        """Return the settings."""
        return self._parts.settings

    def admit(self, plugin: str, chain: Chain) -> AbstractAsyncContextManager[Admitted]:
        """Let a call into the running instance of a plugin for as long as the block lasts."""
        return self._plugins.get(plugin).admit(chain)

    def new_chain(self) -> Chain:
        """Return a chain for a call that no other call led to."""
        return Chain(self._count_call())

    # Within

    def _check_stays(self, name: str) -> None:
        if self._leaving.is_set():
            raise PluginUnavailableError(name, "runtime stopping")

    def _count_call(self) -> int:
        self._calls += 1
        return self._calls

    def _bounds_of(self, plugin: str) -> HostBounds:
        for gone in self._bounds.keys() - set(self._plugins.names()):
            del self._bounds[gone]
        return self._bounds.setdefault(plugin, HostBounds(self._parts.settings))

    def _egress_of(self, plugin: str, generation: int) -> EgressGate:
        return InstanceEgress(
            plugin,
            generation,
            enforcer=self._parts.enforcer,
            bounds=self._bounds_of(plugin),
        )

    def _host_of(self, plugin: str, generation: int, tokens: CallTokens) -> HostFunctions:
        return InstanceHost(
            plugin,
            generation,
            enforcer=self._parts.enforcer,
            functions=self._functions,
            tokens=tokens,
            bounds=self._bounds_of(plugin),
            background=self._background,
            open_session=lambda caller, chain: Session(self, caller, chain),
        )

    def _new_actor(self, definition: Definition) -> PluginActor:
        return PluginActor(
            definition, self._services, count_call=self._count_call, jitter=self._parts.jitter
        )

    def _new_version(self, definition: Definition) -> Version:
        return Version(
            definition,
            settings=self._parts.settings,
            snapshots=self._parts.snapshots,
            approvals=self._approvals,
            tiers=self._parts.tiers,
        )

    async def _read_again(self, actor: PluginActor) -> Definition:
        definition = actor.definition
        name, folder = definition.name, definition.folder
        if folder is None or not definition.is_from_folder:
            return definition
        read = await run_in_worker(
            lambda: read_plugin(folder, tiers=tuple(self._parts.tiers)), abandon_on_cancel=False
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
            is_from_folder=True,
        )

    async def _start_all(self) -> None:
        await self._parts.manager.discover()
        for found in self.problems:
            for problem in found.problems:
                logger.warning("a plugin is not loaded: %s", problem.render(found.file))
        definitions = [*self._parts.definitions, *map(self._definition, self._parts.manager.found)]
        check_definitions(definitions)
        for definition in definitions:
            self._plugins.add(definition)
        for definition in definitions:
            self._plugins.get(definition.name).start_nowait()

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run until `leave`; belongs to `run_runtime`."""
        with self._scope:
            async with open_bare_nursery() as nursery:
                self._plugins.open(nursery)
                watch = self._folder_watch()
                if watch is not None:
                    # Before the folder is read, so that no change falls between the two.
                    await watch.look()
                await self._start_all()
                if watch is not None:
                    nursery.start_soon(FolderFollower(watch, self._rescan).run)
                task_status.started()
                await self._leaving.wait()
                await self._stop_all()
                nursery.cancel_scope.cancel()
        self._plugins.close()
        self._events.end()
        self._ended.set()

    def _folder_watch(self) -> FolderWatch | None:
        folder, settings = self._parts.manager.plugins_dir, self._parts.settings
        if folder is None or not settings.watch_plugins:
            return None
        return FolderWatch(
            folder, interval_s=settings.watch_interval_s, files_max=settings.snapshot_files
        )

    def shield(self) -> None:
        """Have plugins end in our order from now on, and not in that of a cancellation.

        Bounded by `leave`, from the moment at which the application's block is left. Not earlier
        than that block is entered: nobody would call `leave` for a start that was cancelled.
        """
        self._scope.shield = True

    def leave(self, *, orderly: bool) -> None:
        """Have `run` end: in order, draining, or else as fast as it goes."""
        self._orderly = orderly
        bound_s = self._plugins.stop_bound_s() + LAST_RESORT_S if orderly else FAST_STOP_S
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
                await self._plugins.stop_all(StopKind.DRAIN if self._orderly else StopKind.STOP)
            nursery.cancel_scope.cancel()
        if patience.cancelled_caught:
            await self._plugins.stop_all(StopKind.KILL)

    @trio.lowlevel.enable_ki_protection
    async def _kill_when_hurried(self) -> None:
        await self._hurried.wait()
        await self._plugins.stop_all(StopKind.KILL)


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
