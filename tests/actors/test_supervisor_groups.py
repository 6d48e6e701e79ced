"""Strategies and nested supervisors: who is started again with whom, in which order."""

from collections.abc import Sequence

import attrs
import pytest
import trio
from trio.testing import MockClock

from sigil_actors.actors.nested_supervisor import supervisor_spec
from sigil_actors.actors.supervisor import (
    AutoShutdown,
    ChildContext,
    ChildExit,
    ChildSpec,
    ChildState,
    RestartIntensityError,
    Supervisor,
)
from sigil_actors.core.restart import RestartPolicy, RestartType, Strategy

POLICY = RestartPolicy(max_restarts=3, period=60, backoff=1, backoff_max=100)
TEMPORARY = RestartPolicy(type=RestartType.TEMPORARY)


@attrs.define(eq=False)
class Group:
    """Children that write down what happens to them, and crash on demand."""

    log: list[str] = attrs.field(factory=list)
    crashes: dict[str, trio.Event] = attrs.field(factory=dict)
    start_s: dict[str, float] = attrs.field(factory=dict)
    stop_s: dict[str, float] = attrs.field(factory=dict)
    crash_in_stop: set[str] = attrs.field(factory=set)

    def spec(self, name: str, policy: RestartPolicy = POLICY) -> ChildSpec:
        async def run(context: ChildContext) -> None:
            self.log.append(f"+{name}")
            self.crashes[name] = trio.Event()
            await trio.sleep(self.start_s.get(name, 0))
            context.ready()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.crash, name)
                await context.wait_stop()
                nursery.cancel_scope.cancel()
            await trio.sleep(self.stop_s.get(name, 0))
            self.log.append(f"-{name}")
            if name in self.crash_in_stop:
                raise ValueError(name)

        return ChildSpec(id=name, run=run, restart=policy, stop_grace_s=50)

    async def crash(self, name: str) -> None:
        await self.crashes[name].wait()
        self.log.append(f"!{name}")
        raise ValueError(name)

    def take_log(self) -> Sequence[str]:
        log, self.log = self.log, []
        return log


def supervisor(group: Group, strategy: Strategy, names: str = "abc") -> Supervisor:
    return Supervisor([group.spec(name) for name in names], strategy=strategy, jitter=lambda: 0.0)


@pytest.mark.parametrize(
    ("strategy", "log"),
    [
        (Strategy.ONE_FOR_ONE, ["!b", "+b"]),
        (Strategy.ONE_FOR_ALL, ["!b", "-c", "-a", "+a", "+b", "+c"]),
        (Strategy.REST_FOR_ONE, ["!b", "-c", "+b", "+c"]),
    ],
)
async def test_the_strategy_says_who_comes_back_with_a_child_that_crashed(
    autojump_clock: MockClock, strategy: Strategy, log: Sequence[str]
) -> None:
    group = Group()
    kept = supervisor(group, strategy)
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.take_log()
        group.crashes["b"].set()
        await trio.sleep(10)
        assert group.take_log() == log
        assert [look.restarts for look in kept.children()] == [0, 1, 0]
        kept.stop()
    assert group.take_log() == ["-c", "-b", "-a"]


async def test_what_ends_while_its_group_is_stopped_counts_for_nothing(
    autojump_clock: MockClock,
) -> None:
    """Neither a crash on being stopped nor one before its turn has come."""
    group = Group(stop_s={"c": 5}, crash_in_stop={"c"})
    exits: list[ChildExit] = []
    kept = Supervisor(
        [group.spec(name) for name in "abc"],
        strategy=Strategy.ONE_FOR_ALL,
        jitter=lambda: 0.0,
        observer=exits.append,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.crashes["b"].set()
        await trio.sleep(2)  # c takes 5 s to stop
        group.crashes["a"].set()
        await trio.sleep(20)
        assert [look.restarts for look in kept.children()] == [0, 1, 0]
        assert [look.generation for look in kept.children()] == [2, 2, 2]
        assert [(one.child, one.restart_in_s) for one in exits] == [("b", 1), ("a", 0), ("c", 0)]
        kept.stop()


async def test_a_crash_further_up_during_a_group_restart_makes_the_group_larger(
    autojump_clock: MockClock,
) -> None:
    group = Group(stop_s={"d": 5, "c": 5})
    kept = supervisor(group, Strategy.REST_FOR_ONE, "abcd")
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.take_log()
        group.crashes["b"].set()
        await trio.sleep(2)
        group.crashes["a"].set()
        await trio.sleep(30)
        assert group.take_log() == ["!b", "!a", "-d", "-c", "+a", "+b", "+c", "+d"]
        kept.stop()


async def test_a_stop_during_a_group_restart_starts_nobody_any_more(
    autojump_clock: MockClock,
) -> None:
    group = Group(stop_s={"c": 5})
    kept = supervisor(group, Strategy.ONE_FOR_ALL)
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.take_log()
        group.crashes["b"].set()
        await trio.sleep(2)
        kept.stop()
    assert group.take_log() == ["!b", "-c", "-a"]


async def test_a_crash_in_the_midst_of_a_group_start_begins_it_again(
    autojump_clock: MockClock,
) -> None:
    group = Group()
    kept = supervisor(group, Strategy.ONE_FOR_ALL)
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.start_s["b"] = 5
        group.take_log()
        group.crashes["c"].set()
        await trio.sleep(3)  # a is up again, b starts
        group.crashes["a"].set()
        await trio.sleep(30)
        assert group.take_log() == [
            *("!c", "-b", "-a", "+a", "+b"),
            *("!a", "-b", "+a", "+b", "+c"),
        ]
        kept.stop()


async def test_a_temporary_child_is_stopped_with_its_group_and_stays_down(
    autojump_clock: MockClock,
) -> None:
    group = Group()
    specs = [group.spec("a"), group.spec("b", TEMPORARY)]
    kept = Supervisor(specs, strategy=Strategy.ONE_FOR_ALL, jitter=lambda: 0.0)
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        group.crashes["a"].set()
        await trio.sleep(30)
        assert [look.state for look in kept.children()] == [ChildState.RUNNING, ChildState.DOWN]
        kept.stop()


async def test_a_supervisor_that_gives_up_is_a_child_that_crashed(
    autojump_clock: MockClock,
) -> None:
    opened = 0

    async def crash(context: ChildContext) -> None:
        context.ready()
        await trio.sleep(1)
        raise ValueError("crashed")

    def open_inner() -> Supervisor:
        nonlocal opened
        opened += 1
        return Supervisor([ChildSpec(id="leaf", run=crash, restart=POLICY)], jitter=lambda: 0.0)

    outer = Supervisor([supervisor_spec("inner", open_inner, POLICY)], jitter=lambda: 0.0)
    with pytest.raises(RestartIntensityError) as caught:
        await outer.run()
    assert caught.value.child == "inner"
    assert isinstance(caught.value.__cause__, RestartIntensityError)
    assert caught.value.__cause__.child == "leaf"
    assert opened == 1 + POLICY.max_restarts


async def test_a_tree_stops_in_reverse_order_also_when_it_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    group = Group(stop_s={"b": 3})

    def open_inner() -> Supervisor:
        return Supervisor(
            [attrs.evolve(group.spec(name), cancel_grace_s=5) for name in "ab"],
        )

    specs = [
        supervisor_spec("inner", open_inner, POLICY),
        attrs.evolve(group.spec("c"), cancel_grace_s=5),
    ]
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            await nursery.start(Supervisor(specs).run)
            began = trio.current_time()
            scope.cancel()
    assert scope.cancelled_caught
    assert group.take_log() == ["+a", "+b", "+c", "-c", "-b", "-a"]
    assert trio.current_time() - began == 3


async def test_a_cancel_during_a_stop_shortens_its_grace(autojump_clock: MockClock) -> None:
    async def stubborn(context: ChildContext) -> None:
        context.ready()
        await trio.sleep_forever()

    spec = ChildSpec(id="a", run=stubborn, restart=POLICY, stop_grace_s=50, cancel_grace_s=2)
    kept = Supervisor([spec])
    async with trio.open_nursery() as nursery:
        await nursery.start(kept.run)
        kept.stop()
        began = trio.current_time()
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert trio.current_time() - began == 3


@pytest.mark.parametrize(
    ("shutdown", "ends_after"),
    [(AutoShutdown.ANY_SIGNIFICANT, 1), (AutoShutdown.ALL_SIGNIFICANT, 2)],
)
async def test_significant_children_that_end_by_themselves_end_their_supervisor(
    autojump_clock: MockClock, shutdown: AutoShutdown, ends_after: float
) -> None:
    group = Group()

    def finishing(name: str, after_s: float) -> ChildSpec:
        async def run(context: ChildContext) -> None:
            context.ready()
            with trio.move_on_after(after_s):
                await context.wait_stop()

        return ChildSpec(id=name, run=run, restart=TEMPORARY, significant=True)

    specs = [group.spec("a"), finishing("one", 1), finishing("two", 2)]
    began = trio.current_time()
    await Supervisor(specs, auto_shutdown=shutdown).run()
    assert trio.current_time() - began == ends_after


def test_a_significant_child_must_be_able_to_end() -> None:
    with pytest.raises(ValueError, match="permanent"):
        attrs.evolve(Group().spec("a"), significant=True)
    spec = attrs.evolve(Group().spec("a", TEMPORARY), significant=True)
    with pytest.raises(ValueError, match="automatically"):
        Supervisor([spec])
