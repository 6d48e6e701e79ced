"""A supervisor: keeps children running, one for one, with backoff and a bound on restarts.

It knows nothing of what its children do. What happens after an exit is decided by `core.restart`;
this file only carries it out. Words and meanings are those of OTP's supervisor.
"""

import math
import random
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from sigil_actors.core.restart import (
    GiveUp,
    LeaveDown,
    Restart,
    RestartHistory,
    RestartPolicy,
    plan_restart,
)
from sigil_actors.errors import SigilError


class RestartIntensityError(SigilError):
    """A child ended abnormally more often than its policy allows, so its supervisor gives up.

    `__cause__` is how it ended last.
    """

    def __init__(self, child: str, *, restarts: int, period_s: float) -> None:
        self.child = child
        self.restarts = restarts
        self.period_s = period_s
        super().__init__(
            f"{child} was restarted {restarts} times within {period_s:g} s and ended once more"
        )


class ChildStartTimeoutError(SigilError):
    """A child didn't become ready in time."""

    def __init__(self, child: str, *, start_timeout_s: float) -> None:
        self.child = child
        super().__init__(f"{child} wasn't ready within {start_timeout_s:g} s")


@attrs.frozen(kw_only=True)
class ChildSpec:
    """What to run and when to run it again."""

    id: str
    run: Callable[["ChildContext"], Awaitable[None]]
    """Runs one incarnation until its end. Returning is a normal exit, raising an abnormal one."""
    restart: RestartPolicy
    start_timeout_s: float = math.inf
    stop_grace_s: float = 5
    """How long a stop waits for it before it is cancelled; OTP's default for workers."""


@attrs.frozen(kw_only=True)
class ChildExit:
    """What the observer of a supervisor hears when a child has ended."""

    child: str
    generation: int
    error: Exception | None
    """How it ended abnormally; None where it returned or was stopped."""
    restart_in_s: float | None
    """When it comes back; None where it stays down."""


Observer = Callable[[ChildExit], None]


class ChildContext:
    """What one incarnation of a child is given: its number, and how it is ready and stops."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self._ready = trio.Event()
        self._stop = trio.Event()

    def ready(self) -> None:
        """Say that it is up. Failures from here on are the supervisor's, not the starter's."""
        self._ready.set()

    @property
    def is_ready(self) -> bool:
        """Whether it said so."""
        return self._ready.is_set()

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._stop.is_set()

    async def wait_ready(self) -> None:
        """Wait until it is up."""
        await self._ready.wait()

    async def wait_stop(self) -> None:
        """Wait until it is asked to stop; it should then return soon."""
        await self._stop.wait()

    def request_stop(self) -> None:
        """Ask it to stop."""
        self._stop.set()


@attrs.define(eq=False)
class _Child:
    """A child's place in its supervisor, over all of its incarnations."""

    spec: ChildSpec
    context: ChildContext
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    backoff: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    settled: trio.Event = attrs.field(factory=trio.Event)
    """It is ready for the first time, or has ended for the first time."""
    down: trio.Event = attrs.field(factory=trio.Event)
    started: bool = False
    stopping: bool = False
    history: RestartHistory = ()


class Supervisor:
    """Runs its children until it is stopped, they are all down, or it gives up on one of them."""

    def __init__(
        self,
        children: Sequence[ChildSpec],
        *,
        observer: Observer | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        names = [spec.id for spec in children]
        if len(set(names)) != len(names):
            raise ValueError(f"two children of one name: {names}")
        self._children = [_Child(spec=spec, context=ChildContext(1)) for spec in children]
        self._observer = observer
        self._jitter = jitter
        self._stop = trio.Event()
        self._starting = trio.CancelScope()

    def stop(self) -> None:
        """Have `run` stop the children, last one first, and return."""
        self._stop.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children in order, each when the one before is settled, and keep them running.

        Raises:
            RestartIntensityError: it gave up on a child; the others were stopped in order first.
        """
        gave_up: list[RestartIntensityError] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._start_in_order, nursery, gave_up, task_status)
            async with trio.open_nursery() as watch:
                watch.start_soon(self._stop_when_all_down)
                await self._stop.wait()
                watch.cancel_scope.cancel()
            await self._stop_in_reverse()
            nursery.cancel_scope.cancel()
        if gave_up:
            raise gave_up[0]

    async def _start_in_order(
        self,
        nursery: trio.Nursery,
        gave_up: list[RestartIntensityError],
        task_status: trio.TaskStatus[None],
    ) -> None:
        with self._starting:
            for child in self._children:
                child.started = True
                nursery.start_soon(self._keep, child, gave_up, name=f"child {child.spec.id}")
                await child.settled.wait()
            task_status.started()

    async def _stop_when_all_down(self) -> None:
        for child in self._children:
            await child.down.wait()
        self._stop.set()

    async def _stop_in_reverse(self) -> None:
        self._starting.cancel()
        for child in reversed(self._children):
            if not child.started:
                continue
            child.stopping = True
            child.context.request_stop()
            child.backoff.cancel()
            with trio.move_on_after(child.spec.stop_grace_s):
                await child.down.wait()
            child.scope.cancel()
            await child.down.wait()

    async def _keep(self, child: _Child, gave_up: list[RestartIntensityError]) -> None:
        try:
            while True:
                error = await self._run_once(child)
                child.settled.set()
                plan = self._plan(child, error)
                self._tell(child, error, plan)
                if isinstance(plan, GiveUp):
                    failure = RestartIntensityError(
                        child.spec.id,
                        restarts=child.spec.restart.max_restarts,
                        period_s=child.spec.restart.period,
                    )
                    failure.__cause__ = error
                    gave_up.append(failure)
                    self._stop.set()
                    return
                if isinstance(plan, LeaveDown):
                    return
                child.history = plan.history
                child.backoff = trio.CancelScope()
                with child.backoff:
                    await trio.sleep(plan.delay_s)
                if child.stopping:
                    return
                child.context = ChildContext(child.context.generation + 1)
                child.scope = trio.CancelScope()
        finally:
            child.down.set()
            child.settled.set()

    async def _run_once(self, child: _Child) -> Exception | None:
        """Run one incarnation; return how it ended abnormally, or None."""
        try:
            with child.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._watch_start, child)
                    await child.spec.run(child.context)
                    nursery.cancel_scope.cancel()
        except Exception as error:  # noqa: BLE001 - the border around a supervised child
            return _bare(error)
        return None

    async def _watch_start(self, child: _Child) -> None:
        with trio.move_on_after(child.spec.start_timeout_s):
            await child.context.wait_ready()
            child.settled.set()
            return
        raise ChildStartTimeoutError(child.spec.id, start_timeout_s=child.spec.start_timeout_s)

    def _plan(self, child: _Child, error: Exception | None) -> Restart | GiveUp | LeaveDown:
        if child.stopping or self._stop.is_set():
            return LeaveDown()
        return plan_restart(
            child.spec.restart,
            child.history,
            now=trio.current_time(),
            abnormal=error is not None,
            jitter=self._jitter(),
        )

    def _tell(
        self, child: _Child, error: Exception | None, plan: Restart | GiveUp | LeaveDown
    ) -> None:
        if self._observer is not None:
            self._observer(
                ChildExit(
                    child=child.spec.id,
                    generation=child.context.generation,
                    error=error,
                    restart_in_s=plan.delay_s if isinstance(plan, Restart) else None,
                )
            )


def _bare(error: Exception) -> Exception:
    """Take an error out of the groups that nurseries wrapped around it, as far as it is alone."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
