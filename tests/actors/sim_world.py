"""A random tree of supervisors and actors, with what must hold of it checked out of band.

A supervisor takes an assertion in a child for one more crash, so violations go to a list.
"""

import collections
import math
import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial

import attrs
import trio

from sigil_actors.actors.child_spec import (
    AutoShutdown,
    ChildContext,
    ChildExit,
    ChildSpec,
    ChildState,
)
from sigil_actors.actors.mailbox import Envelope, Mailbox, Request
from sigil_actors.actors.nested_supervisor import supervisor_spec
from sigil_actors.actors.supervisor import Supervisor
from sigil_actors.core.restart import RestartPolicy, RestartType, Strategy

CLEANUP_S = 2.0
"""What an actor takes at most behind its own shield, after it was cancelled."""
START_TIMEOUT_S = 10.0


@attrs.frozen(eq=False)
class Echo(Request[int]):
    """Answered with its own number."""

    number: int


@attrs.define
class Stopped:
    """When an actor was asked to stop."""

    at: float = math.inf


@attrs.define(eq=False)
class Family:
    """One incarnation of a supervisor, with what its children did."""

    strategy: Strategy
    shutdown: AutoShutdown
    supervisor: Supervisor = attrs.field(init=False)
    specs: dict[str, ChildSpec] = attrs.field(factory=dict)
    order: list[str] = attrs.field(factory=list)
    """Of starting."""
    by_hand: set[str] = attrs.field(factory=set)
    """Children that somebody stopped or started, at some time."""
    inside: dict[str, ChildContext] = attrs.field(factory=dict)
    generations: dict[str, int] = attrs.field(factory=lambda: collections.defaultdict(int))
    restarts: dict[str, int] = attrs.field(factory=lambda: collections.defaultdict(int))
    restarted_at: dict[str, list[float]] = attrs.field(
        factory=lambda: collections.defaultdict(list)
    )
    withdrawn: set[str] = attrs.field(factory=set)
    held: set[str] = attrs.field(factory=set)
    """Whom somebody stopped, and nobody started since."""
    doomed: set[str] = attrs.field(factory=set)
    """Who is to be stopped, since its group is restarted."""
    late: set[str] = attrs.field(factory=set)
    """Who was cancelled for not being ready in time, and hasn't been heard of yet."""
    crashed: dict[str, bool] = attrs.field(factory=dict)
    """Whether a child's last end was abnormal."""
    heard: dict[str, int] = attrs.field(factory=dict)
    """Of each child, the generation whose end was told last."""
    is_finished: bool = False
    """A significant child has ended in the way that ends all of it."""
    first_stopped_among: frozenset[str] | None = None
    """Who was inside when the first one was stopped."""
    is_over: bool = False

    def later(self, name: str) -> list[str]:
        """Return which of those that start after `name` are inside now."""
        return [one for one in self.order[self.order.index(name) + 1 :] if one in self.inside]

    def group(self, name: str) -> set[str]:
        """Return who of those inside is restarted with `name`."""
        match self.strategy:
            case Strategy.ONE_FOR_ONE:
                return set()
            case Strategy.ONE_FOR_ALL:
                return set(self.inside)
            case Strategy.REST_FOR_ONE:
                return set(self.later(name))


@attrs.define(eq=False)
class World:
    """Everything of one run."""

    rng: random.Random
    violations: list[str] = attrs.field(factory=list)
    families: list[Family] = attrs.field(factory=list)
    boxes: list[Mailbox] = attrs.field(factory=list)
    told: dict[int, str] = attrs.field(factory=dict)
    """What became of a tell for its teller: accepted, void, or unknown."""
    done: collections.Counter[int] = attrs.field(factory=collections.Counter)
    lost_in_hand: set[int] = attrs.field(factory=set)
    """Taken by an actor that crashed before it came to them."""
    dead_letters: int = 0
    is_calm: bool = False
    """From now on nothing fails any more."""
    numbers: int = 0
    asking: collections.Counter[Mailbox] = attrs.field(factory=collections.Counter)
    """How many wait for an answer of each."""

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def chance(self, share: float) -> bool:
        return not self.is_calm and self.rng.random() < share

    def must(self, holds: bool, what: str) -> None:  # noqa: FBT001 - reads as an assertion
        if not holds:
            self.violations.append(f"at {trio.current_time():.3f}: {what}")

    # The tree

    def policy(self, shutdown: AutoShutdown) -> RestartPolicy:
        rng = self.rng
        most = 0 if shutdown is not AutoShutdown.NEVER else 4
        backoff = rng.choice([0.0, 0.1, 1.0])
        return RestartPolicy(
            type=rng.choice([RestartType.PERMANENT] * most + list(RestartType)),
            max_restarts=rng.choice([2, 5, 1000, 1000, 1000]),
            period=rng.choice([1.0, 30.0]),
            backoff=backoff,
            backoff_max=max(backoff, rng.choice([1.0, 4.0])),
        )

    def supervisor(self, prefix: str, depth: int) -> Supervisor:
        """Make a supervisor with what is below it."""
        rng = self.rng
        strategy = rng.choice(list(Strategy))
        shutdown = rng.choice([AutoShutdown.NEVER] * 2 + list(AutoShutdown))
        family = Family(strategy, shutdown)
        for number in range(rng.randint(1, 4)):
            self.child(family, f"{prefix}{number}", depth, shutdown)
        family.supervisor = Supervisor(
            [family.specs[name] for name in family.order],
            strategy=strategy,
            auto_shutdown=shutdown,
            dynamic=rng.random() < 0.7,
            observer=partial(self.check_restarts, family),
            jitter=rng.random,
        )
        self.families.append(family)
        return family.supervisor

    def child(
        self, family: Family, name: str, depth: int, shutdown: AutoShutdown = AutoShutdown.NEVER
    ) -> ChildSpec:
        policy = self.policy(shutdown)
        if depth and self.rng.random() < 0.4:
            spec = supervisor_spec(
                name, partial(self.supervisor, f"{name}.", depth - 1), policy, start_timeout_s=100
            )
            run = spec.run

            async def run_supervisor(context: ChildContext) -> None:
                with self.inside(family, name, context):
                    first = len(self.families)
                    try:
                        await run(context)
                        for one in self.families[first : first + 1]:
                            self.check_return(one, is_asked=context.is_stopping)
                    finally:
                        for one in self.families[first : first + 1]:
                            one.is_over = True

            spec = attrs.evolve(spec, run=run_supervisor)
        else:
            spec = ChildSpec(
                id=name,
                run=partial(self.actor, family, name),
                restart=policy,
                start_timeout_s=START_TIMEOUT_S,
                stop_grace_s=self.rng.choice([0.0, 1.0, 5.0]),
                cancel_grace_s=self.rng.choice([0.0, 0.5]),
                significant=(
                    policy.type is not RestartType.PERMANENT
                    and shutdown is not AutoShutdown.NEVER
                    and self.rng.random() < 0.5
                ),
            )
        family.specs[name] = spec
        family.order.append(name)
        return spec

    # One incarnation of an actor

    @contextmanager
    def inside(self, family: Family, name: str, context: ChildContext) -> Generator[None]:
        """Check what must hold when an incarnation begins, while it stops, and when it ends."""
        self.must(name not in family.inside, f"two incarnations of {name} live")
        # Not always by one: an incarnation may be stopped before it had its first turn.
        before = family.generations[name]
        self.must(context.generation > before, f"{name} is in generation {before} once more")
        self.must(name not in family.held, f"{name} was stopped, and is back")
        is_temporary = family.specs[name].restart.type is RestartType.TEMPORARY
        self.must(
            not is_temporary or context.generation == 1 or name in family.by_hand,
            f"{name} is temporary, and back",
        )
        family.generations[name] = context.generation
        self.check_start_order(family, name)
        family.inside[name] = context
        try:
            yield
        finally:
            del family.inside[name]

    def check_start_order(self, family: Family, name: str) -> None:
        grouped = family.strategy is not Strategy.ONE_FOR_ONE
        starting = [
            one
            for one, context in family.inside.items()
            if not context.is_ready
            and not context.is_stopping
            and (grouped or family.generations[one] == 1)
        ]
        if grouped or family.generations[name] == 1:
            self.must(not starting, f"{name} starts before {starting} are ready")
        if grouped and name not in family.by_hand:
            self.must(not family.later(name), f"{name} starts, {family.later(name)} run already")

    def check_stop(self, family: Family, name: str) -> None:
        if name not in family.by_hand:
            # One whose starter lost patience is stopped alone.
            if family.first_stopped_among is None and not name.startswith("dynamic"):
                family.first_stopped_among = frozenset(family.inside)
            later = family.later(name)
            self.must(not later, f"{name} is stopped before {later}")

    def check_return(self, family: Family, *, is_asked: bool) -> None:
        """Check that a supervisor that ends in peace has a reason to."""
        if is_asked:
            return
        stays = [
            name
            for name, spec in family.specs.items()
            if spec.restart.type is RestartType.PERMANENT
            and name not in family.by_hand
            and not name.startswith("dynamic")  # may never have started
        ]
        if family.shutdown is AutoShutdown.NEVER:
            self.must(not stays, f"a supervisor of {stays} has just ended")
        if family.shutdown is AutoShutdown.ALL_SIGNIFICANT:
            among = family.first_stopped_among or frozenset()
            live = [name for name in among if family.specs[name].significant]
            self.must(
                not live or family.strategy is not Strategy.ONE_FOR_ONE,
                f"a supervisor has ended though {live} lived",
            )

    def check_exit(self, family: Family, ended: ChildExit) -> None:
        """Check what a supervisor makes of the end of a child."""
        name, spec = ended.child, family.specs[ended.child]
        self.must(ended.error is not None or name not in family.late, f"{name} was late unseen")
        family.late.discard(name)
        once = family.heard.get(name) != ended.generation
        self.must(once, f"{name}, generation {ended.generation}, has ended twice")
        family.heard[name] = ended.generation
        family.crashed[name] = ended.error is not None
        if (
            spec.significant
            and ended.restart_in_s is None
            and family.strategy is Strategy.ONE_FOR_ONE
            and family.shutdown is AutoShutdown.ANY_SIGNIFICANT
            and name not in family.by_hand
        ):
            family.is_finished = True

    def check_restarts(self, family: Family, ended: ChildExit) -> None:
        self.check_exit(family, ended)
        was_doomed = ended.child in family.doomed
        family.doomed.discard(ended.child)
        looks = {one.id: one for one in family.supervisor.children()}
        if looks[ended.child].restarts == family.restarts[ended.child]:
            return
        self.must(not was_doomed, f"{ended.child} counts though its group is being stopped")
        family.doomed |= family.group(ended.child)
        family.restarts[ended.child] += 1
        policy, now = family.specs[ended.child].restart, trio.current_time()
        times = family.restarted_at[ended.child]
        times.append(now)
        # As the planner has it: at the edge, two ways to subtract can differ in the last bit.
        recent = sum(time >= now - policy.period for time in times)
        self.must(recent <= policy.max_restarts, f"{ended.child} restarts {recent} times")
        self.must(policy.type is not RestartType.TEMPORARY, f"{ended.child} is temporary")
        self.must(
            policy.type is not RestartType.TRANSIENT or ended.error is not None,
            f"{ended.child} had finished",
        )

    async def actor(self, family: Family, name: str, context: ChildContext) -> None:
        rng = self.rng
        box = Mailbox(name, capacity=rng.choice([1, 3]))
        batch: list[Envelope] = []
        stopped = Stopped()

        def stop() -> None:
            stopped.at = trio.current_time()
            self.check_stop(family, name)
            box.finish("it was stopped")

        with self.inside(family, name, context):
            context.call_on_stop(stop)
            try:
                await self.be_started(context)
                self.boxes.append(box)
                await self.serve(box, batch, stopped, rng.choice([None, None, 1, 3, 6]))
                if self.chance(0.2):
                    await trio.sleep(rng.choice([0.5, 3, 50]))  # more than some graces
            except trio.Cancelled:
                if not context.is_ready and not context.is_stopping:
                    family.late.add(name)
                self.must(
                    context.is_stopping or not context.is_ready, f"{name} is cancelled unasked"
                )
                raise
            except Exception as error:
                self.must(isinstance(error, ValueError), f"{name} met {error!r}")
                raise
            finally:
                if box in self.boxes:
                    self.boxes.remove(box)
                for envelope in batch:
                    if isinstance(envelope.message, int):
                        self.lost_in_hand.add(envelope.message)
                self.dead_letters += box.close("it ended")
                self.must(box.statistics().asks == 0, f"{name} has askers after its end")
                if self.chance(0.1):
                    with trio.CancelScope(shield=True):
                        await trio.sleep(CLEANUP_S)
                if context.is_stopping:
                    family.late.discard(name)  # nobody waits for it to be ready any more
                spec = family.specs[name]
                grace = max(spec.stop_grace_s, spec.cancel_grace_s) + CLEANUP_S
                took = trio.current_time() - stopped.at
                self.must(took <= grace + 1e-6, f"{name} took {took:g} s to stop, not {grace:g}")

    async def be_started(self, context: ChildContext) -> None:
        rng = self.rng
        if self.chance(0.1):
            raise ValueError("crashed at the start")
        if self.chance(0.05):
            return
        await trio.sleep(rng.choice([0, 0, 0.5, 2]))
        if self.chance(0.05):
            await trio.sleep(START_TIMEOUT_S)
        context.ready()

    async def receive(self, box: Mailbox, stopped: Stopped) -> Sequence[Envelope]:
        """Take what waits; a mailbox that is being stopped keeps nobody waiting."""
        limit, began = self.rng.choice([1, 64]), trio.current_time()
        there = box.statistics()
        try:
            taken = await box.receive_batch(limit)
        finally:
            waited_s = trio.current_time() - max(began, stopped.at)
            self.must(waited_s <= 0 or stopped.at == math.inf, f"a stop unheard for {waited_s} s")
            is_idle = not there.waiting and not there.orders
            self.must(is_idle or trio.current_time() == began, "what waits isn't taken")
        self.must(len(taken) <= limit, f"{len(taken)} taken at once, not {limit}")
        return taken

    async def serve(
        self, box: Mailbox, batch: list[Envelope], stopped: Stopped, crash_at: int | None
    ) -> None:
        done = 0
        deadline = (
            math.inf if self.is_calm else trio.current_time() + self.rng.choice([5, 20, 3000])
        )
        with trio.move_on_at(deadline) as life:
            while taken := await self.receive(box, stopped):
                batch.extend(taken)
                while batch:
                    done += 1
                    if done == crash_at and not self.is_calm:
                        raise ValueError("crashed at a message")
                    if self.rng.random() < 0.3:
                        await trio.sleep(self.rng.choice([0, 0.1, 1]))
                    envelope = batch.pop(0)
                    if isinstance(envelope.message, Echo):
                        self.done[envelope.message.number] += 1
                        envelope.reply(envelope.message.number)
                    elif isinstance(envelope.message, int):
                        self.done[envelope.message] += 1
        if life.cancelled_caught and self.chance(0.5):
            raise ValueError("crashed of age")

    # At the end

    def check_settled(self) -> None:
        """Check what must hold when nothing has failed for a long time."""
        for family in self.families:
            looks = {look.id: look for look in family.supervisor.children()}
            if family.is_over:
                continue
            self.must(not family.is_finished, f"{family.order} should have ended together")
            for name in family.withdrawn:
                self.must(name not in looks, f"{name}, which nobody wants, is still there")
            for name, look in looks.items():
                kind = family.specs[name].restart.type
                is_wanted = kind is RestartType.PERMANENT or (
                    kind is RestartType.TRANSIENT and family.crashed.get(name, False)
                )
                if is_wanted and name not in family.by_hand:
                    self.must(look.state is ChildState.RUNNING, f"{name} is {look.state}")
                self.must(
                    (look.state in (ChildState.RUNNING, ChildState.STOPPING))
                    == (name in family.inside),
                    f"{name} looks {look.state}",
                )

    def check_over(self) -> None:
        """Check what must hold when all is over."""
        for family in self.families:
            self.must(not family.inside, f"{sorted(family.inside)} are left behind")
        for number, count in self.done.items():
            self.must(count == 1, f"{number} was done {count} times")
            self.must(self.told.get(number) != "void", f"{number} was void, and done")
        accepted = [number for number, fate in self.told.items() if fate == "accepted"]
        lost = [one for one in accepted if not self.done[one] and one not in self.lost_in_hand]
        self.must(
            len(lost) == self.dead_letters,
            f"{len(lost)} tells aren't done, {self.dead_letters} letters are dead",
        )
