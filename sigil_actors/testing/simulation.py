"""Runs a scenario on virtual time with a schedule that a seed decides: the same seed, the same run.

What trio leaves to chance (which of the tasks that are ready goes first) is drawn from the seed, so
that thousands of seeds are thousands of interleavings, and each one that fails can be had again.
"""

import hashlib
import math
import random
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

from sigil_actors.testing.waits import describe_waits, lift_shields

Scenario = Callable[[random.Random], Awaitable[None]]
"""Takes a random generator of its own, seeded too, for whatever it decides itself."""

LIVENESS_S = 100_000.0
"""Virtual seconds after which a scenario counts as stuck; every bound of ours is far below."""


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
    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=8)
        self.steps = 0
        self.last_step_at = 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        now = trio.current_time()
        self._digest.update(f"{task.name}@{now:.6f};".encode())
        if task.name != _WATCHDOG:
            self.last_step_at = now

    @property
    def trace(self) -> Trace:
        return Trace(self._digest.hexdigest(), self.steps)


def simulate(seed: int, scenario: Scenario, *, liveness_s: float = LIVENESS_S) -> Trace:
    """Run `scenario` from `seed`; raises what it raises.

    Where all tasks wait and no deadline is left that could wake one, virtual time jumps to the
    bound at once: a deadlock is found as soon as it happens.

    Raises:
        StuckError: it was not done within `liveness_s` of virtual time; says where everyone waits.
    """
    recorder = _Recorder()

    async def run() -> None:
        stuck: list[StuckError] = []
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(
                _watch, seed, liveness_s, recorder, scope, stuck, name=_WATCHDOG
            )
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
    return isinstance(error, trio.Cancelled)


_WATCHDOG = "the simulation's watchdog"


async def _watch(
    seed: int,
    liveness_s: float,
    recorder: _Recorder,
    scope: trio.CancelScope,
    stuck: list[StuckError],
) -> None:
    await trio.sleep(liveness_s)
    here = trio.lowlevel.current_task()
    waits = describe_waits(besides=[here])
    statistics = trio.lowlevel.current_statistics()
    nobody_can = statistics.tasks_runnable == 0 and statistics.seconds_to_next_deadline == math.inf
    what = (
        f"a deadlock: nobody can go on since {recorder.last_step_at:g} s"
        if nobody_can
        else f"not done after {liveness_s:g} virtual seconds"
    )
    stuck.append(StuckError(f"seed {seed}: {what}. Everyone waits:\n{waits}"))
    # A shield without a deadline would keep the run, and with it the test, from ever ending.
    lift_shields(besides=[here])
    scope.cancel()


_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


@contextmanager
def _seeded_schedule(seed: int) -> Generator[None]:
    # trio's own switch for hypothesis, which has no public name. Without it, the tasks that are
    # ready come out of a set, in the order of their addresses.
    generator: random.Random = trio_run._r  # noqa: SLF001
    before = vars(trio_run)[_SWITCH], generator.getstate()
    jitter = random.getstate()
    vars(trio_run)[_SWITCH] = True
    generator.seed(seed)
    random.seed(seed)  # the jitter of a backoff comes from there
    try:
        yield
    finally:
        vars(trio_run)[_SWITCH] = before[0]
        generator.setstate(before[1])
        random.setstate(jitter)
