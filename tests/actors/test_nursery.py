"""A nursery that raises what went wrong, not a group around it."""

import pytest
import trio

from sigil_actors.actors.nursery import open_bare_nursery


async def fail(error: Exception) -> None:
    await trio.lowlevel.checkpoint()
    raise error


async def test_the_error_of_the_block_leaves_it_bare_with_its_cause() -> None:
    cause = KeyError("cause")
    with pytest.raises(ValueError, match="body") as caught:
        async with open_bare_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError("body") from cause
    assert caught.value.__cause__ is cause


async def test_the_only_error_of_a_child_leaves_it_bare() -> None:
    with pytest.raises(ValueError, match="child"):
        async with open_bare_nursery() as nursery:
            nursery.start_soon(fail, ValueError("child"))
            await trio.sleep_forever()


async def test_a_group_that_the_block_raised_stays_a_group() -> None:
    with pytest.raises(ExceptionGroup, match="mine"):
        async with open_bare_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ExceptionGroup("mine", [ValueError("one")])


async def test_two_errors_leave_as_a_group() -> None:
    async def fail_late() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("second")

    with pytest.raises(ExceptionGroup) as caught:
        async with open_bare_nursery() as nursery:
            nursery.start_soon(fail_late)
            await trio.lowlevel.checkpoint()
            raise ValueError("first")
    assert {type(error) for error in caught.value.exceptions} == {ValueError, KeyError}


async def test_a_cancelled_block_stays_cancelled() -> None:
    with trio.CancelScope() as scope:
        async with open_bare_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
