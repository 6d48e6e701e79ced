"""The fuzzers of HTTP/2 for a moment each, and whether they would notice a bug."""

from collections import Counter
from random import Random

import pytest

from tests.fuzz import http2, http2_hostile
from tests.mutants.mutant import Mutant
from tests.rpc.h2_conversation import conversation
from tests.rpc.mutants import MUTANTS, hunt

CASES = 200
HUNT_CASES = 3000
HUNT_SEED = 9999
"""From which on each planted bug is found soon, so that this takes seconds."""


def test_h2_sees_what_the_connection_sees() -> None:
    report = http2.run(CASES, Random().getrandbits(32))
    assert not report.findings, report.text()


def test_nothing_but_own_errors_comes_out_of_hostile_bytes() -> None:
    report = http2_hostile.run(CASES, Random().getrandbits(32))
    assert not report.findings, report.text()


@pytest.mark.parametrize("seed", range(10))
def test_a_conversation_with_h2_loses_nothing(seed: int) -> None:
    conversation(Random(seed), Counter())


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_fuzz_finds_a_planted_bug(mutant: Mutant) -> None:
    assert hunt(mutant, cases=HUNT_CASES, seed=HUNT_SEED) is not None, mutant.why


def test_the_fuzz_finds_nothing_in_the_code_as_it_is() -> None:
    assert hunt(None, cases=60, seed=HUNT_SEED) is None
