"""A check after every step sees what nobody else sees, and is heard whatever else is raised."""

import random

import pytest
import trio

from sigil_actors.testing import InvariantError, after_every_step, simulate


class Counter:
    def __init__(self) -> None:
        self.value = 0

    def check(self) -> str | None:
        return f"it is {self.value}" if self.value > 0 else None


async def test_what_was_wrong_for_one_step_only_is_found() -> None:
    counter = Counter()
    with pytest.raises(InvariantError, match="it is 1") as caught:
        with after_every_step(counter.check):
            counter.value = 1
            await trio.lowlevel.checkpoint()
            counter.value = 0
            await trio.lowlevel.checkpoint()
    [violation] = caught.value.violations
    assert "test_what_was_wrong_for_one_step_only_is_found" in str(violation)


async def test_nothing_wrong_is_nothing_raised() -> None:
    with after_every_step(Counter().check, Counter().check):
        await trio.lowlevel.checkpoint()


async def test_an_error_that_the_block_raises_does_not_hide_it() -> None:
    counter = Counter()
    with pytest.raises(InvariantError) as caught, after_every_step(counter.check):
        counter.value = 1
        await trio.lowlevel.checkpoint()
        raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


async def test_errors_of_the_block_leave_bare_where_nothing_was_wrong() -> None:
    with pytest.raises(ZeroDivisionError), after_every_step(Counter().check):
        raise ZeroDivisionError


async def test_a_check_that_raises_is_a_violation_and_the_others_go_on() -> None:
    counter = Counter()

    def broken() -> str | None:
        raise KeyError("x")

    with pytest.raises(InvariantError) as caught, after_every_step(broken, counter.check):
        await trio.lowlevel.checkpoint()
        counter.value = 1
        await trio.lowlevel.checkpoint()
    told = [str(violation) for violation in caught.value.violations]
    assert len(told) == 2
    assert "a check raised KeyError" in told[0]
    assert "it is 1" in told[1]


async def test_what_is_kept_is_bounded_and_the_same_thing_is_told_once() -> None:
    counter = Counter()
    with pytest.raises(InvariantError) as caught, after_every_step(counter.check):
        for number in range(1, 100):
            counter.value = number
            for _ in range(3):
                await trio.lowlevel.checkpoint()
    assert len(caught.value.violations) == 10
    assert "it is 1" in str(caught.value).splitlines()[0]
    assert "it is 10" in str(caught.value).splitlines()[9]


async def test_it_stops_watching_when_the_block_ends() -> None:
    counter = Counter()
    with after_every_step(counter.check):
        await trio.lowlevel.checkpoint()
    counter.value = 1
    await trio.lowlevel.checkpoint()


def test_it_does_not_change_the_run() -> None:
    async def scenario(rng: random.Random) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(trio.sleep, rng.random())

    async def watched(rng: random.Random) -> None:
        with after_every_step(Counter().check):
            await scenario(rng)

    assert simulate(1, scenario).steps == simulate(1, watched).steps
