"""Runs a scenario over many seeds for one test, and says how to have a failing one again.

Knows of pytest only what it is told: the name of the test, and which seeds.
"""

import shlex
import time
from collections.abc import Sequence

import attrs

from sigil_actors.testing.simulation import Scenario, simulate

REASON_CHARACTERS_MAX = 300
"""Of an error's first line: two or three of a terminal; all of it stands with the traceback."""


@attrs.define
class SeedRuns:
    """What the fixture `simulate_seeds` hands to a test."""

    test: str
    """The test's node id, as pytest takes it on the command line."""
    seeds: Sequence[int]
    count: int = 0
    """How many seeds were run."""
    took_s: float = 0.0
    """How long they took, in real seconds."""
    failure: str = ""
    """The reason of the one that failed, and on the next line how to have it again."""

    def __call__(self, scenario: Scenario) -> None:
        """Run `scenario` from every seed; the first that fails ends it.

        Its error leaves as it is, with a note that says how to run that seed again.
        """
        for seed in self.seeds:
            began = time.perf_counter()
            try:
                simulate(seed, scenario)
            except BaseException as error:
                again = f"Again: {replay_command(self.test, seed)}"
                error.add_note(again)
                self.failure = f"{_reason(error)}\n{again}"
                raise
            finally:
                self.count += 1
                self.took_s += time.perf_counter() - began


def _reason(error: BaseException) -> str:
    """Return the first line of an error, of a group the first of what is in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = str(error).partition("\n")[0][:REASON_CHARACTERS_MAX]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def replay_command(test: str, seed: int) -> str:
    """Return the command line that runs one test with one seed."""
    return f"pytest {shlex.quote(test)} --sigil-seed={seed}"
