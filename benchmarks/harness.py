"""What a measure is made of: sides that take turns, rows that compare them, goals that rows meet.

Knows nothing of what is measured. Every figure is a median over rounds in which our side and the
references take turns, so that a slow moment of the machine hits all of them; ratios are taken
round by round for the same reason.
"""

import gc
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum, StrEnum
from typing import TypeVar

import attrs

Argument = TypeVar("Argument")


@attrs.frozen(kw_only=True)
class Budget:
    """How much time a run may take. The figures of a small one mean nothing."""

    rounds: int = 9
    """How often the sides take turns."""
    sample_s: float = 0.25
    """How long one side's turn lasts, about."""
    share: float = 1.0
    """What part of a measure's repetitions is made, where their number is the measure."""

    def of(self, count: int) -> int:
        """Return how many of `count` repetitions are to be made."""
        return max(1, round(count * self.share))


FULL = Budget()
TINY = Budget(rounds=2, sample_s=0.001, share=0.004)
"""For a test that everything runs."""


class BenchmarkError(Exception):
    """A measure can't be taken here, or would mean nothing; the text says why."""


@attrs.define
class Side:
    """One of the things that are compared, and what it needed or gave, round by round."""

    name: str
    values: list[float] = attrs.field(factory=list)

    @property
    def median(self) -> float:
        """Return the middle of the rounds."""
        return statistics.median(self.values)

    def spread(self) -> Mapping[str, float | int]:
        """Return how far the rounds lie apart."""
        quarters = statistics.quantiles(self.values, n=4) if len(self.values) > 1 else self.values
        return {
            "lowest": min(self.values),
            "quarter": quarters[0],
            "three_quarters": quarters[-1],
            "highest": max(self.values),
            "rounds": len(self.values),
        }


def in_turn(rounds: int, *sides: Side) -> Iterator[Side]:
    """Give each side its turn in every round; every other round goes backwards."""
    for number in range(rounds):
        yield from sides if number % 2 == 0 else reversed(sides)


class Compared(StrEnum):
    """What a ratio says of our side."""

    FASTER = "x as fast"
    """The values are times: the reference's divided by ours."""
    RATE = "x the rate"
    """The values are rates: ours divided by the reference's."""
    COST = "x the cost"
    """The values are times: ours divided by the reference's."""


class Comparison(Enum):
    """How a figure is held against a goal."""

    AT_MOST = "<="
    AT_LEAST = ">="


class Subject(StrEnum):
    """Which figure of a row a goal is about."""

    OURS = "ours"
    RATIO = "ratio"


@attrs.frozen(kw_only=True)
class Goal:
    """What a row should show."""

    subject: Subject
    comparison: Comparison
    bound: float

    def is_met_by(self, figure: float) -> bool:
        """Tell whether that figure is as good as it should be."""
        if self.comparison is Comparison.AT_MOST:
            return figure <= self.bound
        return figure >= self.bound


def ours_at_most(bound: float) -> Goal:
    """Return the goal that our side stays within `bound`."""
    return Goal(subject=Subject.OURS, comparison=Comparison.AT_MOST, bound=bound)


def ratio_at_most(bound: float) -> Goal:
    """Return the goal that we cost at most `bound` times what the reference does."""
    return Goal(subject=Subject.RATIO, comparison=Comparison.AT_MOST, bound=bound)


def ratio_at_least(bound: float) -> Goal:
    """Return the goal that we are at least `bound` times as good as the reference."""
    return Goal(subject=Subject.RATIO, comparison=Comparison.AT_LEAST, bound=bound)


@attrs.frozen(kw_only=True)
class Row:
    """One line of the result: our side, perhaps against a reference, perhaps with a goal."""

    name: str
    what: str
    """What the values are, in a few words."""
    unit: str
    ours: Side
    reference: Side | None = None
    compared: Compared | None = None
    goal: Goal | None = None
    notes: Mapping[str, object] = attrs.field(factory=dict)
    """Further facts of this run, for whoever reads the JSON."""

    @property
    def ratios(self) -> Sequence[float]:
        """Return our side against the reference, round by round; empty without a reference."""
        if self.reference is None:
            return ()
        pairs = zip(self.ours.values, self.reference.values, strict=True)
        if self.compared is Compared.FASTER:
            return [reference / ours for ours, reference in pairs]
        return [ours / reference for ours, reference in pairs]

    @property
    def ratio(self) -> float | None:
        """Return the middle of `ratios`; None without a reference."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Tell whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        figure = self.ours.median if self.goal.subject is Subject.OURS else self.ratio
        return figure is not None and self.goal.is_met_by(figure)

    @property
    def goal_text(self) -> str:
        """Return the goal as people read it; empty where there is none."""
        if self.goal is None:
            return ""
        sign, bound = self.goal.comparison.value, f"{self.goal.bound:,g}"
        if self.goal.subject is Subject.RATIO:
            return f"{sign} {bound}x"
        return f"{sign} {bound} {self.unit}"

    def as_json(self) -> Mapping[str, object]:
        """Return the row as values that JSON holds."""
        reference = self.reference
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours.median,
            "ours_spread": self.ours.spread(),
            "reference": None if reference is None else reference.median,
            "reference_name": None if reference is None else reference.name,
            "reference_spread": None if reference is None else reference.spread(),
            "ratio": self.ratio,
            "ratio_means": None if self.compared is None else self.compared.value,
            "ratio_spread": Side("ratio", list(self.ratios)).spread() if self.ratios else None,
            "goal": self.goal_text or None,
            "met": self.met,
            "notes": dict(self.notes),
        }


@attrs.frozen(kw_only=True)
class Measure:
    """Something that is measured on its own: `--only NAME`."""

    name: str
    what: str
    run: Callable[[Budget], Sequence[Row]]
    peers: Sequence[str] = ()
    """Modules that it compares with and that not every machine has."""


@contextmanager
def without_collection() -> Iterator[None]:
    """Keep the garbage collector out of what is timed within the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def seconds_per_call(
    prepare: Callable[[], tuple[Callable[[Argument], object], Iterable[Argument]]], budget: Budget
) -> float:
    """Return what a call costs, measured in passes for `budget.sample_s` altogether.

    `prepare` is called before every pass and isn't timed: it gives what is called, and with what.
    The time is that of this thread on the processor, so that other programs don't count.
    """
    spent = 0.0
    calls = 0
    with without_collection():
        while not calls or spent < budget.sample_s:
            call, arguments = prepare()
            arguments = list(arguments)
            start = time.thread_time()
            for argument in arguments:
                call(argument)
            spent += time.thread_time() - start
            calls += len(arguments)
    return spent / calls
