"""Invariants that hold at every moment: checked after each step of each task, told at the end.

What a check finds is kept out of band. An assert in a task could be swallowed on its way, by a
supervisor or by a test that expects an error; trio's instruments, which run the checks, may not
raise at all.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import attrs
import trio

Check = Callable[[], str | None]
"""Looks at the present state; returns what is wrong with it, or None. Must not await, nor change
what it looks at."""

VIOLATIONS_MAX = 10
"""That are kept. The first one is the cause, and what is broken mostly stays so."""


@attrs.frozen
class Violation:
    """Something that a check found, and when."""

    step: int
    """Counted from 1 in steps of tasks."""
    time: float
    """On trio's clock."""
    task: str
    """The name of the task that had just run."""
    what: str

    def __str__(self) -> str:
        """Say it in one line."""
        return f"step {self.step}, {self.time:g} s, after {self.task}: {self.what}"


class InvariantError(AssertionError):
    """What should never be, was. `violations` are the first of them."""

    def __init__(self, violations: Sequence[object]) -> None:
        self.violations = tuple(violations)
        super().__init__("\n".join(map(str, violations)))


@contextmanager
def after_every_step(*checks: Check) -> Generator[None]:
    """Run the checks after every step of every task, for as long as the block lasts.

    Use it within trio, around what is watched.

    Raises:
        InvariantError: on leaving, by whatever road; a check found something, or raised. Each check
            tells the same thing once in a row.
    """
    watch = _Watch(checks)
    trio.lowlevel.add_instrument(watch)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(watch)
        if watch.violations:
            # In place of whatever the block raised, which is its context: the cause, most likely.
            raise InvariantError(watch.violations)


class _Watch(trio.abc.Instrument):
    def __init__(self, checks: Sequence[Check]) -> None:
        self._last: dict[Check, str | None] = dict.fromkeys(checks)
        self._steps = 0
        self.violations: list[Violation] = []

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps += 1
        for check, before in self._last.items():
            try:
                what = check()
            except Exception as error:  # noqa: BLE001 - trio would switch the instrument off
                what = f"a check raised {type(error).__name__}: {error}"
            if what is None and before is None:
                continue
            self._last[check] = what
            if what not in (None, before) and len(self.violations) < VIOLATIONS_MAX:
                now = trio.current_time()
                self.violations.append(Violation(self._steps, now, task.name, what or ""))
