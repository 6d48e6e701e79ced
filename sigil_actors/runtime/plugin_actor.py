"""The actor of one plugin: starts it, keeps it running, lets callers in, swaps, drains, stops it.

What one version does over its generations is in `deployment`; here is decided which version serves,
and what follows when one comes up, fails or ends. Orders come by a mailbox; calls don't pass
through it: they hold leases in their own tasks.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from enum import StrEnum

import attrs
import trio

from sigil_actors.actors.mailbox import Envelope, Mailbox, Request
from sigil_actors.actors.supervisor import ChildExit
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.execution import PluginType
from sigil_actors.core.lifecycle import PluginState
from sigil_actors.errors import (
    PluginHeldError,
    PluginStartError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.deployment import REASON_CHARACTERS_MAX, Deployment, explained
from sigil_actors.runtime.events import EventKind
from sigil_actors.runtime.instance_life import LifeServices
from sigil_actors.runtime.plugin_log import PluginLog
from sigil_actors.runtime.session import Admitted
from sigil_actors.runtime.status import HeldVersion, PluginStatus
from sigil_actors.runtime.stop_order import StopKind
from sigil_actors.runtime.tree import NodeKind, TreeNode

logger = logging.getLogger(__name__)


class ReloadResult(StrEnum):
    """What became of a reload that didn't fail."""

    RELOADED = "reloaded"
    """The new version serves."""
    UNCHANGED = "unchanged"
    """The folder holds what runs already; nothing was done."""
    SKIPPED = "skipped"
    """It was stopped by somebody and stays so; the next start takes the new version."""


@attrs.frozen(eq=False)
class StartPlugin(Request[None]):
    """Have it run; answered when it runs, or when it is clear that it doesn't."""

    definition: Definition


@attrs.frozen(eq=False)
class StopPlugin(Request[None]):
    """Have it stop; answered when nothing of it is left."""

    kind: StopKind


@attrs.frozen(eq=False)
class ReloadPlugin(Request[ReloadResult]):
    """Have another version run; answered when it serves, or when it is clear that it doesn't."""

    definition: Definition
    only_if_changed: bool


class _Down(StrEnum):
    """Why nothing of it runs, as the word that callers are told."""

    STOPPED = "stopped"
    QUARANTINED = "quarantined"
    HELD = "held"


class PluginActor:
    """One plugin, over all of its versions and generations."""

    def __init__(
        self,
        definition: Definition,
        services: LifeServices,
        *,
        count_call: Callable[[], int],
        jitter: Callable[[], float],
    ) -> None:
        self.name = definition.manifest.name
        self.definition = definition
        """What serves, or is started next."""
        self.log = PluginLog(self.name)
        self._services = services
        self._count_call = count_call
        self._jitter = jitter
        self._mailbox = Mailbox(f"the actor of plugin {self.name}", capacity=16)
        self._nursery: trio.Nursery | None = None
        self._generation = 0
        self._current: Deployment | None = None
        """What serves, or served last."""
        self._candidate: Deployment | None = None
        """What is about to take over."""
        self._leaving: Deployment | None = None
        """What served before and finishes its calls."""
        self._down = _Down.STOPPED
        self._settled: Deployment | None = None
        """What is down and whose end was made known."""
        self._held: HeldVersion | None = None
        self._reload_failed = ""
        self._last_error = ""
        self._starting: list[Envelope] = []
        self._stopping: list[Envelope] = []
        self._reloading: list[Envelope] = []
        """Whom the candidate's fate is told."""
        self._reloads_waiting: list[Envelope] = []
        """Who asked meanwhile; bounded by the mailbox's orders, as each of them waits."""
        self._changed = trio.Event()

    # What callers need

    @asynccontextmanager
    async def admit(self, chain: Chain) -> AsyncGenerator[Admitted]:
        """Let a call in for as long as the block lasts; waits while a new version takes over.

        Raises:
            PluginUnavailableError: it takes no calls now; says why, and when to try again.
        """
        deployment = self._current
        if deployment is None or not _takes(deployment, chain):
            deployment = await self._wait_for_swap()
        instance = deployment.instance
        if instance is None:
            raise self._unavailable()
        with instance.gate.lease() as lease:
            yield Admitted(instance, lease)

    async def _wait_for_swap(self) -> Deployment:
        with trio.move_on_after(self._services.settings.swap_wait_s):
            while self._is_swapping_alone:
                await self._changed.wait()
        # No checkpoint from here to the lease: what is let in now is in before anything changes.
        if self._current is None or not self._current.is_running:
            raise self._unavailable()
        return self._current

    @property
    def _is_swapping_alone(self) -> bool:
        """Whether what served has to be gone before what takes over can start."""
        return self._current is not None and self._current.is_aside

    def _unavailable(self) -> PluginUnavailableError:
        current = self._current
        reason, detail, retry_after_s = "starting", "", None
        if self._is_down:
            reason, detail = self._down, self._why_down()
        elif current is None or current.is_over:
            pass  # what takes its place is on its way
        elif current.is_aside:
            reason, retry_after_s = "reloading", 1.0
        elif current.order.kind is not None:
            reason = "draining"
        elif current.restart_at is not None:
            reason, detail = "restarting", current.reason
            retry_after_s = current.restart_in_s()
        elif current.waits_for:
            reason, detail = "waiting", f"it {current.waiting}"
        return PluginUnavailableError(self.name, reason, detail=detail, retry_after_s=retry_after_s)

    def _why_down(self) -> str:
        """Return why it ended, with what the error that it ended by says can be done."""
        current = self._current
        if current is None:
            return ""
        return f"{current.reason}. {current.remedy}" if current.remedy else current.reason

    @property
    def is_running(self) -> bool:
        """Whether it can be called."""
        return self._current is not None and self._current.is_running

    @property
    def why_not_coming(self) -> str:
        """Return what keeps it down until a person acts, in a few words; empty where nothing."""
        if self._current is not None and self._current.waits_in_vain:
            return self._current.waiting
        if self._alive or self._mailbox.statistics().orders:
            return ""
        return f"is {self._down}"

    async def wait_changed(self) -> None:
        """Wait until anything about it changes."""
        await self._changed.wait()

    async def wait_until_running(self) -> None:
        """Wait until it runs.

        Raises:
            PluginUnavailableError: it is down, and nobody is going to start it.
        """
        while not self.is_running:
            if self.why_not_coming:
                raise self._unavailable()
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    # Introspection

    @property
    def held(self) -> HeldVersion | None:
        """Return the version that waits to be approved, where there is one."""
        return self._held

    def definition_of(self, generation: int) -> Definition:
        """Return what a generation that lives was made from; the one that serves otherwise."""
        for deployment in self._alive:
            if deployment.life.generation == generation:
                return deployment.definition
        return self.definition

    def status(self) -> PluginStatus:
        """Return a look at it as it is now."""
        manifest = self.definition.manifest
        current, leaving = self._current, self._leaving
        in_flight = sum(one.gate.in_flight for one in (current, leaving) if one is not None)
        return PluginStatus(
            name=self.name,
            version=manifest.version,
            type=manifest.type,
            tier=str(manifest.execution.tier),
            state=PluginState.DISCOVERED if current is None else current.state,
            generation=0 if current is None else current.life.generation,
            restarts=0 if current is None else current.restarts,
            in_flight=in_flight,
            reason=self._reason(),
            quarantined=self._is_down and self._down is _Down.QUARANTINED,
            restart_in_s=None if current is None else current.restart_in_s(),
            last_words=() if current is None else current.last_words,
            health=None if current is None else current.health,
            held=self._held,
            reload_failed=self._reload_failed,
            last_error=self._last_error,
            is_swapping=len(self._alive) > 1,
            draining_generations=() if leaving is None else (leaving.life.generation,),
        )

    def _reason(self) -> str:
        current = self._current
        if current is None:
            return ""
        return current.waiting or current.reason

    def node(self) -> TreeNode:
        """Return its place in the tree, with the generations that live below it."""
        status = self.status()
        return TreeNode(
            name=self.name,
            kind=NodeKind.ACTOR,
            state=status.state,
            generation=status.generation,
            in_flight=status.in_flight,
            restarts=status.restarts,
            mailbox=self._mailbox.statistics(),
            last_error=self._last_error,
            children=tuple(one.node() for one in self._alive),
        )

    @property
    def _alive(self) -> list[Deployment]:
        return [
            one
            for one in (self._current, self._candidate, self._leaving)
            if one is not None and not one.is_over
        ]

    @property
    def _is_down(self) -> bool:
        return not self._alive

    # Orders

    async def start(self, definition: Definition) -> None:
        """Have it run, from `definition` if nothing of it runs; returns when it does.

        Raises:
            PluginStartError: it was given up on, or stopped meanwhile.
        """
        await self._mailbox.order(StartPlugin(definition))

    def start_nowait(self) -> None:
        """Have it run, without waiting for it."""
        self._mailbox.tell_order_nowait(StartPlugin(self.definition))

    async def stop(self, kind: StopKind) -> None:
        """End it and don't start it again; returns when nothing of it is left."""
        await self._mailbox.order(StopPlugin(kind))

    async def reload(
        self, definition: Definition, *, only_if_changed: bool = False
    ) -> ReloadResult:
        """Have another version take over; returns when it serves.

        Raises:
            PluginHeldError: it asks for more than the one before.
            PluginStartError: it didn't come up; what ran before goes on.
            PluginUnavailableError: it is being stopped.
        """
        return await self._mailbox.order(ReloadPlugin(definition, only_if_changed))

    # The actor

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Take orders until cancelled; `stop` it first, a cancel only ends what is left over."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                while True:
                    for envelope in await self._mailbox.receive_batch():
                        self._obey(envelope)
        finally:
            self._mailbox.close("the runtime ended")

    def _obey(self, envelope: Envelope) -> None:
        match envelope.message:
            case StartPlugin(definition):
                self._obey_start(envelope, definition)
            case StopPlugin(kind):
                self._obey_stop(envelope, kind)
            case ReloadPlugin():
                self._obey_reload(envelope)
            case other:
                raise AssertionError(other)

    def _obey_start(self, envelope: Envelope, definition: Definition) -> None:
        if self.is_running:
            envelope.reply(None)
        elif self._is_ending:
            envelope.fail(PluginUnavailableError(self.name, "draining"))
        else:
            self._starting.append(envelope)
            if self._is_down:
                self._begin(definition)
            else:
                self._settle_starting()

    def _obey_stop(self, envelope: Envelope, kind: StopKind) -> None:
        if self._is_down:
            self._down = _Down.STOPPED
            envelope.reply(None)
            self._notify()
            return
        self._stopping.append(envelope)
        for deployment in self._alive:
            deployment.stop(kind, at_call=self._count_call())
        self._fail_reloads(PluginUnavailableError(self.name, "draining"))

    def _obey_reload(self, envelope: Envelope) -> None:
        if self._is_ending:
            envelope.fail(PluginUnavailableError(self.name, "draining"))
            return
        self._reloads_waiting.append(envelope)
        self._reload_next()

    @property
    def _is_ending(self) -> bool:
        """Whether it was told to end, and hasn't yet."""
        return bool(self._stopping) and not self._is_down

    def _begin(self, definition: Definition) -> None:
        """Start what is down."""
        self.definition = definition
        self._current = self._deploy(definition, on_trial=False)
        self._notify()

    def _deploy(self, definition: Definition, *, on_trial: bool) -> Deployment:
        deployment = Deployment(
            definition,
            self._services,
            listener=self,
            log=self.log,
            next_generation=self._next_generation,
            jitter=self._jitter,
            on_trial=on_trial,
        )
        assert self._nursery is not None  # noqa: S101 - orders are obeyed by `run` only
        self._nursery.start_soon(
            deployment.run, name=f"plugin {self.name} {definition.manifest.version}"
        )
        return deployment

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    # Swaps

    def _reload_next(self) -> None:
        """Have the newest version that was asked for take over, one swap after another."""
        waiting = [one for one in self._reloads_waiting if one.is_wanted]
        if self._candidate is not None or (
            self._leaving is not None and not self._leaving.is_over and waiting
        ):
            return
        self._reloads_waiting = []
        if not waiting:
            return
        self._reloading = waiting
        newest = waiting[-1].message
        assert isinstance(newest, ReloadPlugin)  # noqa: S101 - nothing else is put there
        self._candidate = self._deploy(newest.definition, on_trial=True)
        self._notify()

    @property
    def _only_if_changed(self) -> bool:
        """Whether everybody who asked for the reload wants one only of something new."""
        messages = [one.message for one in self._reloading]
        return all(isinstance(one, ReloadPlugin) and one.only_if_changed for one in messages)

    def prepared(self, deployment: Deployment) -> None:
        """Let the candidate start: beside what serves where that can be, else in its place."""
        current = self._current
        if self._only_if_changed and self._is_same(deployment):
            self._held = None
            self._end_candidate(ReloadResult.UNCHANGED)
        elif current is None or current.is_over:
            if self._only_if_changed and self._down is _Down.STOPPED and not self._starting:
                self.definition = deployment.definition
                self._end_candidate(ReloadResult.SKIPPED)
            else:
                # Nothing serves, so there is nothing to go back to: it is started as by an order.
                deployment.is_on_trial = False
                self._current, self._candidate = deployment, None
                self.definition = deployment.definition
                self._starting.extend(self._reloading)
                self._reloading = []
                deployment.go()
        elif current.is_running and self.definition.manifest.type is not PluginType.CHANNEL:
            deployment.go()
        else:
            # Two instances of a channel would receive every message twice; and what doesn't run
            # is no use beside the new one.
            kind = StopKind.DRAIN if current.is_running else StopKind.KILL
            current.step_aside(kind, at_call=self._count_call())
        self._notify()

    def _is_same(self, deployment: Deployment) -> bool:
        current = self._current
        return (
            current is not None
            and current.version.digest == deployment.version.digest
            and current.definition == deployment.definition
        )

    def _end_candidate(self, result: ReloadResult) -> None:
        candidate = self._candidate
        assert candidate is not None  # noqa: S101 - it is what was prepared
        self._settle_reloading(result)
        candidate.stop(StopKind.KILL, at_call=self._count_call())

    def stepped_aside(self, _deployment: Deployment) -> None:
        """Let the candidate start, now that the place is free."""
        if self._candidate is not None and not self._candidate.is_over:
            self._candidate.go()
        elif self._current is not None:
            self._current.resume()
        self._notify()

    def _turn(self, candidate: Deployment) -> None:
        """Turn the gate: from here on, new calls go to the candidate."""
        before, self._current, self._candidate = self._current, candidate, None
        candidate.is_on_trial = False
        self.definition = candidate.definition
        self._held = None
        self._reload_failed = ""
        if before is not None and not before.is_over:
            self._leaving = before
            before.stop(StopKind.DRAIN, at_call=self._count_call())
        manifest = candidate.definition.manifest
        self._publish(candidate, EventKind.SWAPPED, f"version {manifest.version} serves now")
        logger.info("plugin %s: version %s serves now", self.name, manifest.version)
        self._settle_reloading(ReloadResult.RELOADED)

    def _candidate_failed(self, candidate: Deployment) -> None:
        error = candidate.error
        if not isinstance(error, SigilError):
            why = explained(error) if error is not None else "stopped before it ran"
            error = PluginStartError(self.name, f"didn't start: {why}")
        if isinstance(error, PluginHeldError):
            self._hold(candidate, error)
        elif candidate.error is not None:
            self._reload_failed = error.what[:REASON_CHARACTERS_MAX]
            self._publish(candidate, EventKind.RELOAD_FAILED, self._reload_failed)
            logger.warning(
                "plugin %s: version %s didn't come up; what ran before goes on: %s",
                self.name,
                candidate.definition.manifest.version,
                self._reload_failed,
            )
        self._fail_reloading(error)
        if self._current is not None and self._current.is_aside:
            self._current.resume()

    def _hold(self, deployment: Deployment, error: PluginHeldError) -> None:
        self._held = HeldVersion(
            version=error.version,
            snapshot_sha256=error.snapshot_sha256,
            differences=error.differences,
        )
        self._publish(deployment, EventKind.HELD, "; ".join(error.differences))
        logger.warning("%s", error)

    # What deployments tell

    def entered(self, deployment: Deployment, reason: str) -> None:
        """Make it known that an instance entered a state."""
        life = deployment.life
        logger.info(
            "plugin %s, generation %d: %s%s",
            self.name,
            life.generation,
            life.state,
            f" ({reason})" if reason else "",
        )
        self._record(life.state, reason, life.generation)
        self._services.events.publish(
            self.name,
            EventKind.LIFECYCLE,
            generation=life.generation,
            state=life.state,
            reason=reason,
        )
        self._notify()

    def ready(self, deployment: Deployment) -> None:
        """Let callers into an instance that can be called."""
        if deployment is self._candidate:
            self._turn(deployment)
        self._settle_starting()
        self._notify()

    def told_health(self, deployment: Deployment) -> None:
        """Make it known what an instance says of its health."""
        health = deployment.health
        if health is not None:
            self._publish(deployment, EventKind.HEALTH, f"{health.status} {health.message}".strip())

    def exited(self, deployment: Deployment, ended: ChildExit) -> None:
        """Make it known that an instance ended, and whether it comes back."""
        if ended.error is not None:
            self._last_error = explained(ended.error)[:REASON_CHARACTERS_MAX]
        if deployment.restart_at is not None and ended.restart_in_s is not None:
            why = deployment.reason or "it ended"
            self._publish(
                deployment, EventKind.RESTART, f"in {ended.restart_in_s:.3g} s, since {why}"
            )
            logger.warning(
                "plugin %s ended (%s); it is started again in %.1f s",
                self.name,
                deployment.reason or "by itself",
                ended.restart_in_s,
            )
        self._notify()

    def waits(self, deployment: Deployment) -> None:
        """Tell those who wait for a start that hangs on another plugin."""
        if deployment is self._current:
            self._settle_starting()
        elif deployment is self._candidate and deployment.waits_in_vain:
            deployment.error = self._waiting_error(deployment)
            deployment.stop(StopKind.KILL, at_call=self._count_call())
        self._notify()

    def over(self, deployment: Deployment) -> None:
        """Decide what follows when nothing of a deployment is left."""
        if deployment is self._candidate:
            self._candidate = None
            if self._reloading:
                self._candidate_failed(deployment)
            if self._current is not None and self._current.is_over:
                self._settle_down(self._current)
        elif deployment is self._leaving:
            self._leaving = None
        elif deployment is self._current and self._candidate is None:
            self._settle_down(deployment)
        self._settle_starting()
        if self._is_down:
            stopping, self._stopping = self._stopping, []
            for envelope in stopping:
                envelope.reply(None)
        self._reload_next()
        self._notify()

    def _settle_down(self, deployment: Deployment) -> None:
        """Note, once, why nothing of it runs any more."""
        if deployment is self._settled:
            return
        self._settled = deployment
        if self._stopping:
            self._down = _Down.STOPPED
        elif isinstance(deployment.error, PluginHeldError):
            self._down = _Down.HELD
            self._hold(deployment, deployment.error)
        elif deployment.gave_up:
            self._down = _Down.QUARANTINED
            self._record("quarantined", deployment.reason, deployment.life.generation)
            self._publish(deployment, EventKind.QUARANTINED, deployment.reason)
            logger.error("plugin %s is quarantined: %s", self.name, deployment.reason)
        else:
            self._down = _Down.STOPPED
        deployment.reason = deployment.reason or "stopped"

    # Answers

    def _settle_starting(self) -> None:
        """Answer those who wait for a start, as far as it is clear what became of it."""
        current = self._current
        if self.is_running:
            for envelope in self._take_starting():
                is_reload = isinstance(envelope.message, ReloadPlugin)
                envelope.reply(ReloadResult.RELOADED if is_reload else None)
        elif self._is_down:
            for envelope in self._take_starting():
                envelope.fail(self._start_error())
        elif current is not None and current.waits_in_vain:
            for envelope in self._take_starting():
                envelope.fail(self._waiting_error(current))

    def _waiting_error(self, deployment: Deployment) -> PluginStartError:
        return PluginStartError(
            self.name, deployment.waiting, remedy=f"Start {deployment.waits_for} first"
        )

    def _start_error(self) -> SigilError:
        current = self._current
        if current is not None and isinstance(current.error, PluginHeldError):
            return current.error
        why = (current.reason if current is not None else "") or "stopped"
        remedy = current.remedy if current is not None else ""
        return PluginStartError(self.name, f"didn't start: {why}", remedy=remedy)

    def _take_starting(self) -> list[Envelope]:
        starting, self._starting = self._starting, []
        return starting

    def _settle_reloading(self, result: ReloadResult) -> None:
        reloading, self._reloading = self._reloading, []
        for envelope in reloading:
            envelope.reply(result)

    def _fail_reloading(self, error: SigilError) -> None:
        reloading, self._reloading = self._reloading, []
        for envelope in reloading:
            envelope.fail(error)

    def _fail_reloads(self, error: SigilError) -> None:
        """Fail the reload that is under way and those that wait, since it is being stopped."""
        waiting, self._reloads_waiting = self._reloads_waiting, []
        for envelope in waiting:
            envelope.fail(error)
        self._fail_reloading(error)

    # Making it known

    def _record(self, result: str, reason: str, generation: int) -> None:
        enforcer = self._services.enforcer
        enforcer.tell_outcome(
            AuditEntry(
                action="lifecycle",
                timestamp=enforcer.clock.now(),
                actor="runtime",
                plugin=self.name,
                result=result,
                reason=reason[:REASON_CHARACTERS_MAX],
                details={"generation": generation},
            )
        )

    def _publish(self, deployment: Deployment, kind: EventKind, reason: str) -> None:
        self._services.events.publish(
            self.name,
            kind,
            generation=deployment.life.generation,
            reason=reason[:REASON_CHARACTERS_MAX],
        )

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _takes(deployment: Deployment, chain: Chain) -> bool:
    """Tell whether a call may enter what serves now."""
    if deployment.is_running:
        return True
    # A drain finishes what had begun, and that includes what it goes on to call.
    return (
        deployment.state is PluginState.DRAINING
        and deployment.drain_began is not None
        and len(chain.plugins) > 1
        and chain.began < deployment.drain_began
    )
