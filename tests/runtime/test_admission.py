"""Leases and turns by themselves, at the moments that whole calls seldom meet."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sigil_actors import PluginCrashedError, PluginUnavailableError
from sigil_actors.runtime.admission import Gate
from sigil_actors.runtime.chain import Chain, Turns, Waits

GONE = PluginCrashedError("a", "gone")


def turns(*, waiting: int = 10) -> Turns:
    return Turns("a", at_once=1, waiting=waiting, waits=Waits())


async def test_an_operation_after_the_end_raises_why_it_ended() -> None:
    gate = Gate()
    with gate.lease() as lease:
        gate.end(GONE)
        with pytest.raises(PluginCrashedError):
            with lease.operation():
                pytest.fail("the instance is gone")
        assert lease.ended_by is GONE


async def test_an_operation_that_is_under_way_is_interrupted_by_the_end() -> None:
    gate = Gate()
    with gate.lease() as lease:

        async def end() -> None:
            await wait_all_tasks_blocked()
            gate.end(GONE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(end)
            with pytest.raises(PluginCrashedError):
                with lease.operation():
                    await trio.sleep_forever()


async def test_the_first_reason_of_an_end_stays() -> None:
    gate = Gate()
    gate.end(GONE)
    gate.end(PluginUnavailableError("a", "stopped"))
    assert gate.ended_by is GONE


async def test_idle_is_when_the_last_lease_is_back() -> None:
    gate = Gate()
    await gate.wait_idle()
    done = False

    async def wait() -> None:
        nonlocal done
        await gate.wait_idle()
        done = True

    async with trio.open_nursery() as nursery:
        with gate.lease():
            with gate.lease():
                nursery.start_soon(wait)
                await wait_all_tasks_blocked()
            await wait_all_tasks_blocked()
            assert (done, gate.in_flight) == (False, 1)
    assert done


async def hold(turn: Turns, gate: Gate, got: list[int], number: int) -> None:
    with gate.lease() as lease:
        async with turn.take(Chain(number), lease):
            got.append(number)
            await trio.lowlevel.checkpoint()


async def test_a_turn_that_comes_to_a_cancelled_caller_is_handed_on() -> None:
    """Cancelled, then given the turn before it could run: the next must not wait for it."""
    turn, gate = turns(), Gate()
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        with gate.lease() as lease:
            scope = trio.CancelScope()

            async def cancelled() -> None:
                with scope:
                    await hold(turn, gate, got, 2)

            async with turn.take(Chain(1), lease):
                nursery.start_soon(cancelled)
                await wait_all_tasks_blocked()
                nursery.start_soon(hold, turn, gate, got, 3)
                await wait_all_tasks_blocked()
                scope.cancel()  # and no checkpoint until the turn is given up
    assert got == [3]
    assert turn.holders == ()


async def test_a_caller_that_is_cancelled_in_the_queue_leaves_it() -> None:
    turn, gate = turns(), Gate()
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        with gate.lease() as lease:
            async with turn.take(Chain(1), lease):
                async with trio.open_nursery() as cancelled:
                    cancelled.start_soon(hold, turn, gate, got, 2)
                    await wait_all_tasks_blocked()
                    cancelled.cancel_scope.cancel()
                nursery.start_soon(hold, turn, gate, got, 3)
                await wait_all_tasks_blocked()
    assert got == [3]
    assert turn.holders == ()


async def test_only_so_many_may_wait_for_their_turn() -> None:
    turn, gate = turns(waiting=1), Gate()
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        with gate.lease() as lease:
            async with turn.take(Chain(1), lease):
                nursery.start_soon(hold, turn, gate, got, 2)
                await wait_all_tasks_blocked()
                with pytest.raises(PluginUnavailableError, match="busy"):
                    await hold(turn, gate, got, 3)
    assert got == [2]


async def test_turns_come_in_the_order_of_asking() -> None:
    turn, gate = turns(), Gate()
    got: list[int] = []
    async with trio.open_nursery() as nursery:
        with gate.lease() as lease:
            async with turn.take(Chain(0), lease):
                for number in range(1, 6):
                    nursery.start_soon(hold, turn, gate, got, number)
                    await wait_all_tasks_blocked()
    assert got == [1, 2, 3, 4, 5]
