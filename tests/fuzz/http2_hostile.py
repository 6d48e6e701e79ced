"""Hostile bytes through the HTTP/2 connection and gRPC's layer on it."""

from collections import Counter
from random import Random

from tests.fuzz.report import FuzzReport, run_cases
from tests.rpc.hostile_fuzz import survive

NAME = "http2-hostile"


def run(cases: int, seed: int) -> FuzzReport:
    """Run so many cases from `seed` on."""
    tally: Counter[str] = Counter()

    def case(random: Random) -> None:
        survive(random, tally)

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(tally))
