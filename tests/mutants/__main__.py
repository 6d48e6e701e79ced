"""Runs the simulations against every mutant, each in a copy of its own: `make mutants [ONLY=NAME]`.

A mutant is killed when some seed fails, within a bound on their number. The last table lists those
that survived. Exit status 1 if too few were killed, or if one couldn't be applied.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from enum import StrEnum

import attrs
import trio

from tests.mutants.all import MUTANTS
from tests.mutants.mutant import Mutant, copied_checkout
from tests.simulations import ROOT, run_portion, say

SEEDS = 400
"""Fresh seeds that a mutant has to survive: some ten seconds of both cores."""

WALL_S = 180.0
"""Real seconds for one mutant. One that makes a task loop without a checkpoint never ends."""

SHARE_MIN = 0.95
"""Of the mutants that have to be killed."""


class Verdict(StrEnum):
    """What became of a mutant."""

    KILLED = "killed"
    HUNG = "killed (never ended)"
    SURVIVED = "SURVIVED"
    BROKEN = "BROKEN"
    """Not even one seed could begin, so that nothing was shown."""

    @property
    def is_killed(self) -> bool:
        """Whether the simulations noticed it."""
        return self in (Verdict.KILLED, Verdict.HUNG)


@attrs.frozen
class Result:
    """What came of one mutant."""

    mutant: Mutant
    verdict: Verdict
    took_s: float
    output: str


async def judge(mutant: Mutant | None, *, seeds: int) -> tuple[Verdict, str]:
    """Run the simulations against one mutant, or against the code as it is."""
    with copied_checkout(ROOT, mutant) as copy:
        with trio.move_on_after(WALL_S):
            portion = await run_portion(copy, seeds)
            if portion.passed:
                return Verdict.SURVIVED, portion.output
            return (Verdict.KILLED if portion.replays else Verdict.BROKEN), portion.output
        return Verdict.HUNG, ""


async def judge_all(mutants: Sequence[Mutant], *, seeds: int, jobs: int) -> list[Result]:
    """Judge them, so many at a time; tell each verdict as it comes."""
    todo = list(reversed(mutants))
    results: list[Result] = []

    async def work() -> None:
        while todo:
            mutant = todo.pop()
            began = time.monotonic()
            verdict, output = await judge(mutant, seeds=seeds)
            results.append(Result(mutant, verdict, time.monotonic() - began, output))
            say(f"{len(results):3} of {len(mutants)}  {mutant.name}: {verdict}")

    async with trio.open_nursery() as nursery:
        for _ in range(jobs):
            nursery.start_soon(work)
    return sorted(results, key=lambda result: mutants.index(result.mutant))


def tell(results: Sequence[Result]) -> bool:
    """Print the table; return whether enough were killed."""
    say("")
    for result in results:
        place = result.mutant.file
        say(f"{result.mutant.name:34} {place:28} {result.took_s:6.1f} s  {result.verdict}")
    for result in results:
        if not result.verdict.is_killed:
            say(f"\n{result.verdict}: {result.mutant.name}. With it, {result.mutant.why}")
        if result.verdict is Verdict.BROKEN:
            say(result.output)
    killed = sum(result.verdict.is_killed for result in results)
    say(f"\n{killed} of {len(results)} killed: {killed / len(results):.1%}")
    is_broken = any(result.verdict is Verdict.BROKEN for result in results)
    return killed >= SHARE_MIN * len(results) and not is_broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as a program; returns its exit status."""
    parser = argparse.ArgumentParser(description="Run the simulations against mutants.")
    parser.add_argument("--only", help="mutants whose name has this in it")
    parser.add_argument("--list", action="store_true", help="say their names, and run nothing")
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"for each mutant ({SEEDS})")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    chosen = parser.parse_args(arguments)
    mutants = [mutant for mutant in MUTANTS if (chosen.only or "") in mutant.name]
    if not mutants:
        names = ", ".join(mutant.name for mutant in MUTANTS)
        parser.error(f"no mutant's name has {chosen.only!r} in it. There are: {names}")
    if chosen.list:
        for mutant in mutants:
            say(f"{mutant.name:34} {mutant.file:28} with it, {mutant.why}")
        return 0
    for mutant in mutants:  # before anything is run
        mutant.applied_to((ROOT / "sigil_actors" / mutant.file).read_text(encoding="utf-8"))
    # Seeds that fail by themselves would kill every mutant.
    verdict, output = trio.run(lambda: judge(None, seeds=min(chosen.seeds, 100)))
    if verdict is not Verdict.SURVIVED:
        say(f"The code as it is doesn't pass: {output}")
        return 1
    results = trio.run(lambda: judge_all(mutants, seeds=chosen.seeds, jobs=chosen.jobs))
    return 0 if tell(results) else 1


if __name__ == "__main__":
    sys.exit(main())
