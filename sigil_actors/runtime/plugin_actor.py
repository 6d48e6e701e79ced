"""The actor of one plugin: starts it, keeps it running, lets callers in, drains and stops it.

What it does with an instance is in `instance_life`; when it comes back after a crash is decided by
the supervisor that it keeps. It takes its orders by a mailbox; calls don't pass through it: they
hold leases in their own tasks.
"""

import logging
from collections.abc import Callable, Generator
from contextlib import contextmanager

import attrs
import trio

from sigil_actors.actors.mailbox import Envelope, Mailbox, Request
from sigil_actors.actors.supervisor import (
    ChildContext,
    ChildExit,
    ChildSpec,
    RestartIntensityError,
    Supervisor,
)
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.lifecycle import PluginInstance, PluginState
from sigil_actors.errors import (
    GuestTrapError,
    PluginCrashedError,
    PluginStartError,
    PluginUnavailableError,
    SigilError,
)
from sigil_actors.runtime.admission import Gate
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.instance import Instance
from sigil_actors.runtime.instance_life import InstanceLife, LifeServices
from sigil_actors.runtime.plugin_log import PluginLog
from sigil_actors.runtime.session import Admitted
from sigil_actors.runtime.status import PluginStatus
from sigil_actors.runtime.stop_order import StopKind, StopOrder

logger = logging.getLogger(__name__)

_REASON_CHARACTERS_MAX = 500
"""Of a reason that is shown; an error's text may hold a plugin's last words."""


@attrs.frozen(eq=False)
class StartPlugin(Request[None]):
    """Have it run; answered when it runs, or when it is clear that it doesn't."""

    definition: Definition


@attrs.frozen(eq=False)
class StopPlugin(Request[None]):
    """Have it stop; answered when nothing of it is left."""

    kind: StopKind


@attrs.frozen
class _Ended:
    """The supervision that ran until now is over."""

    gave_up: RestartIntensityError | None


class PluginActor:
    """One plugin, over all of its generations."""

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
        self._services = services
        self._count_call = count_call
        self._jitter = jitter
        self._mailbox = Mailbox(f"the actor of plugin {self.name}", capacity=16)
        self.log = PluginLog(self.name)
        self._life = PluginInstance(self.name, generation=0)
        self._instance: Instance | None = None
        self._gate = Gate()
        self._supervisor: Supervisor | None = None
        self._order = StopOrder()
        self._drain_began: int | None = None
        self._restarts = 0
        self._restart_at: float | None = None
        self._quarantined = False
        self._reason = ""
        self._remedy = ""
        self._last_words: tuple[str, ...] = ()
        self._starting: list[Envelope] = []
        self._stopping: list[Envelope] = []
        self._changed = trio.Event()

    # What callers need

    @contextmanager
    def admit(self, chain: Chain) -> Generator[Admitted]:
        """Let a call in for as long as the block lasts.

        Raises:
            PluginUnavailableError: it takes no calls now; says why, and when to try again.
        """
        instance = self._instance
        if instance is None or not self._takes(chain):
            raise self._unavailable()
        with instance.gate.lease() as lease:
            yield Admitted(instance, lease)

    def _takes(self, chain: Chain) -> bool:
        if self._life.state is PluginState.RUNNING:
            return True
        # A drain finishes what had begun, and that includes what it goes on to call.
        return (
            self._life.state is PluginState.DRAINING
            and self._drain_began is not None
            and len(chain.plugins) > 1
            and chain.began < self._drain_began
        )

    def _unavailable(self) -> PluginUnavailableError:
        state = self._life.state
        if self._quarantined:
            return PluginUnavailableError(self.name, "quarantined", detail=self._why_down())
        if state in (PluginState.DRAINING, PluginState.STOPPING):
            return PluginUnavailableError(self.name, "draining")
        if self._restart_at is not None:
            left = max(0.0, self._restart_at - trio.current_time())
            return PluginUnavailableError(
                self.name, "restarting", detail=self._reason, retry_after_s=left
            )
        if self._supervisor is not None:
            return PluginUnavailableError(self.name, "starting")
        return PluginUnavailableError(self.name, "stopped", detail=self._why_down())

    def _why_down(self) -> str:
        """Return why it ended, with what the error that it ended by says can be done."""
        return f"{self._reason}. {self._remedy}" if self._remedy else self._reason

    def status(self) -> PluginStatus:
        """Return a look at it as it is now."""
        manifest = self.definition.manifest
        in_seconds = None
        if self._restart_at is not None:
            in_seconds = max(0.0, self._restart_at - trio.current_time())
        return PluginStatus(
            name=self.name,
            version=manifest.version,
            type=manifest.type,
            tier=str(manifest.execution.tier),
            state=self._life.state,
            generation=self._life.generation,
            restarts=self._restarts,
            in_flight=self._gate.in_flight,
            reason=self._reason,
            quarantined=self._quarantined,
            restart_in_s=in_seconds,
            last_words=self._last_words,
        )

    async def wait_until_running(self) -> None:
        """Wait until it runs.

        Raises:
            PluginUnavailableError: it is down, and nobody is going to start it.
        """
        while self._life.state is not PluginState.RUNNING:
            if self._supervisor is None and not self._mailbox.statistics().orders:
                raise self._unavailable()
            await self._changed.wait()
        await trio.lowlevel.checkpoint()

    # Orders

    async def start(self, definition: Definition) -> None:
        """Have it run; returns when it does.

        Raises:
            PluginStartError: it was given up on, or stopped meanwhile.
        """
        await self._mailbox.order(StartPlugin(definition))

    def start_nowait(self, definition: Definition) -> None:
        """Have it run, without waiting for it."""
        self._mailbox.tell_order_nowait(StartPlugin(definition))

    async def stop(self, kind: StopKind) -> None:
        """End it and don't start it again; returns when nothing of it is left."""
        await self._mailbox.order(StopPlugin(kind))

    # The actor

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take orders until cancelled; `stop` it first, a cancel only ends what is left over."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    for envelope in await self._mailbox.receive_batch():
                        self._obey(envelope, nursery)
        finally:
            self._mailbox.close("the runtime ended")

    def _obey(self, envelope: Envelope, nursery: trio.Nursery) -> None:
        match envelope.message:
            case StartPlugin(definition):
                if self._life.state is PluginState.RUNNING:
                    envelope.reply(None)
                elif self._order.kind is not None and self._supervisor is not None:
                    envelope.fail(PluginUnavailableError(self.name, "draining"))
                else:
                    self._starting.append(envelope)
                    if self._supervisor is None:
                        self._begin(definition, nursery)
            case StopPlugin(kind):
                self._order.give(kind)
                if self._supervisor is None:
                    self._quarantined = False
                    envelope.reply(None)
                else:
                    self._drain_began = self._drain_began or self._count_call()
                    self._stopping.append(envelope)
                    self._supervisor.stop()
            case _Ended(gave_up):
                self._finish(gave_up)
            case other:
                raise AssertionError(other)

    def _begin(self, definition: Definition, nursery: trio.Nursery) -> None:
        self.definition = definition
        self._order = StopOrder()
        self._drain_began = None
        self._restarts = 0
        self._quarantined = False
        self._reason = ""
        self._remedy = ""
        policy = definition.manifest.lifecycle.restart
        grace_s = max(
            definition.manifest.lifecycle.graceful_shutdown_timeout,
            self._services.settings.stop_grace_s,
        )
        self._supervisor = Supervisor(
            [
                ChildSpec(
                    id=self.name,
                    run=self._run_instance,
                    restart=policy,
                    # Its own steps are bounded by these; the supervisor's bound is the last resort.
                    stop_grace_s=grace_s + self._services.settings.stop_grace_s,
                )
            ],
            observer=self._child_exited,
            jitter=self._jitter,
        )
        nursery.start_soon(self._supervise, self._supervisor, name=f"supervisor {self.name}")
        self._notify()

    async def _supervise(self, supervisor: Supervisor) -> None:
        gave_up: RestartIntensityError | None = None
        try:
            await supervisor.run()
        except RestartIntensityError as error:
            gave_up = error
        self._mailbox.tell_order_nowait(_Ended(gave_up))

    def _finish(self, gave_up: RestartIntensityError | None) -> None:
        self._supervisor = None
        self._restart_at = None
        if gave_up is not None:
            self._quarantined = True
            self._tell_lifecycle("quarantined", self._reason)
            logger.error("plugin %s is quarantined: %s", self.name, self._reason)
        self._settle_starting()
        stopping, self._stopping = self._stopping, []
        for envelope in stopping:
            envelope.reply(None)
        self._notify()

    def _settle_starting(self) -> None:
        starting, self._starting = self._starting, []
        for envelope in starting:
            if self._life.state is PluginState.RUNNING:
                envelope.reply(None)
            else:
                envelope.fail(
                    PluginStartError(
                        self.name,
                        f"didn't start: {self._reason or 'stopped'}",
                        remedy=self._remedy,
                    )
                )

    # The supervised child: one generation

    async def _run_instance(self, context: ChildContext) -> None:
        self._restart_at = None
        self._life = PluginInstance(self.name, generation=self._life.generation + 1)
        life = InstanceLife(
            self.definition,
            self._life,
            self._services,
            order=self._order,
            log=self.log,
            on_change=self._entered,
        )
        self._gate = life.gate

        def ready(instance: Instance) -> None:
            self._instance = instance
            self._reason = ""
            self._remedy = ""
            self._last_words = ()
            context.ready()
            self._settle_starting()

        try:
            await life.run(ready)
        finally:
            self._instance = None

    def _entered(self, reason: str) -> None:
        if reason:
            self._reason = reason[:_REASON_CHARACTERS_MAX]
        logger.info(
            "plugin %s, generation %d: %s%s",
            self.name,
            self._life.generation,
            self._life.state,
            f" ({self._reason})" if reason else "",
        )
        self._tell_lifecycle(self._life.state, reason)
        self._notify()

    def _child_exited(self, ended: ChildExit) -> None:
        if ended.error is not None:
            if not isinstance(ended.error, SigilError):
                logger.error("plugin %s met a bug of the host", self.name, exc_info=ended.error)
            self._remedy = _lasting_remedy(ended.error)
            self._last_words = (
                ended.error.last_words
                if isinstance(ended.error, PluginCrashedError) and ended.error.last_words
                else self.log.last_words
            )
        if ended.restart_in_s is not None:
            self._restarts += 1
            self._restart_at = trio.current_time() + ended.restart_in_s
            logger.warning(
                "plugin %s ended (%s); it is started again in %.1f s",
                self.name,
                self._reason or "by itself",
                ended.restart_in_s,
            )
        self._notify()

    def _tell_lifecycle(self, state: str, reason: str) -> None:
        enforcer = self._services.enforcer
        enforcer.tell_outcome(
            AuditEntry(
                action="lifecycle",
                timestamp=enforcer.clock.now(),
                actor="runtime",
                plugin=self.name,
                result=state,
                reason=reason[:_REASON_CHARACTERS_MAX],
                details={"generation": self._life.generation},
            )
        )

    def _notify(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()


def _lasting_remedy(error: Exception) -> str:
    """Return what can be done about an end; of a crash, nothing: it says that a new one comes."""
    if isinstance(error, PluginCrashedError | GuestTrapError) or not isinstance(error, SigilError):
        return ""
    return error.remedy
