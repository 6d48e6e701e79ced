"""A supervisor: starts children in order, keeps them running, stops them in reverse.

It knows nothing of what its children do. What happens after an exit is decided by `core.restart`;
this file only carries it out. Words and meanings are those of OTP's supervisor, with one
difference: policy and history of restarts are each child's own, and where a group is restarted,
they are those of the child that failed.

A running child is one task: its start timeout and its grace are deadlines of its scope, and a
restart that concerns nobody else takes place in that very task. Whatever needs an order, such as
starting, stopping and the restart of a group, is done by one task, the conductor, one child at a
time.
"""

import math
import random
from collections.abc import Callable, Sequence
from functools import partial

import trio

from sigil_actors.actors.child_spec import (
    AutoShutdown,
    ChildContext,
    ChildExistsError,
    ChildExit,
    ChildLook,
    ChildNotFoundError,
    ChildSpec,
    ChildStartError,
    ChildStartTimeoutError,
    ChildState,
    Observer,
    RestartIntensityError,
    SupervisorDownError,
)
from sigil_actors.actors.incarnation import run_incarnation
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.actors.supervised_child import FirstStart, SupervisedChild
from sigil_actors.actors.turns import Turns
from sigil_actors.core.restart import (
    GiveUp,
    LeaveDown,
    Restart,
    RestartType,
    Strategy,
    plan_restart,
)

__all__ = [
    "AutoShutdown",
    "ChildContext",
    "ChildExistsError",
    "ChildExit",
    "ChildLook",
    "ChildNotFoundError",
    "ChildSpec",
    "ChildStartError",
    "ChildStartTimeoutError",
    "ChildState",
    "RestartIntensityError",
    "Supervisor",
    "SupervisorDownError",
]


class Supervisor:
    """Runs its children until it is stopped, they are all down, or it gives up on one of them."""

    def __init__(
        self,
        children: Sequence[ChildSpec] = (),
        *,
        strategy: Strategy = Strategy.ONE_FOR_ONE,
        auto_shutdown: AutoShutdown = AutoShutdown.NEVER,
        dynamic: bool = False,
        observer: Observer | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """Take the children; nothing runs yet.

        Args:
            children: In the order in which they start.
            strategy: Who is started again with a child that ended.
            auto_shutdown: What the end of significant children means.
            dynamic: Whether it goes on without children, because some may be added; temporary ones
                that have ended are then forgotten.
            observer: Hears of every end of an incarnation.
            jitter: Gives a random number from 0 to below 1.
        """
        names = [spec.id for spec in children]
        if len(set(names)) != len(names):
            raise ValueError(f"two children of one name: {names}")
        self._strategy = strategy
        self._auto_shutdown = auto_shutdown
        self._dynamic = dynamic
        self._observer = observer
        self._jitter = jitter
        self._children: dict[str, SupervisedChild] = {}
        self._next_position = 0
        self._turns = Turns()
        self._starting: SupervisedChild | None = None
        """The one that was started and that the next ones wait for."""
        self._live = 0
        self._is_running = False
        self._stop_requested = False
        self._interrupted = False
        self._halting = False
        self._failures: list[BaseException] = []
        """What `run` raises in the end."""
        self._bell = trio.Event()
        for spec in children:
            self._turns.set_due(self._add(spec))

    # What others call

    def stop(self) -> None:
        """Have `run` stop the children, last one first, and return."""
        self._stop_requested = True
        self._bell.set()

    def children(self) -> tuple[ChildLook, ...]:
        """Return a look at each child, in the order of starting."""
        return tuple(child.look() for child in self._children.values())

    async def start_child(self, spec: ChildSpec) -> None:
        """Add a child behind the others and start it; returns when it is ready.

        Where it doesn't become ready it isn't kept, and neither where the caller is cancelled.

        Raises:
            ChildExistsError: there is one of that id.
            ChildStartError: it ended before it was ready.
            SupervisorDownError: this supervisor doesn't run.
        """
        self._check_running()
        if spec.id in self._children:
            raise ChildExistsError(spec.id, self._children[spec.id].state)
        await self._start_and_wait(self._add(spec), keep=False)

    async def stop_child(self, child_id: str) -> None:
        """Stop a child within its grace; it stays down until it is started again.

        Cancelled, it is stopped all the same.

        Raises:
            ChildNotFoundError: there is none of that id.
        """
        child = self._find(child_id)
        self._hold(child, child.spec.stop_grace_s)
        await child.wait_down()

    async def restart_child(self, child_id: str) -> None:
        """Start a child that is down; returns when it is ready. Its history begins anew.

        Raises:
            ChildNotFoundError: there is none of that id.
            ChildExistsError: it isn't down.
            ChildStartError: it ended before it was ready, and is down again.
            SupervisorDownError: this supervisor doesn't run.
        """
        self._check_running()
        child = self._find_down(child_id)
        child.is_held = False
        child.history = ()
        child.start_at = -math.inf
        await self._start_and_wait(child, keep=True)

    def delete_child(self, child_id: str) -> None:
        """Forget a child that is down.

        Raises:
            ChildNotFoundError: there is none of that id.
            ChildExistsError: it isn't down.
        """
        del self._children[self._find_down(child_id).spec.id]

    @trio.lowlevel.enable_ki_protection
    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the children in order, each when the one before is settled, and keep them running.

        Cancelled or interrupted, be it here or in a child, it stops them in order too, each within
        its `cancel_grace_s`.

        Raises:
            RestartIntensityError: it gave up on a child; the others were stopped in order first.
        """
        async with open_bare_nursery() as nursery:
            over = trio.Event()
            nursery.start_soon(self._run_shielded, task_status, over)
            try:
                await over.wait()
            except BaseException:
                self._interrupt()
                raise

    @trio.lowlevel.enable_ki_protection
    async def run_as_child(self, context: ChildContext) -> None:
        """Run as the child of another supervisor; see `nested_supervisor`."""
        context.call_on_stop(self.stop)
        async with open_bare_nursery() as nursery:
            await nursery.start(self.run)
            context.ready()

    # The conductor

    @trio.lowlevel.enable_ki_protection
    async def _run_shielded(self, task_status: trio.TaskStatus[None], over: trio.Event) -> None:
        # Without the shield a cancel would reach all children at once. It is bounded by their
        # graces, since whoever cancels calls `_interrupt`, and by what a child shields itself.
        with trio.CancelScope(shield=True):
            self._is_running = True
            try:
                async with trio.open_nursery() as nursery:
                    await self._conduct(nursery, task_status)
            finally:
                self._is_running = False
                for child in self._children.values():
                    child.settle_first_start("its supervisor ended")
        over.set()
        if len(self._failures) == 1:
            raise self._failures[0]
        if self._failures:
            raise BaseExceptionGroup("several ends of one supervisor", self._failures)

    async def _conduct(self, nursery: trio.Nursery, task_status: trio.TaskStatus[None]) -> None:
        is_told = False
        while True:
            until = self._advance(nursery)
            are_started = self._starting is None and not self._turns.to_start
            if not is_told and are_started and not self._failures:
                is_told = True
                task_status.started()
            if self._is_over():
                return
            self._bell = trio.Event()
            with trio.move_on_at(until):
                await self._bell.wait()

    def _is_over(self) -> bool:
        if self._live or self._turns.to_stop or self._turns.to_start:
            return False
        return self._halting or not self._dynamic

    def _advance(self, nursery: trio.Nursery) -> float:
        """Do what can be done now; return until when nothing can, if nobody rings."""
        if self._stop_requested and not self._halting:
            self._halt()
        stopping = self._turns.next_to_stop()
        if stopping is not None:
            if not stopping.is_stopping:
                stopping.stop(self._grace_s(stopping))
            return math.inf
        if self._starting is not None:
            if self._starting.is_live and not self._starting.is_settled:
                return math.inf
            self._starting = None
        if self._turns.to_start:
            child = self._turns.to_start[0]
            if child.start_at > trio.current_time():
                return child.start_at
            self._starting = self._turns.next_to_start()
            self._spawn(child, nursery)
        return math.inf

    def _halt(self) -> None:
        self._halting = True
        for child in tuple(self._turns.to_start):
            self._turns.set_not_due(child)
            child.settle_first_start("its supervisor stopped")
        self._turns.doom(self._children.values())

    @trio.lowlevel.enable_ki_protection
    def _interrupt(self) -> None:
        self._interrupted = True
        self._stop_requested = True
        for child in self._children.values():
            if child.is_live and child.is_stopping:
                child.stop(child.spec.cancel_grace_s)
        self._bell.set()

    def _grace_s(self, child: SupervisedChild) -> float:
        return child.spec.cancel_grace_s if self._interrupted else child.spec.stop_grace_s

    def _spawn(self, child: SupervisedChild, nursery: trio.Nursery) -> None:
        self._live += 1
        child.is_live = True
        child.is_settled = False
        child.is_stopping = False
        child.is_doomed = False
        child.start_at = -math.inf
        self._renew(child)
        nursery.start_soon(self._keep, child, name=child.spec.id)

    def _renew(self, child: SupervisedChild) -> None:
        context = ChildContext(child.context.generation + 1, partial(self._is_up, child))
        context.scope.deadline = trio.current_time() + child.spec.start_timeout_s
        child.context = context

    def _is_up(self, child: SupervisedChild) -> None:
        child.settle_first_start()
        if child is self._starting:
            self._bell.set()

    # The task of a child

    @trio.lowlevel.enable_ki_protection
    async def _keep(self, child: SupervisedChild) -> None:
        try:
            while not child.is_stopping:
                error = None
                try:
                    error = await run_incarnation(child.spec, child.context)
                except trio.Cancelled:
                    raise
                except BaseException as fatal:  # noqa: BLE001 - KeyboardInterrupt and its like are
                    # raised in the end, when the others have been stopped in order.
                    self._failures.append(fatal)
                    self._interrupt()
                delay_s = self._plan(child, error)
                if delay_s is None:
                    return
                child.start_at = trio.current_time() + delay_s
                child.backoff = trio.CancelScope()
                with child.backoff:
                    await trio.sleep(delay_s)
                child.backoff = None
                if not child.is_stopping:
                    self._renew(child)
        finally:
            self._live -= 1
            child.tell_down()
            if not child.is_due:
                child.settle_first_start("it was stopped")
            if child.is_discarded and self._children.get(child.spec.id) is child:
                del self._children[child.spec.id]
            self._bell.set()

    def _plan(self, child: SupervisedChild, error: Exception | None) -> float | None:
        """Settle what follows an end; return the backoff where it comes back in its own task."""
        if error is not None:
            child.remember(error)
        if child.first_start is not None and not child.is_due:
            self._tell(child, error, None)
            child.is_held = True
            child.settle_first_start("it ended before it was ready", error)
            return None
        child.is_settled = True
        if child.is_stopping or child.is_doomed or self._stop_requested:
            self._tell(child, error, self._group_restart_in_s() if child.is_due else None)
            return None
        grouped = self._strategy is not Strategy.ONE_FOR_ONE
        plan = plan_restart(
            child.spec.restart,
            child.history,
            now=trio.current_time(),
            abnormal=error is not None,
            jitter=self._jitter(),
            strategy=self._strategy,
            children=tuple(self._children) if grouped else (),
            failed=child.spec.id,
        )
        match plan:
            case GiveUp():
                self._give_up(child, error)
            case LeaveDown():
                self._leave_down(child)
            case Restart():
                child.history = plan.history
                child.restarts += 1
                child.start_at = trio.current_time() + plan.delay_s
                if grouped:
                    self._restart_group([self._children[name] for name in plan.children], child)
        delay_s = plan.delay_s if isinstance(plan, Restart) else None
        self._tell(child, error, delay_s)
        return None if grouped else delay_s

    def _give_up(self, child: SupervisedChild, error: Exception | None) -> None:
        policy = child.spec.restart
        failure = RestartIntensityError(
            child.spec.id, restarts=policy.max_restarts, period_s=policy.period
        )
        failure.__cause__ = error
        self._failures.append(failure)
        self.stop()

    def _leave_down(self, child: SupervisedChild) -> None:
        if self._dynamic and child.spec.restart.type is RestartType.TEMPORARY:
            child.is_discarded = True
        if not child.spec.significant:
            return
        others = any(
            other.is_live or other.is_due
            for other in self._children.values()
            if other.spec.significant and other is not child
        )
        any_ = self._auto_shutdown is AutoShutdown.ANY_SIGNIFICANT
        if any_ or (self._auto_shutdown is AutoShutdown.ALL_SIGNIFICANT and not others):
            self.stop()

    def _restart_group(self, group: Sequence[SupervisedChild], failed: SupervisedChild) -> None:
        # A group that is being restarted already just grows: who is to be stopped is stopped first,
        # and who waits for his turn goes on waiting, in one order.
        self._turns.doom(child for child in group if child is not failed)
        for child in group:
            # As in OTP, a transient child that had finished comes back with its group.
            stays = child.is_held or child.spec.restart.type is RestartType.TEMPORARY
            if not child.is_due and not stays:
                self._turns.set_due(child)

    def _group_restart_in_s(self) -> float:
        return max(0.0, self._turns.to_start[0].start_at - trio.current_time())

    def _tell(
        self, child: SupervisedChild, error: Exception | None, restart_in_s: float | None
    ) -> None:
        if self._observer is not None:
            self._observer(
                ChildExit(
                    child=child.spec.id,
                    generation=child.context.generation,
                    error=error,
                    restart_in_s=restart_in_s,
                )
            )

    # Who is there, and who is due

    def _add(self, spec: ChildSpec) -> SupervisedChild:
        if spec.significant and self._auto_shutdown is AutoShutdown.NEVER:
            raise ValueError(f"{spec.id} is significant where nothing is shut down automatically")
        child = SupervisedChild(spec, self._next_position, ChildContext(0))
        self._next_position += 1
        self._children[spec.id] = child
        return child

    def _check_running(self) -> None:
        if not self._is_running or self._stop_requested:
            raise SupervisorDownError("this supervisor takes no children: it doesn't run")

    def _find(self, child_id: str) -> SupervisedChild:
        try:
            return self._children[child_id]
        except KeyError:
            raise ChildNotFoundError(child_id) from None

    def _find_down(self, child_id: str) -> SupervisedChild:
        child = self._find(child_id)
        if child.state is not ChildState.DOWN:
            raise ChildExistsError(child_id, child.state)
        return child

    async def _start_and_wait(self, child: SupervisedChild, *, keep: bool) -> None:
        first = child.first_start = FirstStart()
        self._turns.set_due(child)
        self._bell.set()
        try:
            await first.done.wait()
        except trio.Cancelled:
            # Also where it was ready at that very moment: nobody knows of it.
            self._withdraw(child, keep=keep)
            raise
        if first.failure:
            self._withdraw(child, keep=keep)
            raise ChildStartError(child.spec.id, first.failure) from first.error

    def _withdraw(self, child: SupervisedChild, *, keep: bool) -> None:
        self._hold(child, child.spec.stop_grace_s)
        if not keep:
            child.is_discarded = True
            if not child.is_live and self._children.get(child.spec.id) is child:
                del self._children[child.spec.id]

    def _hold(self, child: SupervisedChild, grace_s: float) -> None:
        child.is_held = True
        self._turns.set_not_due(child)
        self._bell.set()
        if child.is_live:
            child.stop(child.spec.cancel_grace_s if self._interrupted else grace_s)
        else:
            child.settle_first_start("it was stopped")
