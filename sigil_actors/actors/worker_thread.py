"""Runs blocking work in a thread that gets its turn even while trio's loop is never idle.

A thread that wants the interpreter's lock asks for it after having waited 5 ms in one go. A loop
that is busy but visits its poller more often than that gives the lock back each time, for
microseconds, so the waiting thread is woken, finds the lock taken again and starts to wait from
the beginning: it may get nowhere for seconds. A commit would then look like one that hangs.
(Measured beside a task that computes for 3 ms and checkpoints, again and again: a batch of 256
entries took longer than 5 s without this, and takes 20 ms with it.)
"""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

import trio

Result = TypeVar("Result")

# What the loop gives away in each of its rounds while a thread works and other tasks are ready to
# run. Long enough for the thread to wake up; a loop with nothing to do sleeps anyway, and gives
# none.
_TURN_S = 50e-6


# Rounds of the loop that hand work to a thread and take its answer, busy by themselves: a turn
# given in them would only make an idle loop wait.
_ROUNDS_TO_START = 1
_ROUNDS_TO_END = 2


class _GivesTurns(trio.abc.Instrument):
    def __init__(self) -> None:
        self.rounds_without = _ROUNDS_TO_START

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            return
        if self.rounds_without:
            self.rounds_without -= 1
        else:
            time.sleep(_TURN_S)


@contextmanager
def open_turns() -> Generator[Callable[[], None]]:
    """Give a thread its turns for as long as the block lasts.

    Yields what the thread has to call when its work is done, before it reports.
    """
    turns = _GivesTurns()

    def end_work() -> None:
        # Not the end of the turns: the thread still has to report, and may lose the lock here.
        turns.rounds_without = _ROUNDS_TO_END

    trio.lowlevel.add_instrument(turns)
    try:
        yield end_work
    finally:
        trio.lowlevel.remove_instrument(turns)


async def run_in_worker(
    work: Callable[[], Result],
    *,
    limiter: trio.CapacityLimiter | None = None,
    abandon_on_cancel: bool = True,
) -> Result:
    """Return what `work` returns, from a thread.

    On cancellation the thread is left to itself, or else waited for.
    """
    with open_turns() as end_work:

        def work_and_say_so() -> Result:
            try:
                return work()
            finally:
                end_work()

        return await trio.to_thread.run_sync(
            work_and_say_so, abandon_on_cancel=abandon_on_cancel, limiter=limiter
        )
