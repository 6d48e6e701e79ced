"""No attack gets out of the sandbox, and each is one: without the sandbox it works."""

import os
from collections.abc import Callable

import pytest

from tests.escape.ordinary_user import interpreter, run_as_ordinary_user
from tests.escape.suite import Outcome, attacks, run_attacks

WORKING_MIN = 60
"""Attacks that work without a sandbox on whatever machine this is."""


def check(outcomes: tuple[Outcome, ...], *, working_min: int) -> None:
    through = {outcome.name: outcome.boxed for outcome in outcomes if outcome.boxed}
    assert not through
    assert sum(bool(outcome.bare) for outcome in outcomes) >= working_min


@pytest.mark.slow
async def test_nothing_gets_out_of_this_users_sandbox(require: Callable[[str], None]) -> None:
    require("bwrap")
    check(await run_attacks(attacks()), working_min=WORKING_MIN)


@pytest.mark.slow
def test_nothing_gets_out_of_an_ordinary_users_sandbox(require: Callable[[str], None]) -> None:
    require("bwrap")
    if os.geteuid() != 0:
        pytest.skip("the other test has just done it")
    if interpreter() is None:
        pytest.skip("no Python of this version that an ordinary user may start")
    check(run_as_ordinary_user(()), working_min=WORKING_MIN)
