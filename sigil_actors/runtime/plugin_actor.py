"""The actor of one plugin: starts it, keeps it running, lets callers in, swaps, drains, stops it.

What one version does over its generations is in `deployment`; here is decided which version serves,
and what follows when one comes up, fails or ends. Orders come by a mailbox; calls don't pass
through it: they hold leases in their own tasks.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import trio

from sigil_actors.actors.mailbox import Envelope, Mailbox
from sigil_actors.actors.supervisor import ChildExit
from sigil_actors.core.execution import PluginType
from sigil_actors.errors import (
    PluginHeldError,
    PluginStartError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.runtime.announcer import Announcer
from sigil_actors.runtime.call import Admitted
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.deployment import REASON_CHARACTERS_MAX, Deployment, explained
from sigil_actors.runtime.instance_life import LifeServices
from sigil_actors.runtime.plugin_log import PluginLog
from sigil_actors.runtime.plugin_orders import ReloadPlugin, ReloadResult, StartPlugin
from sigil_actors.runtime.roles import Down, Roles
from sigil_actors.runtime.status import HeldVersion, PluginStatus
from sigil_actors.runtime.stop_order import StopKind
from sigil_actors.runtime.tree import TreeNode

ASKERS_MAX = 32
"""Starts and reloads of one plugin that are under way; more wait in their own tasks, so that the
mailbox's lane of orders never fills."""


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
        self.log = PluginLog(self.name)
        self._roles = Roles(definition)
        self._announcer = Announcer(self.name, services.enforcer, services.events)
        self._services = services
        self._count_call = count_call
        self._jitter = jitter
        self._mailbox = Mailbox(f"the actor of plugin {self.name}", capacity=16)
        self._nursery: trio.Nursery | None = None
        self._generation = 0
        self._settled: Deployment | None = None
        """What is down and whose end was made known."""
        self._starting: list[Envelope] = []
        self._askers = trio.Semaphore(ASKERS_MAX)
        self._orders = 0
        self._void_until = 0
        """Orders up to this number were overtaken by a stop."""
        self._stopped: trio.Event | None = None
        """Set when the stop that is under way is over; None where there is none."""
        self._reloading: list[Envelope] = []
        """Whom the candidate's fate is told."""
        self._reloads_waiting: list[Envelope] = []
        """Who asked meanwhile; bounded by the mailbox's orders, as each of them waits."""

    # What callers need

    @asynccontextmanager
    async def admit(self, chain: Chain) -> AsyncGenerator[Admitted]:
        """Let a call in for as long as the block lasts; waits while a new version takes over.

        Raises:
            PluginUnavailableError: it takes no calls now; says why, and when to try again.
        """
        if not self._roles.takes(chain):
            await self._wait_for_swap()
        # No checkpoint from here to the lease: what is let in is in before anything changes.
        instance = None if self._roles.current is None else self._roles.current.instance
        if instance is None or not self._roles.takes(chain):
            error = self._roles.unavailable()
            # Whoever tries again at once, for ever, mustn't keep the plugin from coming back.
            await trio.lowlevel.checkpoint()
            raise error
        if instance.gate.ended_by is not None:
            await trio.lowlevel.checkpoint()  # as above: its end isn't dealt with yet
        with instance.gate.lease() as lease:
            yield Admitted(instance, lease)

    async def _wait_for_swap(self) -> None:
        with trio.move_on_after(self._services.settings.swap_wait_s):
            while self._roles.is_swapping_in_place:
                await self._roles.wait_changed()

    @property
    def is_running(self) -> bool:
        """Whether it can be called."""
        return self._roles.is_running

    @property
    def why_not_coming(self) -> str:
        """Return what keeps it down until a person acts, in a few words; empty where nothing."""
        return "" if self._mailbox.statistics().orders else self._roles.why_not_coming

    @property
    def is_stopped(self) -> bool:
        """Whether somebody stopped it."""
        roles = self._roles
        return roles.current is not None and not roles.alive and roles.down is Down.STOPPED

    async def wait_changed(self) -> None:
        """Wait until anything about it changes."""
        await self._roles.wait_changed()

    async def wait_until_running(self) -> None:
        """Wait until it runs.

        Raises:
            PluginUnavailableError: it is down, and nobody is going to start it.
        """
        while not self.is_running:
            if self.why_not_coming:
                raise self._roles.unavailable()
            await self._roles.wait_changed()
        await trio.lowlevel.checkpoint()

    # Introspection

    @property
    def definition(self) -> Definition:
        """Return what serves, or is started next."""
        return self._roles.definition

    @property
    def held(self) -> HeldVersion | None:
        """Return the version that waits to be approved, where there is one."""
        return self._roles.held

    def definition_of(self, generation: int) -> Definition:
        """Return what a generation that lives was made from; the one that serves otherwise."""
        return self._roles.definition_of(generation)

    def status(self) -> PluginStatus:
        """Return a look at it as it is now."""
        return self._roles.status()

    def node(self) -> TreeNode:
        """Return its place in the tree, with the generations that live below it."""
        return self._roles.node(self._mailbox.statistics())

    # Orders

    async def start(self, definition: Definition) -> None:
        """Have it run, from `definition` if nothing of it runs; returns when it does.

        Raises:
            PluginStartError: it was given up on, or stopped meanwhile.
        """
        async with self._askers:
            await self._mailbox.order(StartPlugin(definition, self._next_order()))

    def start_nowait(self) -> None:
        """Have it run, without waiting for it."""
        self._mailbox.tell_order_nowait(StartPlugin(self.definition, self._next_order()))

    async def stop(self, kind: StopKind) -> None:
        """End it and don't start it again; returns when nothing of it is left.

        No message: a stop can't wait behind other orders, nor be refused for want of room. Orders
        that were given before and are still on their way are void.
        """
        stopped = self._stop_now(kind)
        if stopped is not None:
            await stopped.wait()
        await trio.lowlevel.checkpoint()

    async def reload(
        self, definition: Definition, *, only_if_changed: bool = False
    ) -> ReloadResult:
        """Have another version take over; returns when it serves.

        Raises:
            PluginHeldError: it asks for more than the one before.
            PluginStartError: it didn't come up; what ran before goes on.
            PluginUnavailableError: it is being stopped.
        """
        async with self._askers:
            return await self._mailbox.order(
                ReloadPlugin(definition, only_if_changed, self._next_order())
            )

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
            case StartPlugin() | ReloadPlugin() as order if order.number <= self._void_until:
                envelope.fail(PluginUnavailableError(self.name, "stopped"))
            case StartPlugin(definition):
                self._obey_start(envelope, definition)
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
            if not self._roles.alive:
                self._begin(definition)
            else:
                self._settle_starting()

    @trio.lowlevel.enable_ki_protection
    def _stop_now(self, kind: StopKind) -> trio.Event | None:
        """Order the end of all that lives; return what is set when it has come."""
        self._void_until = self._orders
        if not self._roles.alive:
            self._roles.down = Down.STOPPED
            self._roles.notify()
            return None
        if self._stopped is None:
            self._stopped = trio.Event()
        stopped = self._stopped
        for deployment in self._roles.alive:
            deployment.stop(kind, at_call=self._count_call())
        self._fail_reloads(PluginUnavailableError(self.name, "draining"))
        return stopped

    def _obey_reload(self, envelope: Envelope) -> None:
        if self._is_ending:
            envelope.fail(PluginUnavailableError(self.name, "draining"))
            return
        self._reloads_waiting.append(envelope)
        self._reload_next()

    @property
    def _is_ending(self) -> bool:
        """Whether it was told to end, and hasn't yet."""
        return self._stopped is not None

    def _begin(self, definition: Definition) -> None:
        """Start what is down, from what its folder holds now."""
        self._roles.definition = definition
        self._forget_refusals()
        self._roles.current = self._deploy(definition, on_trial=False)
        self._roles.notify()

    def _begin_what_waited(self) -> None:
        """Start what was told to while a candidate that never served was on its way out."""
        if self._roles.alive or self._is_ending:
            return
        orders = [one.message for one in self._starting]
        definitions = [one.definition for one in orders if isinstance(one, StartPlugin)]
        if definitions:
            self._begin(definitions[-1])

    def _forget_refusals(self) -> None:
        """Forget why another version wasn't taken: the newest one is."""
        self._roles.held = None
        self._roles.reload_failed = ""

    def _deploy(
        self, definition: Definition, *, on_trial: bool, waits_first: bool = False
    ) -> Deployment:
        deployment = Deployment(
            definition,
            self._services,
            listener=self,
            log=self.log,
            next_generation=self._next_generation,
            jitter=self._jitter,
            on_trial=on_trial,
            waits_first=waits_first,
        )
        assert self._nursery is not None  # noqa: S101 - orders are obeyed by `run` only
        self._nursery.start_soon(
            deployment.run, name=f"plugin {self.name} {definition.manifest.version}"
        )
        return deployment

    def _next_order(self) -> int:
        self._orders += 1
        return self._orders

    def _next_generation(self) -> int:
        self._generation += 1
        return self._generation

    # Swaps

    def _reload_next(self) -> None:
        """Have the newest version that was asked for take over, one swap after another."""
        waiting = [one for one in self._reloads_waiting if one.is_wanted]
        if self._roles.candidate is not None or (
            self._roles.leaving is not None and not self._roles.leaving.is_over and waiting
        ):
            self._reloads_waiting = waiting
            return
        self._reloads_waiting = []
        if not waiting:
            return
        self._reloading = waiting
        newest = waiting[-1].message
        assert isinstance(newest, ReloadPlugin)  # noqa: S101 - nothing else is put there
        self._roles.candidate = self._deploy(
            newest.definition, on_trial=True, waits_first=self.is_running
        )
        self._roles.notify()

    @property
    def _only_if_changed(self) -> bool:
        """Whether everybody who asked for the reload wants one only of something new."""
        messages = [one.message for one in self._reloading]
        return all(isinstance(one, ReloadPlugin) and one.only_if_changed for one in messages)

    def prepared(self, deployment: Deployment) -> None:
        """Let the candidate start: beside what serves where that can be, else in its place."""
        current = self._roles.current
        if self._only_if_changed and self._is_same(deployment):
            self._forget_refusals()
            self._end_candidate(ReloadResult.UNCHANGED)
        elif current is None or current.is_over:
            if self._only_if_changed and self._roles.down is Down.STOPPED and not self._starting:
                self._roles.definition = deployment.definition
                self._end_candidate(ReloadResult.SKIPPED)
            else:
                # Nothing serves, so there is nothing to go back to: it is started as by an order.
                deployment.is_on_trial = False
                self._forget_refusals()
                self._roles.current, self._roles.candidate = deployment, None
                self._roles.definition = deployment.definition
                self._starting.extend(self._reloading)
                self._reloading = []
                deployment.go()
                self._reload_next()
        elif current.is_running and self.definition.manifest.type is not PluginType.CHANNEL:
            deployment.go()
        else:
            # Two instances of a channel would receive every message twice; and what doesn't run
            # is no use beside the new one.
            kind = StopKind.DRAIN if current.is_running else StopKind.KILL
            current.step_aside(kind, at_call=self._count_call())
        self._roles.notify()

    def _is_same(self, deployment: Deployment) -> bool:
        current = self._roles.current
        if current is None or current.definition != deployment.definition:
            return False
        if not current.version.digest and not current.is_over:
            return True  # it has taken no files yet, and will take those that are there then
        return current.version.digest == deployment.version.digest

    def _end_candidate(self, result: ReloadResult) -> None:
        candidate = self._roles.candidate
        assert candidate is not None  # noqa: S101 - it is what was prepared
        self._settle_reloading(result)
        candidate.stop(StopKind.KILL, at_call=self._count_call())

    def stepped_aside(self, _deployment: Deployment) -> None:
        """Let the candidate start, now that the place is free."""
        if self._roles.candidate is not None and not self._roles.candidate.is_over:
            self._roles.candidate.go()
        elif self._roles.current is not None and not self._roles.current.is_over:
            self._roles.current.resume()
        self._roles.notify()

    def _turn(self, candidate: Deployment) -> None:
        """Turn the gate: from here on, new calls go to the candidate."""
        before, self._roles.current, self._roles.candidate = self._roles.current, candidate, None
        candidate.is_on_trial = False
        self._roles.definition = candidate.definition
        self._forget_refusals()
        if before is not None and not before.is_over:
            self._roles.leaving = before
            before.stop(StopKind.DRAIN, at_call=self._count_call())
        self._announcer.swapped(candidate)
        self._settle_reloading(ReloadResult.RELOADED)
        # Where one leaves, its end is what the next waits for; where none does, nothing else is.
        self._reload_next()

    def _candidate_failed(self, candidate: Deployment) -> None:
        error = candidate.error
        if not isinstance(error, SigilError):
            why = explained(error) if error is not None else "stopped before it ran"
            error = PluginStartError(self.name, f"didn't start: {why}")
        if isinstance(error, PluginHeldError):
            self._hold(candidate, error)
        elif candidate.error is not None:
            self._roles.reload_failed = error.what[:REASON_CHARACTERS_MAX]
            self._announcer.reload_failed(candidate, self._roles.reload_failed)
        self._fail_reloading(error)
        current = self._roles.current
        if current is not None and current.is_aside and not current.is_over:
            current.resume()

    def _hold(self, deployment: Deployment, error: PluginHeldError) -> None:
        self._roles.held = HeldVersion(
            version=error.version,
            snapshot_sha256=error.snapshot_sha256,
            differences=error.differences,
        )
        self._announcer.held(deployment, "; ".join(error.differences), str(error))

    def refuse(self, why: str) -> None:
        """Note that what its folder holds now can't be read as a version; what runs goes on."""
        why = why[:REASON_CHARACTERS_MAX]
        if why == self._roles.reload_failed:
            return
        self._roles.reload_failed = why
        if self._roles.current is not None:
            self._announcer.refused(self._roles.current, why)
        self._roles.notify()

    # What deployments tell

    def entered(self, deployment: Deployment, reason: str) -> None:
        """Make it known that an instance entered a state."""
        self._announcer.entered(deployment, reason)
        self._roles.notify()

    def ready(self, deployment: Deployment) -> None:
        """Let callers into an instance that can be called."""
        if deployment is self._roles.candidate:
            self._turn(deployment)
        self._settle_starting()
        self._roles.notify()

    def told_health(self, deployment: Deployment) -> None:
        """Make it known what an instance says of its health."""
        self._announcer.health(deployment)

    def exited(self, deployment: Deployment, ended: ChildExit) -> None:
        """Make it known that an instance ended, and whether it comes back."""
        error = ended.error
        # One that was to take over hasn't ended: it didn't come up, and what ran goes on.
        if (
            error is not None
            and not isinstance(error, PluginHeldError)
            and not deployment.is_on_trial
        ):
            self._roles.last_error = explained(error)
        if deployment.restart_at is not None and ended.restart_in_s is not None:
            self._announcer.restarts(deployment, ended.restart_in_s)
        self._roles.notify()

    def waits(self, deployment: Deployment) -> None:
        """Tell those who wait for a start that hangs on another plugin."""
        if deployment is self._roles.current:
            self._settle_starting()
        elif deployment is self._roles.candidate and deployment.waits_in_vain:
            deployment.error = self._waiting_error(deployment)
            deployment.stop(StopKind.KILL, at_call=self._count_call())
        self._roles.notify()

    def over(self, deployment: Deployment) -> None:
        """Decide what follows when nothing of a deployment is left."""
        if deployment is self._roles.candidate:
            self._roles.candidate = None
            if self._reloading:
                self._candidate_failed(deployment)
            if self._roles.current is not None and self._roles.current.is_over:
                self._settle_down(self._roles.current)
                self._begin_what_waited()
        elif deployment is self._roles.leaving:
            self._roles.leaving = None
        elif deployment is self._roles.current and self._roles.candidate is None:
            self._settle_down(deployment)
        elif deployment is self._roles.current and deployment.is_aside:
            # It ended by itself while it was told to step aside: the place is free all the same.
            self.stepped_aside(deployment)
        self._settle_starting()
        if not self._roles.alive:
            self._end_stop()
        self._reload_next()
        self._roles.notify()

    def _end_stop(self) -> None:
        stopped, self._stopped = self._stopped, None
        if stopped is not None:
            stopped.set()

    def _settle_down(self, deployment: Deployment) -> None:
        """Note, once, why nothing of it runs any more."""
        if deployment is self._settled:
            return
        self._settled = deployment
        if self._stopped is not None:
            self._roles.down = Down.STOPPED
        elif isinstance(deployment.error, PluginHeldError):
            self._roles.down = Down.HELD
            self._hold(deployment, deployment.error)
        elif deployment.gave_up:
            self._roles.down = Down.QUARANTINED
            self._announcer.quarantined(deployment)
        else:
            self._roles.down = Down.STOPPED if deployment.error is None else Down.ENDED
        deployment.reason = deployment.reason or "stopped"

    # Answers

    def _settle_starting(self) -> None:
        """Answer those who wait for a start, as far as it is clear what became of it."""
        current = self._roles.current
        if self.is_running:
            for envelope in self._take_starting():
                is_reload = isinstance(envelope.message, ReloadPlugin)
                envelope.reply(ReloadResult.RELOADED if is_reload else None)
        elif not self._roles.alive:
            for envelope in self._take_starting():
                envelope.fail(self._start_error())
        elif current is not None and current.waits_in_vain:
            for envelope in self._take_starting():
                envelope.fail(self._waiting_error(current))
        elif current is not None and current.blocked_by:
            for envelope in self._take_starting():
                envelope.fail(self._start_error())

    def _waiting_error(self, deployment: Deployment) -> PluginStartError:
        return PluginStartError(
            self.name, deployment.waiting, remedy=f"Start {deployment.waits_for} first"
        )

    def _start_error(self) -> SigilError:
        current = self._roles.current
        if current is not None and isinstance(current.error, PluginHeldError):
            return current.error
        if current is not None and current.blocked_by and isinstance(current.error, SigilError):
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
