"""Runs a scenario on virtual time with a schedule that a seed decides: the same seed, the same run.

What trio leaves to chance (which of the tasks that are ready goes first) is drawn from the seed, so
that thousands of seeds are thousands of interleavings, and each one that fails can be had again.
"""

import hashlib
import random
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

import attrs
import trio
import trio.testing
from trio._core import _run as trio_run

Scenario = Callable[[random.Random], Awaitable[None]]
"""Takes a random generator of its own, seeded too, for whatever it decides itself."""

LIVENESS_S = 100_000.0
"""Virtual seconds after which a scenario counts as stuck; every bound of ours is far below."""


class StuckError(AssertionError):
    """The scenario was not done within the bound: somebody waits for what never comes."""


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

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        self._digest.update(f"{task.name}@{trio.current_time():.6f};".encode())

    @property
    def trace(self) -> Trace:
        return Trace(self._digest.hexdigest(), self.steps)


def simulate(seed: int, scenario: Scenario, *, liveness_s: float = LIVENESS_S) -> Trace:
    """Run `scenario` from `seed`; raises what it raises.

    Raises:
        StuckError: it was not done within `liveness_s` of virtual time.
    """
    recorder = _Recorder()

    async def run() -> None:
        with trio.move_on_after(liveness_s) as bound:
            await scenario(random.Random(seed ^ 0x5161))  # noqa: S311 - a simulation
        if bound.cancelled_caught:
            raise StuckError(f"seed {seed}: not done after {liveness_s:g} virtual seconds")

    with _seeded_schedule(seed):
        trio.run(
            run,
            clock=trio.testing.MockClock(autojump_threshold=0),
            instruments=[recorder],
        )
    return recorder.trace


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
