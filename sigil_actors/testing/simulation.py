"""Runs a scenario on virtual time with a schedule that a seed decides: the same seed, the same run.

What trio leaves to chance (which of the tasks that are ready goes first) is drawn from the seed, so
that thousands of seeds are thousands of interleavings, and each one that fails can be had again.
"""

import hashlib
import math
import random
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Never

import attrs
import outcome
import trio
import trio.testing
from trio import _threads as trio_threads
from trio._core import _run as trio_run

from sigil_actors.testing.waits import describe_here, describe_waits, lift_shields

Scenario = Callable[[random.Random], Awaitable[None]]
"""Takes a random generator of its own, seeded too, for whatever it decides itself."""

LIVENESS_S = 100_000.0
"""Virtual seconds after which a scenario counts as stuck; every bound of ours is far below."""

STEPS_PER_INSTANT_MAX = 1_000_000
"""Steps of tasks without virtual time going on, after which they count as a livelock. A scenario of
thousands of tasks that all begin at once takes some hundred thousand; so many take seconds."""

_WATCHED_LAST = 10_000
"""Of those, so many are counted by task: who is busy for ever is among the last."""

_BUSY_SHOWN_MAX = 5
"""Tasks that are named; a livelock mostly is one, or two that wake each other."""


class _EndedError(BaseException):
    """Ends a task that goes on in spite of a cancel. No `except Exception` takes it."""


class StuckError(AssertionError):
    """The scenario was not done within the bound: somebody waits for what never comes.

    The text names every task, and the line at which it waits.
    """


@attrs.frozen
class Trace:
    """What one run did."""

    hash: str
    """Over every step of every task, with its time: equal runs have equal hashes."""
    steps: int


class _Recorder(trio.abc.Instrument):
    def __init__(self, steps_per_instant_max: int) -> None:
        self._digest = hashlib.blake2b(digest_size=8)
        self._steps_max = steps_per_instant_max
        self._steps_now = 0
        self.steps = 0
        self.last_step_at = 0.0
        self.busy: Counter[str] = Counter()
        """By the names of tasks, the last steps of what became a livelock."""
        self.livelocked: Callable[[], None] | None = None
        """What to do about a livelock."""
        self.ends_tasks = False
        """Whether each task is ended with its next step."""

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        now = trio.current_time()
        self._digest.update(f"{task.name}@{now:.6f};".encode())
        if task.name == _WATCHDOG:
            return
        # One that hasn't begun takes nothing yet; those of trio itself end when the others have.
        if self.ends_tasks and task._next_send is not None and not task.name.startswith("<"):  # noqa: SLF001
            task._next_send = outcome.Error(_EndedError())  # noqa: SLF001
        if now != self.last_step_at:
            self.last_step_at = now
            self._steps_now = 0
            self.busy.clear()
        self._steps_now += 1
        if self._steps_now > self._steps_max - _WATCHED_LAST:
            self.busy[task.name] += 1
        if self._steps_now > self._steps_max and self.livelocked is not None:
            self._steps_now = 0  # they get as many more to end
            self.livelocked()

    @property
    def trace(self) -> Trace:
        return Trace(self._digest.hexdigest(), self.steps)


def simulate(
    seed: int,
    scenario: Scenario,
    *,
    liveness_s: float = LIVENESS_S,
    steps_per_instant_max: int = STEPS_PER_INSTANT_MAX,
) -> Trace:
    """Run `scenario` from `seed`; raises what it raises.

    Where all tasks wait and no deadline is left that could wake one, virtual time jumps to the
    bound at once: a deadlock is found as soon as it happens. Where tasks are busy without virtual
    time going on, that is a livelock after `steps_per_instant_max` steps.

    Virtual time doesn't wait for threads, so nothing in a scenario may run in one: give plugins to
    `open_runtime` as `manifests=`, not as a folder, and a `MemoryAuditStore`.

    Raises:
        StuckError: it was not done within one of the bounds; says where everyone waits.
    """
    recorder = _Recorder(steps_per_instant_max)
    stuck: list[StuckError] = []

    async def run() -> None:
        with trio.CancelScope() as scope:
            watchdog = _Watchdog(seed, liveness_s, recorder, scope, stuck)
            trio.lowlevel.spawn_system_task(watchdog.run, name=_WATCHDOG)
            vars(trio_threads)[_START_THREAD] = watchdog.refuse_thread
            try:
                await scenario(random.Random(seed ^ 0x5161))  # noqa: S311 - a simulation
            finally:
                if stuck:
                    # Whatever came of the cancel matters less, unless it is an error of its own.
                    cause = sys.exception()
                    is_ours = cause is None or _is_cancel(cause)
                    raise stuck[0] from (None if is_ours else cause)

    with _seeded_schedule(seed):
        trio.run(
            run,
            clock=trio.testing.MockClock(autojump_threshold=0),
            instruments=[recorder],
        )
    return recorder.trace


def _is_cancel(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_cancel, error.exceptions))
    return isinstance(error, trio.Cancelled | _EndedError)


_WATCHDOG = "the simulation's watchdog"


@attrs.define
class _Watchdog:
    """Ends a run that doesn't end by itself: by a cancel; where that doesn't help, by errors."""

    _seed: int
    _liveness_s: float
    _recorder: _Recorder
    _scope: trio.CancelScope
    _stuck: list[StuckError]

    async def run(self) -> None:
        livelock = trio.Event()
        self._recorder.livelocked = livelock.set
        with trio.move_on_after(self._liveness_s):
            await livelock.wait()
        self._recorder.livelocked = self._end_tasks
        here = trio.lowlevel.current_task()
        why = self._livelock() if livelock.is_set() else self._late()
        waits = describe_waits(besides=[here])
        self._stuck.append(StuckError(f"seed {self._seed}: {why}. Everyone waits:\n{waits}"))
        # A shield without a deadline would keep the run, and with it the test, from ever ending.
        lift_shields(besides=[here])
        self._scope.cancel()
        while True:  # until the others have ended, which cancels this
            await trio.sleep(self._liveness_s)
            self._end_tasks()
            lift_shields(besides=[here])

    def refuse_thread(self, *_arguments: object) -> Never:
        """Stand in the place of what starts a thread."""
        name = trio.lowlevel.current_task().name
        self._stuck.append(
            StuckError(
                f"seed {self._seed}: the task {name} runs something in a thread, and virtual time "
                f"doesn't wait for threads: {describe_here()}. Give plugins to open_runtime as "
                "manifests=, not as a folder, and a MemoryAuditStore as the audit log"
            )
        )
        self._scope.cancel()
        raise _EndedError

    def _livelock(self) -> str:
        busiest = self._recorder.busy.most_common(_BUSY_SHOWN_MAX)
        total = self._recorder.busy.total()
        names = ", ".join(f"{name} ({count} of the last {total})" for name, count in busiest)
        at = f"{self._recorder.last_step_at:g} s"
        return f"a livelock: time stands still at {at}, and these go on taking steps: {names}"

    def _late(self) -> str:
        statistics = trio.lowlevel.current_statistics()
        if statistics.tasks_runnable == 0 and statistics.seconds_to_next_deadline == math.inf:
            return f"a deadlock: nobody can go on since {self._recorder.last_step_at:g} s"
        return f"not done after {self._liveness_s:g} virtual seconds"

    def _end_tasks(self) -> None:
        self._recorder.ends_tasks = True


_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"
_START_THREAD = "start_thread_soon"
"""What `trio.to_thread.run_sync` does its work with, in trio's module of it."""


@contextmanager
def _seeded_schedule(seed: int) -> Generator[None]:
    # trio's own switch for hypothesis, which has no public name. Without it, the tasks that are
    # ready come out of a set, in the order of their addresses.
    generator: random.Random = trio_run._r  # noqa: SLF001
    before = vars(trio_run)[_SWITCH], generator.getstate()
    jitter = random.getstate()
    start_thread = vars(trio_threads)[_START_THREAD]
    vars(trio_run)[_SWITCH] = True
    generator.seed(seed)
    random.seed(seed)  # the jitter of a backoff comes from there
    try:
        yield
    finally:
        vars(trio_threads)[_START_THREAD] = start_thread
        vars(trio_run)[_SWITCH] = before[0]
        generator.setstate(before[1])
        random.setstate(jitter)
