"""Kill -9 of a host, of bubblewrap, of a plugin or a helper leaves nothing."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.go_programs import go_program
from tests.orphans.__main__ import run
from tests.orphans.rounds import Tally

__all__ = ["go_program"]

ROUNDS = 20


@pytest.mark.slow
async def test_nothing_is_left_whatever_is_killed_when(
    require: Callable[[str], None], go_program: Callable[[str], Path]
) -> None:
    require("bwrap")
    seed = random.SystemRandom().getrandbits(32)
    tally = Tally()
    await run(go_program("plugin"), seed=seed, first=0, count=ROUNDS, tally=tally)
    assert tally.rounds == ROUNDS
