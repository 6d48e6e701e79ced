"""One version of a plugin under supervision: its files, its supervisor, its generations.

A plugin has one deployment that serves, and for the time of a swap two. What a deployment does is
told to its plugin's actor, which decides what follows.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Protocol

import trio

from sigil_actors.actors.supervisor import (
    ChildContext,
    ChildExit,
    ChildSpec,
    RestartIntensityError,
    Supervisor,
)
from sigil_actors.core.calls import Health, Usage
from sigil_actors.core.lifecycle import PluginInstance, PluginState
from sigil_actors.core.text import escape_text
from sigil_actors.errors import (
    ApprovalsUnavailableError,
    AuditUnavailableError,
    GuestTrapError,
    PluginCrashedError,
    PluginHeldError,
    PluginRefusedError,
    PluginStartError,
    SandboxUnavailableError,
    SigilError,
)
from sigil_actors.runtime.admission import Gate
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.instance import Instance
from sigil_actors.runtime.instance_life import InstanceLife, LifeServices
from sigil_actors.runtime.plugin_log import PluginLog
from sigil_actors.runtime.stop_order import StopKind, StopOrder
from sigil_actors.runtime.tree import NodeKind, TreeNode

logger = logging.getLogger(__name__)

HOST_RETRY_FIRST_S = 0.5
HOST_RETRY_MAX_S = 10.0
"""How long a start that couldn't be recorded is left alone before the next try, and at most."""

REASON_CHARACTERS_MAX = 500
"""Of a reason that is shown; an error's text may hold a plugin's last words."""


class Listener(Protocol):
    """Who hears what a deployment does. Called in its tasks; never waits."""

    def prepared(self, deployment: "Deployment") -> None:
        """Its files are there and may run; `go` lets it start."""

    def entered(self, deployment: "Deployment", reason: str) -> None:
        """Its instance has entered a state."""

    def ready(self, deployment: "Deployment") -> None:
        """Its instance can be called."""

    def told_health(self, deployment: "Deployment") -> None:
        """Its instance told another health than before."""

    def exited(self, deployment: "Deployment", ended: ChildExit) -> None:
        """Its instance has ended."""

    def waits(self, deployment: "Deployment") -> None:
        """It waits for what it depends on or for the host, or waits no longer."""

    def stepped_aside(self, deployment: "Deployment") -> None:
        """Nothing of it runs; it waits for `resume` or `end`."""

    def over(self, deployment: "Deployment") -> None:
        """Nothing of it is left."""


class Deployment:
    """One version of a plugin, over all of its generations."""

    def __init__(
        self,
        definition: Definition,
        services: LifeServices,
        *,
        listener: Listener,
        log: PluginLog,
        next_generation: Callable[[], int],
        jitter: Callable[[], float],
        on_trial: bool = False,
        waits_first: bool = False,
    ) -> None:
        """Make one that `run` runs.

        Args:
            definition: What to run.
            services: What instances need.
            listener: Who hears of it.
            log: Where the plugin's lines go.
            next_generation: Counts the plugin's generations.
            jitter: Random numbers from 0 to below 1.
            on_trial: Whether it waits for `go` once it is prepared, and is over, instead of being
                started again, when its first generation doesn't come up.
            waits_first: Whether it is prepared only once what it depends on runs, since something
                serves meanwhile that may have to step aside for it.
        """
        self.definition = definition
        self.version = services.new_version(definition)
        self.life = PluginInstance(definition.name, generation=0)
        self.instance: Instance | None = None
        self.gate = Gate()
        self.order = StopOrder()
        self.drain_began: int | None = None
        self.restarts = 0
        self.restart_at: float | None = None
        self.reason = ""
        self.remedy = ""
        self.last_words: tuple[str, ...] = ()
        self.health: Health | None = None
        self.error: Exception | None = None
        """How it ended by itself last."""
        self.waits_for = ""
        """The plugin that it depends on and waits for; empty where it doesn't wait."""
        self.waits_in_vain = ""
        """Why that one won't come by itself; empty where it may."""
        self.blocked_by = ""
        """What keeps the host from starting it, such as a full disk; empty where nothing does."""
        self.gave_up = False
        self.is_on_trial = on_trial
        self._waits_first = waits_first
        self._restarted_at: deque[float] = deque()
        self.is_aside = False
        self.is_resuming = False
        """Whether it comes back after having stepped aside; not once that has failed."""
        self.is_over = False
        self._services = services
        self._listener = listener
        self._log = log
        self._next_generation = next_generation
        self._jitter = jitter
        self._go = trio.Event()
        self._before = trio.CancelScope()
        self._verdict = trio.Event()
        self._supervisor = self._new_supervisor()

    @property
    def state(self) -> PluginState:
        """Return the state of its newest instance."""
        return self.life.state

    @property
    def is_running(self) -> bool:
        """Whether its instance can be called."""
        return self.life.state is PluginState.RUNNING and self.instance is not None

    # What its actor asks of it

    def go(self) -> None:
        """Start it, once it is prepared."""
        self._go.set()

    def stop(self, kind: StopKind, *, at_call: int) -> None:
        """End it; may be called again, more urgently. `at_call` counts the calls until now."""
        self.is_aside = False
        self._verdict.set()
        self._end_run(kind, at_call)

    def step_aside(self, kind: StopKind, *, at_call: int) -> None:
        """End what runs, but keep the files, so that it can `resume`."""
        self.is_aside = True
        self._end_run(kind, at_call)

    def resume(self) -> None:
        """Run again after having stepped aside."""
        self.is_aside = False
        self.is_resuming = True
        self.life = PluginInstance(self.definition.name, generation=0)
        self.reason = self.remedy = self.blocked_by = ""
        self.order = StopOrder()
        self.drain_began = None
        self._supervisor = self._new_supervisor()
        self._verdict.set()

    def _end_run(self, kind: StopKind, at_call: int) -> None:
        self.is_resuming = False
        if self.drain_began is None:
            self.drain_began = at_call
        self.order.give(kind)
        self._before.cancel()
        self._supervisor.stop()

    # Its task

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Run until it is stopped, or ends by itself and isn't started again."""
        try:
            if self.is_on_trial:
                await self._wait_to_go()
            while True:
                if self.order.kind is None:
                    await self._run_supervised()
                if not self.is_aside:
                    break
                self._listener.stepped_aside(self)
                await self._verdict.wait()
                self._verdict = trio.Event()
        finally:
            self.instance = None
            self.restart_at = None
            await self.version.close()
            # Not before its files are gone: who waits for its end waits for that too.
            self.is_over = True
            self._listener.over(self)

    async def _wait_to_go(self) -> None:
        try:
            with self._before:
                await self.version.prepare()
                if self._waits_first:
                    await self._wait_for_dependencies()
                self._listener.prepared(self)
                await self._go.wait()
        except Exception as error:  # noqa: BLE001 - the border around one plugin, as in a supervisor
            self._failed(error)
            self.order.give(StopKind.KILL)

    async def _run_supervised(self) -> None:
        # A new one: a scope serves one block, and nothing was ordered yet.
        self._before = trio.CancelScope()
        try:
            with self._before:
                await self._wait_for_dependencies()
            if self.order.kind is None:
                await self._supervisor.run()
        except PluginStartError as error:  # what it depends on didn't come in time
            self._failed(error)
            self.order.give(StopKind.KILL)
        except RestartIntensityError:
            self.gave_up = True
        finally:
            self.instance = None
            self.restart_at = None

    async def _wait_for_dependencies(self) -> None:
        """Wait until what it depends on runs; on trial no longer than a start may take.

        Raises:
            PluginStartError: it is on trial and its time is over.
        """
        bound_s = self._services.settings.start_timeout_s if self.is_on_trial else math.inf
        with trio.move_on_after(bound_s) as bound:
            await self._services.wait_for(self.definition, self._waits)
        if bound.cancelled_caught:
            raise PluginStartError(
                self.definition.name,
                f"{self.waiting} for over {bound_s:g} s",
                remedy=f"Start {self.waits_for} first",
            )
        self._waits("", "")

    def _waits(self, waits_for: str, in_vain: str) -> None:
        if (waits_for, in_vain) != (self.waits_for, self.waits_in_vain):
            self.waits_for, self.waits_in_vain = waits_for, in_vain
            self._listener.waits(self)

    @property
    def waiting(self) -> str:
        """Return for people whom it waits for and why in vain; empty where it doesn't wait."""
        if not self.waits_for:
            return ""
        why = f", which {self.waits_in_vain}" if self.waits_in_vain else ""
        return f"waits for {self.waits_for}{why}"

    def _new_supervisor(self) -> Supervisor:
        lifecycle = self.definition.manifest.lifecycle
        stop_s = self._services.settings.stop_grace_s
        return Supervisor(
            [
                ChildSpec(
                    id=self.definition.name,
                    run=self._run_instance,
                    restart=lifecycle.restart,
                    # Its own steps are bounded by these; the supervisor's bound is the last resort.
                    stop_grace_s=max(lifecycle.graceful_shutdown_timeout, stop_s) + stop_s,
                )
            ],
            observer=self._exited,
            jitter=self._jitter,
        )

    @trio.lowlevel.enable_ki_protection
    async def _run_instance(self, context: ChildContext) -> None:
        """Run one generation, the supervisor's child.

        A start that fails since the host can't record it is no fault of the plugin's, and doesn't
        count against it: it is tried again for as long as that lasts.
        """
        pause_s = HOST_RETRY_FIRST_S
        while True:
            try:
                await self._run_life(context)
            except (AuditUnavailableError, ApprovalsUnavailableError) as error:
                if self.is_on_trial or context.is_ready or self.order.kind is not None:
                    raise
                logger.warning("plugin %s waits: %s", self.definition.name, error)
                self._failed(error)
                self.blocked_by = explained(error)
            except BaseException:
                self.blocked_by = ""
                raise
            else:
                return
            self.restart_at = trio.current_time() + pause_s
            self._listener.waits(self)
            with trio.move_on_after(pause_s):
                await self.order.wait()
                return
            pause_s = min(2 * pause_s, HOST_RETRY_MAX_S)

    async def _run_life(self, context: ChildContext) -> None:
        self.restart_at = None
        self.life = PluginInstance(self.definition.name, generation=self._next_generation())
        self.health = None
        life = InstanceLife(
            self.version,
            self.life,
            self._services,
            order=self.order,
            log=self._log,
            on_change=self._entered,
            on_health=self._told_health,
        )
        self.gate = life.gate

        def ready(instance: Instance) -> None:
            self.instance = instance
            self.is_resuming = False
            self.reason = self.remedy = self.blocked_by = ""
            self.last_words = ()
            context.ready()
            self._listener.ready(self)

        try:
            await life.run(ready)
        finally:
            self.instance = None

    def _entered(self, reason: str) -> None:
        reason = escape_text(reason, limit=REASON_CHARACTERS_MAX)
        if reason:
            self.reason = reason
        self._listener.entered(self, reason)

    def _told_health(self, health: Health) -> None:
        before, self.health = self.health, health
        # Its words may be others every time; that is no event.
        if before is None or before.status is not health.status:
            self._listener.told_health(self)

    def _exited(self, ended: ChildExit) -> None:
        self.is_resuming = False
        if ended.error is not None:
            self._failed(ended.error)
        is_refused = isinstance(ended.error, PluginRefusedError | SandboxUnavailableError)
        if isinstance(ended.error, PluginHeldError) or is_refused or self.is_on_trial:
            # Starting it again helps nobody: it is approved, or mended, and then reloaded.
            self.gave_up = is_refused
            self.order.give(StopKind.KILL)
            self._supervisor.stop()
        elif ended.restart_in_s is not None and self._restarts_too_often():
            self.gave_up = True
            self.order.give(StopKind.KILL)
            self._supervisor.stop()
        elif ended.restart_in_s is not None:
            self.restarts += 1
            self.restart_at = trio.current_time() + ended.restart_in_s
        self._listener.exited(self, ended)

    def _restarts_too_often(self) -> bool:
        """Tell whether the host's own bound is reached, which no manifest can raise."""
        now = trio.current_time()
        self._restarted_at.append(now)
        while self._restarted_at[0] <= now - 60:
            self._restarted_at.popleft()
        return len(self._restarted_at) > self._services.settings.restarts_per_minute

    def _failed(self, error: Exception) -> None:
        if not isinstance(error, SigilError):
            logger.error("plugin %s met a bug of the host", self.definition.name, exc_info=error)
        self.error = error
        self.reason = self.reason or explained(error)
        self.remedy = _lasting_remedy(error)
        self.last_words = (
            error.last_words
            if isinstance(error, PluginCrashedError) and error.last_words
            else self._log.last_words
        )

    # Introspection

    def node(self) -> TreeNode:
        """Return its place in the tree: its newest generation."""
        return TreeNode(
            name=f"generation {self.life.generation}",
            kind=NodeKind.INSTANCE,
            state=self.life.state,
            generation=self.life.generation,
            in_flight=self.gate.in_flight,
            restarts=self.restarts,
            last_error="" if self.error is None else explained(self.error),
        )

    def usage(self) -> Usage | None:
        """Return what its instance uses, where one runs and its tier can tell."""
        return None if self.instance is None else self.instance.session.usage()

    def restart_in_s(self) -> float | None:
        """Return in how many seconds it is started again, where that is planned."""
        if self.restart_at is None:
            return None
        return max(0.0, self.restart_at - trio.current_time())


def explained(error: Exception) -> str:
    """Return what an error says, for people, escaped; of one that isn't ours, only its type."""
    if isinstance(error, SigilError):
        return escape_text(error.what, limit=REASON_CHARACTERS_MAX)
    return f"a bug: {type(error).__name__}"


def _lasting_remedy(error: Exception) -> str:
    """Return what can be done about an end; of a crash, nothing: it says that a new one comes."""
    if isinstance(error, PluginCrashedError | GuestTrapError) or not isinstance(error, SigilError):
        return ""
    return error.remedy
