"""The HTTP/2 connection against `h2` as its judge, in the same bytes and in conversation."""

from collections import Counter
from random import Random

from tests.fuzz.report import FuzzReport, run_cases
from tests.rpc.h2_conversation import conversation
from tests.rpc.h2_fuzz import events_agree, verdicts_agree

NAME = "http2"

CONVERSATION_SHARE = 0.05
"""Of the cases: one takes as long as twenty comparisons."""

BROKEN_SHARE = 0.45
"""Of the cases: bytes on whose faults both have to agree."""


def run(cases: int, seed: int) -> FuzzReport:
    """Run so many cases from `seed` on."""
    tally: Counter[str] = Counter()

    def case(random: Random) -> None:
        kind = random.random()
        if kind < CONVERSATION_SHARE:
            conversation(random, tally)
        elif kind < CONVERSATION_SHARE + BROKEN_SHARE:
            verdicts_agree(random, tally)
        else:
            events_agree(random, tally)

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(tally))
