"""The supervisor: when children come back, when it gives up, and how it stops them."""

from collections.abc import Awaitable, Callable
from itertools import pairwise

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors.actors.supervisor import (
    ChildContext,
    ChildExit,
    ChildSpec,
    ChildStartTimeoutError,
    RestartIntensityError,
    Supervisor,
)
from sigil_actors.core.restart import RestartPolicy, RestartType

Run = Callable[[ChildContext], Awaitable[None]]
POLICY = RestartPolicy(max_restarts=3, period=60, backoff=1, backoff_max=100)


def child(run: Run, *, name: str = "child", policy: RestartPolicy = POLICY) -> ChildSpec:
    return ChildSpec(id=name, run=run, restart=policy, start_timeout_s=10, stop_grace_s=5)


def supervisor(*children: ChildSpec, exits: list[ChildExit] | None = None) -> Supervisor:
    return Supervisor(
        children, observer=None if exits is None else exits.append, jitter=lambda: 0.0
    )


async def run_until_stopped(context: ChildContext) -> None:
    context.ready()
    await context.wait_stop()


async def test_a_crashed_child_comes_back_after_a_growing_backoff(
    autojump_clock: MockClock,
) -> None:
    started: list[float] = []

    async def crash_thrice(context: ChildContext) -> None:
        started.append(trio.current_time())
        assert context.generation == len(started)
        context.ready()
        if len(started) <= 3:
            raise ValueError("crashed")
        await context.wait_stop()

    exits: list[ChildExit] = []
    kept = supervisor(child(crash_thrice), exits=exits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(30)
        kept.stop()
    gaps = [later - earlier for earlier, later in pairwise(started)]
    assert gaps == pytest.approx([1, 2, 4])
    assert [ended.restart_in_s for ended in exits] == [1, 2, 4, None]
    assert [type(ended.error) for ended in exits] == [ValueError] * 3 + [type(None)]


async def test_it_gives_up_on_a_child_that_crashes_too_often_and_stops_the_others(
    autojump_clock: MockClock,
) -> None:
    stopped: list[str] = []

    async def sibling(context: ChildContext) -> None:
        context.ready()
        await context.wait_stop()
        stopped.append("sibling")

    async def crash(context: ChildContext) -> None:
        context.ready()
        raise ValueError("crashed")

    with pytest.raises(RestartIntensityError) as caught:
        await supervisor(child(sibling, name="sibling"), child(crash)).run()
    assert caught.value.child == "child"
    assert isinstance(caught.value.__cause__, ValueError)
    assert stopped == ["sibling"]


@pytest.mark.parametrize(
    ("type_", "crashes", "runs"),
    [
        (RestartType.PERMANENT, False, 2),
        (RestartType.TRANSIENT, False, 1),
        (RestartType.TRANSIENT, True, 2),
        (RestartType.TEMPORARY, True, 1),
    ],
)
async def test_the_restart_type_says_after_which_end_a_child_comes_back(
    autojump_clock: MockClock, type_: RestartType, *, crashes: bool, runs: int
) -> None:
    seen = 0

    async def end_once(context: ChildContext) -> None:
        nonlocal seen
        seen += 1
        context.ready()
        if seen == 1:
            if crashes:
                raise ValueError("crashed")
            return
        await context.wait_stop()

    kept = supervisor(child(end_once, policy=attrs.evolve(POLICY, type=type_)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await trio.sleep(30)
        kept.stop()
    assert seen == runs


async def test_children_start_in_order_each_when_the_one_before_is_ready(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    def slow(name: str) -> Run:
        async def run(context: ChildContext) -> None:
            log.append(f"{name} starts")
            await trio.sleep(1)
            log.append(f"{name} ready")
            context.ready()
            await context.wait_stop()
            await trio.sleep(1)
            log.append(f"{name} stops")

        return run

    kept = supervisor(child(slow("a"), name="a"), child(slow("b"), name="b"))
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        kept.stop()
    assert log == ["a starts", "a ready", "b starts", "b ready", "b stops", "a stops"]


async def test_a_child_that_isnt_ready_in_time_has_crashed(autojump_clock: MockClock) -> None:
    async def never_ready(_context: ChildContext) -> None:
        await trio.sleep_forever()

    with pytest.raises(RestartIntensityError) as caught:
        await supervisor(child(never_ready)).run()
    assert isinstance(caught.value.__cause__, ChildStartTimeoutError)


async def test_a_child_that_doesnt_stop_is_cancelled_after_its_grace(
    autojump_clock: MockClock,
) -> None:
    async def stubborn(context: ChildContext) -> None:
        context.ready()
        await trio.sleep_forever()

    kept = supervisor(child(stubborn))
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        began = trio.current_time()
        kept.stop()
    assert trio.current_time() - began == pytest.approx(5)


async def test_a_stop_during_the_backoff_ends_it_at_once(autojump_clock: MockClock) -> None:
    runs = 0

    async def crash(context: ChildContext) -> None:
        nonlocal runs
        runs += 1
        context.ready()
        raise ValueError("crashed")

    kept = supervisor(child(crash, policy=attrs.evolve(POLICY, backoff=50)))
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        kept.stop()
    assert trio.current_time() == began
    assert runs == 1


async def test_a_stop_during_the_start_doesnt_start_the_rest(autojump_clock: MockClock) -> None:
    started: list[str] = []

    def slow(name: str) -> Run:
        async def run(context: ChildContext) -> None:
            started.append(name)
            with trio.move_on_after(3):
                await context.wait_stop()

        return run

    kept = supervisor(child(slow("a"), name="a"), child(slow("b"), name="b"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(kept.run)
        await wait_all_tasks_blocked()
        kept.stop()
    assert started == ["a"]


async def test_it_ends_when_all_children_are_down_for_good(autojump_clock: MockClock) -> None:
    async def once(context: ChildContext) -> None:
        context.ready()

    policy = attrs.evolve(POLICY, type=RestartType.TEMPORARY)
    await supervisor(child(once, policy=policy)).run()


async def test_a_cancelled_supervisor_leaves_no_child_behind() -> None:
    alive = 0

    async def run(context: ChildContext) -> None:
        nonlocal alive
        alive += 1
        try:
            context.ready()
            await trio.sleep_forever()
        finally:
            alive -= 1

    kept = supervisor(child(run, name="a"), child(run, name="b"))
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        assert alive == 2
        nursery.cancel_scope.cancel()
    assert alive == 0


def test_two_children_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two children"):
        supervisor(child(run_until_stopped), child(run_until_stopped))
