"""The kit alone from a seed: random trees, faults, cancels, people who start and stop children.

`--sigil-seeds=10000` runs more of them, `--sigil-seed=K` one again.
"""

import random
from contextlib import suppress
from functools import partial

import trio

from sigil_actors.actors.child_spec import (
    ChildExistsError,
    ChildNotFoundError,
    ChildStartError,
    ChildState,
    RestartIntensityError,
    SupervisorDownError,
)
from sigil_actors.actors.mailbox import ActorDownError, MailboxFullError
from sigil_actors.actors.supervisor import Supervisor
from sigil_actors.testing import SeedRuns
from tests.actors.sim_world import Echo, Family, World

ANSWER_S = 100.0
"""No actor takes longer than that over what waits for it."""
PATIENCE_S = 200.0
"""No stop takes that long, be it of a whole tree."""
STORM_S = 30.0
CALM_S = 1000.0


async def ask(world: World, *, by_order: bool) -> None:
    for _ in range(6):
        await trio.sleep(world.rng.choice([0, 0.5, 1, 3]))
        if not world.boxes:
            continue
        box, number = world.rng.choice(world.boxes), world.next_number()
        limit_s = world.rng.choice([0, 0.5, 2, ANSWER_S])
        world.asking[box] += 1
        with trio.move_on_after(limit_s) as bound:
            try:
                answer = await (box.order if by_order else box.ask)(Echo(number))
                world.must(answer == number, f"{number} was answered {answer}")
            except (ActorDownError, MailboxFullError):
                pass
        world.asking[box] -= 1
        kept = box.statistics().asks
        world.must(kept <= world.asking[box], f"{kept} askers kept, {world.asking[box]} wait")
        world.must(
            limit_s < ANSWER_S or not bound.cancelled_caught, f"{number} got no answer at all"
        )


async def tell(world: World) -> None:
    for _ in range(8):
        await trio.sleep(world.rng.choice([0, 0.5, 1, 3]))
        if not world.boxes:
            continue
        box, number = world.rng.choice(world.boxes), world.next_number()
        world.told[number] = "void"
        with trio.move_on_after(world.rng.choice([0, 0.1, 1, 5])):
            try:
                match world.rng.randrange(3):
                    case 0:
                        box.tell_nowait(number)
                    case 1:
                        box.tell_order_nowait(number)
                    case _:
                        await box.tell(number)
            except (ActorDownError, MailboxFullError):
                continue
            world.told[number] = "accepted"


async def operate(world: World, family: Family) -> None:
    """Start, stop, restart and delete children, sometimes losing patience."""
    supervisor = family.supervisor
    for _ in range(world.rng.randint(0, 6)):
        await trio.sleep(world.rng.choice([0, 0.5, 2, 7]))
        waiting: list[str] = []
        for _ in range(world.rng.choice([1, 1, 1, 30])):
            # Few are in their backoff at any time, and then they are the interesting ones.
            looks = supervisor.children()
            waiting = [look.id for look in looks if look.state is ChildState.RESTARTING]
            if waiting:
                break
            await trio.sleep(0.1)
        name = world.rng.choice(waiting or family.order)
        action = world.rng.choice(["start", "stop", "restart", "delete"])
        if action == "start":
            name = f"dynamic{world.next_number()}"
        else:
            family.by_hand.add(name)
            if action != "stop":
                family.held.discard(name)
        limit_s = world.rng.choice([0, 0.5, 3, PATIENCE_S])
        with trio.move_on_after(limit_s) as patience:
            try:
                match action:
                    case "start":
                        await supervisor.start_child(world.child(family, name, depth=0))
                    case "stop":
                        began = trio.current_time()
                        await supervisor.stop_child(name)
                        family.held.add(name)
                        took_s = trio.current_time() - began
                        world.must(name not in waiting or not took_s, f"{name} took {took_s} s")
                        world.must(name not in family.inside, f"{name} was stopped and runs")
                    case "restart":
                        family.restarted_at.pop(name, None)  # its history begins anew
                        await supervisor.restart_child(name)
                    case _:
                        supervisor.delete_child(name)
                        family.generations[name] = 0
                        family.heard.pop(name, None)
            except ChildStartError:
                if action == "start":
                    family.withdrawn.add(name)
            except (ChildExistsError, ChildNotFoundError, SupervisorDownError):
                pass
        given_up = patience.cancelled_caught and limit_s == PATIENCE_S
        world.must(action != "stop" or not given_up, f"{name} wasn't stopped in {limit_s:g} s")
        if patience.cancelled_caught and action == "start":
            family.withdrawn.add(name)
            family.by_hand.add(name)


async def scenario(rng: random.Random) -> None:
    world = World(rng)
    root = world.supervisor("", depth=2)
    settles = rng.random() < 0.5
    end = rng.choice(["stop", "cancel", "both"])
    scope = trio.CancelScope()
    is_ending = False

    async def run() -> None:
        with scope:
            with suppress(RestartIntensityError):
                await root.run()
                world.check_return(world.families[0], is_asked=is_ending)
        world.check_over()
        world.families[0].is_over = True

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        async with trio.open_nursery() as storm:
            for _ in range(4):
                storm.start_soon(partial(ask, world, by_order=False))
                storm.start_soon(tell, world)
            storm.start_soon(partial(ask, world, by_order=True))
            storm.start_soon(operate, world, world.families[0])
            if settles:
                await trio.sleep(STORM_S)
            else:
                await trio.sleep(rng.choice([0, 0.5, 2, 8]))
                is_ending = True
                bring_to_end(root, scope, end)
        world.is_calm = True
        if settles:
            await trio.sleep(CALM_S)
            if nursery.child_tasks:
                world.check_settled()
            is_ending = True
            bring_to_end(root, scope, end)
        began = trio.current_time()
    took = trio.current_time() - began
    world.must(took < 300, f"the end took {took:g} s")
    world.check_over()
    assert not world.violations, world.violations[0]


def bring_to_end(root: Supervisor, scope: trio.CancelScope, how: str) -> None:
    if how != "cancel":
        root.stop()
    if how != "stop":
        scope.cancel()


def test_no_seed_breaks_an_invariant_of_the_kit(simulate_seeds: SeedRuns) -> None:
    simulate_seeds(scenario)
