"""Children that come and go while their supervisor runs, and how they look."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
import trio.lowlevel
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors.actors.supervisor import (
    ChildContext,
    ChildExistsError,
    ChildLook,
    ChildNotFoundError,
    ChildSpec,
    ChildStartError,
    ChildStartTimeoutError,
    ChildState,
    Supervisor,
    SupervisorDownError,
)
from sigil_actors.core.restart import RestartPolicy, RestartType, Strategy

POLICY = RestartPolicy(max_restarts=3, period=60, backoff=4, backoff_max=100)


async def serve(context: ChildContext) -> None:
    context.ready()
    await context.wait_stop()


async def crash_at_start(_context: ChildContext) -> None:
    await trio.lowlevel.checkpoint()
    raise ValueError("no\nway")


SERVER = ChildSpec(id="server", run=serve, restart=POLICY)


@asynccontextmanager
async def open_supervisor(
    *children: ChildSpec, strategy: Strategy = Strategy.ONE_FOR_ONE
) -> AsyncGenerator[Supervisor]:
    kept = Supervisor(children, dynamic=True, strategy=strategy, jitter=lambda: 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        yield kept
        kept.stop()


def states(kept: Supervisor) -> dict[str, ChildState]:
    return {look.id: look.state for look in kept.children()}


async def test_a_child_that_is_added_runs_when_the_call_returns() -> None:
    async with open_supervisor() as kept:
        await wait_all_tasks_blocked()  # without children it goes on
        await kept.start_child(SERVER)
        assert states(kept) == {"server": ChildState.RUNNING}
        with pytest.raises(ChildExistsError) as caught:
            await kept.start_child(SERVER)
        assert caught.value.state is ChildState.RUNNING


async def test_a_child_that_cant_start_is_an_error_for_the_one_who_wanted_it() -> None:
    async with open_supervisor() as kept:
        with pytest.raises(ChildStartError) as caught:
            await kept.start_child(attrs.evolve(SERVER, run=crash_at_start))
        assert isinstance(caught.value.__cause__, ValueError)
        assert kept.children() == ()


async def test_a_child_that_is_added_has_its_time_to_start(autojump_clock: MockClock) -> None:
    async def never_ready(_context: ChildContext) -> None:
        await trio.sleep_forever()

    async with open_supervisor() as kept:
        with pytest.raises(ChildStartError) as caught:
            await kept.start_child(attrs.evolve(SERVER, run=never_ready, start_timeout_s=3))
        assert isinstance(caught.value.__cause__, ChildStartTimeoutError)


async def test_who_loses_patience_with_a_start_has_no_child(autojump_clock: MockClock) -> None:
    async def slow(context: ChildContext) -> None:
        await trio.sleep(3)
        await serve(context)

    async with open_supervisor() as kept:
        with trio.move_on_after(1):
            await kept.start_child(attrs.evolve(SERVER, run=slow, stop_grace_s=0))
        await wait_all_tasks_blocked()
        assert kept.children() == ()


async def test_a_child_that_was_stopped_stays_down_until_it_is_started() -> None:
    async with open_supervisor(SERVER) as kept:
        await kept.stop_child("server")
        assert states(kept) == {"server": ChildState.DOWN}
        await kept.restart_child("server")
        assert [(look.state, look.generation) for look in kept.children()] == [
            (ChildState.RUNNING, 2)
        ]
        with pytest.raises(ChildExistsError):
            await kept.restart_child("server")
        with pytest.raises(ChildExistsError):
            kept.delete_child("server")
        await kept.stop_child("server")
        kept.delete_child("server")
        with pytest.raises(ChildNotFoundError):
            await kept.stop_child("server")


async def test_a_child_that_is_stopped_in_its_backoff_doesnt_come_back(
    autojump_clock: MockClock,
) -> None:
    async def crash(context: ChildContext) -> None:
        context.ready()
        await trio.sleep(1)
        raise ValueError("no\nway")

    async with open_supervisor(attrs.evolve(SERVER, run=crash)) as kept:
        await trio.sleep(2)
        assert kept.children() == (
            ChildLook(
                id="server",
                state=ChildState.RESTARTING,
                generation=1,
                restarts=1,
                last_error="ValueError: no way",
                restart_in_s=3,
            ),
        )
        began = trio.current_time()
        await kept.stop_child("server")
        assert trio.current_time() == began
        assert states(kept) == {"server": ChildState.DOWN}


async def test_a_stop_that_its_caller_gives_up_on_takes_place_all_the_same(
    autojump_clock: MockClock,
) -> None:
    async def stubborn(context: ChildContext) -> None:
        context.ready()
        await trio.sleep_forever()

    async with open_supervisor(attrs.evolve(SERVER, run=stubborn, stop_grace_s=5)) as kept:
        with trio.move_on_after(1):
            await kept.stop_child("server")
        assert states(kept) == {"server": ChildState.STOPPING}
        await trio.sleep(4.5)
        assert states(kept) == {"server": ChildState.DOWN}


async def test_a_start_that_a_group_restart_interrupts_goes_on_after_it(
    autojump_clock: MockClock,
) -> None:
    crash = trio.Event()

    async def crash_once(context: ChildContext) -> None:
        context.ready()
        if context.generation == 1:
            await crash.wait()
            raise ValueError("crashed")
        await context.wait_stop()

    async def slow(context: ChildContext) -> None:
        with trio.move_on_after(10):
            await context.wait_stop()
            return
        await serve(context)

    first = attrs.evolve(SERVER, id="first", run=crash_once)
    async with open_supervisor(first, strategy=Strategy.ONE_FOR_ALL) as kept:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept.start_child, attrs.evolve(SERVER, run=slow))
            await trio.sleep(1)
            crash.set()
        assert states(kept) == {"first": ChildState.RUNNING, "server": ChildState.RUNNING}
        assert [look.generation for look in kept.children()] == [2, 2]


async def test_a_temporary_child_that_ended_is_forgotten(autojump_clock: MockClock) -> None:
    async def once(context: ChildContext) -> None:
        context.ready()

    temporary = RestartPolicy(type=RestartType.TEMPORARY)
    async with open_supervisor() as kept:
        await kept.start_child(attrs.evolve(SERVER, run=once, restart=temporary))
        await wait_all_tasks_blocked()
        assert kept.children() == ()


async def test_a_supervisor_that_doesnt_run_takes_no_children() -> None:
    kept = Supervisor(dynamic=True)
    with pytest.raises(SupervisorDownError):
        await kept.start_child(SERVER)
    async with open_supervisor() as kept:
        kept.stop()
        with pytest.raises(SupervisorDownError):
            await kept.start_child(SERVER)


async def test_who_waits_for_a_start_hears_that_the_supervisor_stopped(
    autojump_clock: MockClock,
) -> None:
    async def slow(_context: ChildContext) -> None:
        await trio.sleep(math.inf)

    async with open_supervisor() as kept, trio.open_nursery() as nursery:

        async def start(name: str) -> None:
            with pytest.raises(ChildStartError):
                await kept.start_child(attrs.evolve(SERVER, id=name, run=slow))

        nursery.start_soon(start, "starting")
        nursery.start_soon(start, "waiting")
        await wait_all_tasks_blocked()
        kept.stop()
