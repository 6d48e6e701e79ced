"""The life of one instance of a plugin, from validating to stopped, along the lifecycle table.

Everything that the instance holds (its snapshot, its registration, its tier's session) is in a
`with` block here: whatever ends the life, nothing of it is left.
"""

import hashlib
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import attrs
import trio

from sigil_actors.actors.mailbox import ActorDownError
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.calls import Health, HealthStatus
from sigil_actors.core.execution import RegisteredExecution
from sigil_actors.core.json_value import JsonValue
from sigil_actors.core.lifecycle import PluginInstance, PluginState
from sigil_actors.core.text import escape_text
from sigil_actors.core.wording import counted
from sigil_actors.errors import (
    PluginCrashedError,
    PluginStartError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.ports.egress import EgressGate
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, Tier
from sigil_actors.runtime.admission import Gate
from sigil_actors.runtime.call_tokens import CallTokens
from sigil_actors.runtime.chain import Turns, Waits
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.events import Events
from sigil_actors.runtime.instance import Instance, check_tools
from sigil_actors.runtime.plugin_log import PluginLog
from sigil_actors.runtime.settings import RuntimeSettings
from sigil_actors.runtime.stop_order import StopKind, StopOrder
from sigil_actors.runtime.version import Version

logger = logging.getLogger(__name__)

LEAVE_S = 1.0
"""What callers get to leave an instance after it was ended under them, before its tier closes."""

RECORDED_CHARACTERS_MAX = 1000
"""Of the patterns that a registration's entry spells out."""

HEALTH_CHARACTERS_MAX = 300
"""Of what a plugin says of its health."""

HEALTH_S = 5.0
"""What an answer to a health check may take at most; a shorter interval is the bound itself."""

HEALTH_INTERVAL_MIN_S = 0.1
"""The shortest interval that is kept to; more often is work for nothing."""

HEALTH_MISSES_MAX = 3
"""Health checks without an answer that count as a crash."""

SHUTDOWN_S = 2.0
"""What a plugin gets at most to answer its shutdown call; a guest that is stuck has no say."""


@attrs.frozen(kw_only=True)
class LifeServices:
    """What instances need of their runtime."""

    settings: RuntimeSettings
    enforcer: Enforcer
    waits: Waits
    events: Events
    new_version: Callable[[Definition], Version]
    wait_for: Callable[[Definition, Callable[[str, str], None]], Awaitable[None]]
    """Waits until what a plugin depends on runs; see `PluginSet.wait_for`."""
    host_of: Callable[[str, int, CallTokens], HostFunctions]
    """Makes the way back for one instance: plugin, generation, its tokens."""
    egress_of: Callable[[str, int], EgressGate]
    """Makes the way out for one instance: plugin, generation."""


class InstanceLife:
    """One instance. `run` is its whole life."""

    def __init__(
        self,
        version: Version,
        state: PluginInstance,
        services: LifeServices,
        *,
        order: StopOrder,
        log: PluginLog,
        on_change: Callable[[str], None],
        on_health: Callable[[Health], None],
    ) -> None:
        self._version = version
        self._definition = version.definition
        self._manifest = version.definition.manifest
        self._state = state
        self._services = services
        self._order = order
        self._log = log
        self._on_change = on_change
        self._on_health = on_health
        self.gate = Gate()

    async def run(self, ready: Callable[[Instance], None]) -> None:
        """Load it, let it serve until it is ordered to end, end it.

        Raises:
            PluginStartError: it couldn't be loaded.
            SigilError: how it ended by itself.
        """
        try:
            self._enter(PluginState.VALIDATING)
            tier = self._version.check()
            self._enter(PluginState.LOADING)
            await self._load_and_serve(tier, ready)
        except BaseException as error:
            self._enter(PluginState.ERROR, _reason(error))
            raise

    async def _load_and_serve(self, tier: Tier, ready: Callable[[Instance], None]) -> None:
        timeout_s = self._services.settings.start_timeout_s
        execution = self._manifest.execution
        if not isinstance(execution, RegisteredExecution):
            timeout_s = min(timeout_s, execution.start_timeout)
        # One scope for the whole life, since what is opened while loading stays open: it can only
        # end by its deadline, or by an order, until the instance is loaded.
        with trio.CancelScope(deadline=trio.current_time() + timeout_s) as loading:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(self._cancel_when_ordered, loading)
                async with self._loaded(tier) as instance:
                    loading.deadline = math.inf
                    self._enter(PluginState.RUNNING)
                    ready(instance)
                    await self._serve(instance)
                nursery.cancel_scope.cancel()
        if self._state.state is PluginState.STOPPING:
            self._enter(PluginState.STOPPED)
        elif self._order.kind is not None:
            self._enter(PluginState.ERROR, "cancelled")
        else:
            raise PluginStartError(
                self._definition.name,
                f"wasn't ready within {timeout_s:g} s",
                remedy="Raise execution.start_timeout, or settings.start_timeout_s if it is lower",
            )

    @trio.lowlevel.enable_ki_protection
    async def _cancel_when_ordered(self, loading: trio.CancelScope) -> None:
        await self._order.wait()
        if self._state.state is PluginState.LOADING:
            loading.cancel()

    @asynccontextmanager
    async def _loaded(self, tier: Tier) -> AsyncGenerator[Instance]:
        """Bring the instance up; all of it is gone when the block is left."""
        name, generation = self._definition.name, self._state.generation
        tokens = CallTokens()
        files = await self._version.prepare()
        async with self._registered(files.digest):
            launch = Launch(
                plugin=name,
                generation=generation,
                manifest=self._manifest,
                folder=files.folder,
                host=self._services.host_of(name, generation, tokens),
                egress=self._services.egress_of(name, generation),
                log=self._log,
            )
            async with tier.open(launch) as session:
                await session.init(self._definition.config)
                health = _shown(await session.health())
                if health.status is HealthStatus.UNHEALTHY:
                    raise PluginStartError(
                        name, f"says that it is unhealthy: {health.message or 'no reason'}"
                    )
                self._on_health(health)
                tools = check_tools(name, await session.describe())
                await self._version.accept()
                yield Instance(
                    plugin=name,
                    type=self._manifest.type,
                    generation=generation,
                    session=session,
                    checked_tools=tools,
                    gate=self.gate,
                    turns=Turns(
                        name,
                        at_once=session.calls_at_once,
                        waiting=self._services.settings.calls_waiting,
                        waits=self._services.waits,
                    ),
                    tokens=tokens,
                )

    @asynccontextmanager
    async def _registered(self, digest: str) -> AsyncGenerator[None]:
        name, generation, manifest = self._definition.name, self._state.generation, self._manifest
        enforcer = self._services.enforcer
        await enforcer.record(
            AuditEntry(
                action="plugin_registered",
                timestamp=enforcer.clock.now(),
                actor="runtime",
                plugin=name,
                result="registered",
                details={
                    "version": manifest.version,
                    "generation": generation,
                    "tier": str(manifest.execution.tier),
                    "manifest_sha256": self._definition.manifest_sha256,
                    "snapshot_sha256": digest,
                    "capabilities": _recorded(manifest.capabilities),
                    "deny_capabilities": _recorded(manifest.deny_capabilities),
                },
            )
        )
        try:
            # Within: cancelled while it waits for the reply, it may have been registered.
            await enforcer.register_plugin(
                name, manifest.capabilities, manifest.deny_capabilities, generation
            )
            yield
        finally:
            # Shielded, so that a dead generation's sets don't stay; the enforcer replies at once,
            # or after its commit, which is bounded.
            with trio.move_on_after(SHUTDOWN_S, shield=True), suppress(ActorDownError):
                await enforcer.unregister_plugin(name, generation)

    async def _serve(self, instance: Instance) -> None:
        """Let callers in until the end is ordered, then drain; raises when it ends by itself."""
        async with open_bare_nursery() as nursery:
            nursery.start_soon(self._fail_when_ended, instance)
            nursery.start_soon(self._watch_health, instance)
            await self._order.wait()
            self._enter(PluginState.DRAINING)
            self.gate.drain(PluginUnavailableError(self._definition.name, "draining"))
            if self.gate.finishing:
                logger.info(
                    "plugin %s: %s may finish, within %g s at most",
                    self._definition.name,
                    counted(self.gate.finishing, "call"),
                    self._manifest.lifecycle.graceful_shutdown_timeout,
                )
            await self._drain()
            nursery.cancel_scope.cancel()
        self._enter(PluginState.STOPPING)
        name, cut_off = self._definition.name, self.gate.in_flight
        if cut_off:
            logger.warning(
                "plugin %s is stopped, which cuts off %s", name, counted(cut_off, "call")
            )
        self.gate.end(
            PluginUnavailableError(
                name, "stopped", detail="it was stopped before this call had finished"
            )
        )
        if self._order.kind is not StopKind.KILL:
            with trio.move_on_after(LEAVE_S):
                await self.gate.wait_idle()
            with trio.move_on_after(SHUTDOWN_S):
                await instance.session.shutdown(grace_s=SHUTDOWN_S)

    @trio.lowlevel.enable_ki_protection
    async def _fail_when_ended(self, instance: Instance) -> None:
        end = await instance.session.wait_ended()
        self.gate.end(_for_callers(self._definition.name, end.error, end.last_words))
        raise end.error

    @trio.lowlevel.enable_ki_protection
    async def _watch_health(self, instance: Instance) -> None:
        """Ask how it is from time to time; raises when it says, or shows, that it is unwell."""
        interval_s = max(self._manifest.lifecycle.health_interval, HEALTH_INTERVAL_MIN_S)
        misses = 0
        while True:
            await trio.sleep(interval_s)
            with instance.turns.take_if_free() as is_free:
                if not is_free:
                    # It is busy with calls, which have bounds of their own.
                    continue
                health = await self._ask_health(instance, min(interval_s, HEALTH_S))
            if health is None:
                misses += 1
                if misses >= HEALTH_MISSES_MAX:
                    self._fail(f"didn't answer {misses} health checks in a row")
                continue
            misses = 0
            self._on_health(health)
            if health.status is HealthStatus.UNHEALTHY:
                self._fail(f"says that it is unhealthy: {health.message or 'no reason'}")

    async def _ask_health(self, instance: Instance, bound_s: float) -> Health | None:
        """Return its answer, or None where it gave none in time."""
        with trio.move_on_after(bound_s):
            try:
                return _shown(await instance.session.health())
            except SigilError:
                return None
        return None

    def _fail(self, what: str) -> NoReturn:
        error = PluginCrashedError(self._definition.name, what, last_words=self._log.last_words)
        self.gate.end(error)
        raise error

    async def _drain(self) -> None:
        """Wait until nobody is in it, as long as the order allows."""
        began = trio.current_time()
        graceful_s = self._manifest.lifecycle.graceful_shutdown_timeout
        stop_s = min(graceful_s, self._services.settings.stop_grace_s)
        with trio.CancelScope(deadline=began + graceful_s) as scope:
            async with open_bare_nursery() as nursery:
                nursery.start_soon(self._hurry, scope, stop_s)
                await self.gate.wait_idle()
                nursery.cancel_scope.cancel()

    @trio.lowlevel.enable_ki_protection
    async def _hurry(self, scope: trio.CancelScope, stop_s: float) -> None:
        await self._order.wait(StopKind.STOP)
        scope.deadline = min(scope.deadline, trio.current_time() + stop_s)
        await self._order.wait(StopKind.KILL)
        scope.cancel()

    def _enter(self, state: PluginState, reason: str = "") -> None:
        self._state.transition_to(state)
        self._on_change(reason)


def _shown(health: Health) -> Health:
    """Return an answer with its words made safe to show: they are the plugin's."""
    return Health(health.status, escape_text(health.message, limit=HEALTH_CHARACTERS_MAX))


def _recorded(patterns: tuple[str, ...]) -> JsonValue:
    """Return patterns as the log keeps them: as they are, or their number and hash if many.

    An entry's details are bounded as a whole, and what is cut there could be the other hashes.
    """
    if sum(map(len, patterns)) <= RECORDED_CHARACTERS_MAX:
        return list(patterns)
    digest = hashlib.sha256("\n".join(patterns).encode()).hexdigest()
    return {"count": len(patterns), "sha256": digest}


def _for_callers(plugin: str, error: SigilError, last_words: tuple[str, ...]) -> SigilError:
    """Return what the *other* callers get when one call ended the instance."""
    if isinstance(error, PluginCrashedError):
        return error
    return PluginCrashedError(
        plugin, f"ended while the call was in it: {error.what}", last_words=last_words
    )


def _reason(error: BaseException) -> str:
    if isinstance(error, SigilError):
        return error.what
    if isinstance(error, trio.Cancelled):
        return "cancelled"
    return f"a bug of the host: {type(error).__name__}"
