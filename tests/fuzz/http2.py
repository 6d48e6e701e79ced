"""The HTTP/2 connection against `h2` as its judge: equal events, and whole conversations."""

from collections import Counter
from random import Random

from tests.fuzz.report import FuzzReport, run_cases
from tests.rpc.h2_fuzz import conversation, events_agree

NAME = "http2"

CONVERSATION_SHARE = 0.05
"""Of the cases: one takes as long as twenty comparisons."""


def run(cases: int, seed: int) -> FuzzReport:
    """Run so many cases from `seed` on."""
    tally: Counter[str] = Counter()

    def case(random: Random) -> None:
        if random.random() < CONVERSATION_SHARE:
            conversation(random, tally)
        else:
            events_agree(random, tally)

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(tally))
