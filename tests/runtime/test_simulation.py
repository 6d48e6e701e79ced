"""The whole runtime from a seed: callers, cancels, crashes, hangs, operators, failing audits.

`--sigil-seeds=10000` runs more of them, `--sigil-seed=K` one again; `make sim` uses all cores.
"""

import collections
import math
import random
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import ExitStack, aclosing, suppress

import attrs
import pytest
import trio

from sigil_actors import (
    AuditEntry,
    DenyReason,
    HostCall,
    Manifest,
    MemoryAuditStore,
    PluginCallError,
    PluginState,
    PluginType,
    PluginUnavailableError,
    Runtime,
    RuntimeSettings,
    SigilError,
    open_runtime,
)
from sigil_actors.actors.mailbox import ActorDownError
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus
from sigil_actors.core.channel_calls import InboundMessage, SendRequest, SendResult, UserIdentity
from sigil_actors.core.provider_calls import ChatEvent, ChatRequest, Done, TextDelta
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.runtime.events import RuntimeEvent
from sigil_actors.runtime.inbox import Inbox
from sigil_actors.runtime.instance_life import LEAVE_S, SHUTDOWN_S
from sigil_actors.runtime.plugin_orders import ReloadResult
from sigil_actors.testing import (
    FakeAsk,
    FakeCall,
    FakeChannel,
    FakePlugin,
    FakeProvider,
    FakeTier,
    FaultyAuditStore,
    HealthScript,
    Script,
    ScriptCrash,
    SeedRuns,
    after_every_step,
    calls_recorded_first,
    calls_within_bounds,
    ends_are_prompt,
    lease_problems,
    log_problems,
    no_task_left,
    one_instance_each,
    one_serves_each,
    scripted_health,
    settled_problems,
    simulate,
    states_in_order,
    status_problems,
)
from sigil_actors.testing.faults import Crash, Fail, Fault, Hang, Slow
from tests.runtime.sim_checks import (
    attention_problems,
    door_of,
    drains_wait,
    ends_in_order,
    health_counts,
    living,
    needs_came_first,
    no_circles,
    orders_are_heard,
    registration_problems,
    sequence_problems,
    story_problems,
    swaps_beside,
    trials_are_single,
)
from tests.runtime.world import alice, manifest

NAMES = ("alpha", "beta", "gamma")
GRACE_S = 30.0
BOUND_S = GRACE_S + 5.0
STOP_BOUND_S = RuntimeSettings().stop_grace_s + LEAVE_S + SHUTDOWN_S + 4.0
"""Of a stop: its calls, their leaving, its shutdown, and what a slow log adds."""


@attrs.frozen
class Ended:
    """How a call ended for its caller."""

    session: str
    plugin: str
    how: str
    """An error's name, or: finished, left, cancelled."""
    pieces: int


RECORDED_AS = {
    "finished": {"ok"},
    "left": {"cancelled"},
    "PluginCallError": {"error"},
    "PluginCrashedError": {"crashed"},
}
"""What the log must say of a call that ended so. Other ends may come before there is a call."""


@attrs.define
class Simulated:
    """One run: what it decides, and what it watches. Violations are kept, since raises can be
    swallowed on their way."""

    rng: random.Random
    patient: bool
    """Whether most never give up waiting, and nothing hangs: whoever waits for ever is stuck."""
    audit_fails: bool
    spread_s: float
    """Over how long callers and operators come: all at once, or one after another."""
    step_s: float = 3.0
    """How long a step of a call takes at most."""
    crossed: bool = False
    """Whether plugins call each other a lot, each taking one call at a time."""
    favourite: str | None = None
    """Whom operators and half of the callers meet at; nobody where it is None."""
    violations: list[str] = attrs.field(factory=list)
    begun: int = 0
    ended: list[Ended] = attrs.field(factory=list)
    live: collections.Counter[str] = attrs.field(factory=collections.Counter)
    asked: collections.Counter[str] = attrs.field(factory=collections.Counter)
    """How often each plugin got the host to run its function."""
    dead_tokens: list[str] = attrs.field(factory=list)
    stopped: set[str] = attrs.field(factory=set)
    """Which plugins an operator wanted down last."""
    orders: int = 0
    """How many were given; an order is known by its number."""
    wanted_up: dict[str, int] = attrs.field(factory=dict)
    """The last order that may have brought a plugin up."""
    was_down: dict[str, int] = attrs.field(factory=dict)
    """The last order after which a plugin was down."""
    taken_up: dict[str, tuple[int, str]] = attrs.field(factory=dict)
    """The last order after which a version served, and which."""
    events: list[RuntimeEvent] = attrs.field(factory=list)
    received: dict[str, int] = attrs.field(factory=dict)
    """The last message that a channel received for each listening, by its token."""
    heard_out: set[str] = attrs.field(factory=set)
    """The listenings that their channel ended by itself."""

    def check(self, condition: object, what: str) -> None:
        if not condition:
            self.violations.append(what)

    def find(self, problem: str | None) -> None:
        if problem is not None:
            self.violations.append(problem)


def scripts(world: Simulated, name: str) -> dict[str, Script]:
    rng = world.rng

    async def work(request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        world.live[name] += 1
        try:
            for _ in range(rng.randrange(4)):
                match rng.randrange(14):
                    case 0:
                        raise ScriptCrash("as drawn")
                    case 1:
                        raise PluginCallError(name, "as drawn")
                    case 2 if not world.patient:
                        await trio.sleep_forever()
                    case 3 | 4:
                        yield (await host.call("chain.next", b"", request.session_id)).decode()
                    case 10 | 11 | 12 if world.crossed:
                        yield (await host.call("chain.next", b"", request.session_id)).decode()
                    case 5:
                        await host.check("kv.get", request.session_id)
                    case 6:
                        token = rng.choice(["made up", *world.dead_tokens[-3:]])
                        reason = await host.check("kv.get", token)
                        world.check(reason is DenyReason.INVALID_REQUEST, f"{reason} for nobody")
                    case 7 | 8 | 9:
                        await trio.sleep(rng.random() * world.step_s)
                    case _:
                        yield "piece"
        except SigilError as error:
            if isinstance(error, PluginCallError):
                raise
            yield type(error).__name__
        finally:
            world.live[name] -= 1
            world.dead_tokens.append(request.session_id)

    return {"work": work}


def chosen_channel(world: Simulated, name: str) -> FakeChannel:
    rng = world.rng

    async def listen(session_id: str, _host: HostFunctions) -> AsyncGenerator[InboundMessage]:
        world.live[name] += 1
        try:
            for number in range(rng.randrange(20)):
                if number or rng.random() < 0.5:
                    await trio.sleep(rng.random() * world.step_s)
                match rng.randrange(30):
                    case 0:
                        raise ScriptCrash("as drawn")
                    case 1:
                        raise PluginCallError(name, "as drawn")
                    case _:
                        world.received[session_id] = number
                        yield InboundMessage(
                            message_id=str(number),
                            channel_id="c1",
                            thread_id=session_id,
                            sender=UserIdentity(),
                            content="heard",
                        )
            world.heard_out.add(session_id)
        finally:
            world.live[name] -= 1

    async def send(_request: SendRequest, session_id: str, host: HostFunctions) -> SendResult:
        await trio.sleep(rng.random() * world.step_s)
        match rng.randrange(10):
            case 0:
                raise ScriptCrash("as drawn")
            case 1:
                raise PluginCallError(name, "as drawn")
            case 2:
                await host.check("kv.get", session_id)
            case _:
                pass
        return SendResult()

    return FakeChannel(listen=listen, send=send)


def chosen_provider(world: Simulated, name: str) -> FakeProvider:
    async def chat(
        _request: ChatRequest, session_id: str, host: HostFunctions
    ) -> AsyncGenerator[ChatEvent]:
        request = ExecuteRequest(tool_name="work", arguments="{}", session_id=session_id)
        async with aclosing(scripts(world, name)["work"](request, host)) as pieces:
            async for piece in pieces:
                yield TextDelta(piece)
        yield Done()

    return FakeProvider(chat=chat)


def chosen_manifest(rng: random.Random, name: str) -> Manifest:
    chosen = manifest(
        name,
        capabilities=("tool.*", "channel.*", "provider.*", "chain.*", "kv.get"),
        graceful_s=rng.choice([0.5, 5, GRACE_S]),
        restart=RestartPolicy(
            max_restarts=rng.choice([0, 2, 5]),
            period=20,
            backoff=rng.choice([0.01, 1]),
            backoff_max=5,
        ),
    )
    before = NAMES[: NAMES.index(name)]
    return attrs.evolve(
        chosen,
        type=rng.choice([PluginType.TOOL, PluginType.PROVIDER, PluginType.CHANNEL]),
        lifecycle=attrs.evolve(chosen.lifecycle, health_interval=rng.choice([3, 5])),
        dependencies=dict.fromkeys(before, "*") if before and rng.random() < 0.2 else {},
    )


def first_instances(script: HealthScript, *, count: int) -> HealthScript:
    """Ill in its first instances only: one that always falls ill after a while never settles."""
    instances = 0

    async def answer(number: int) -> Health:
        nonlocal instances
        instances += number == 1
        return await script(number) if instances <= count else Health(HealthStatus.HEALTHY)

    return answer


def chosen_plugin(world: Simulated, name: str, *, too_slow: bool) -> FakePlugin:
    rng = world.rng
    faults: list[Fault] = [Fail(), Crash(), Hang(), Slow(rng.random() * 4)]
    on_start = {number: rng.choice(faults) for number in range(1, 9) if rng.random() < 0.15}
    answers = {
        number: rng.choice([Health(HealthStatus.UNHEALTHY), *faults])
        for number in range(1, 6)
        if rng.random() < 0.1
    }
    match rng.randrange(8):
        case 0:
            answers |= dict.fromkeys(range(rng.randint(2, 5), 50), Hang())
        case 1:
            answers |= dict.fromkeys(range(2, 12, 2), Hang())
        case 2:
            answers[1] = Health(HealthStatus.UNHEALTHY)
        case _:
            pass
    return FakePlugin(
        tools=scripts(world, name),
        channel=chosen_channel(world, name),
        provider=chosen_provider(world, name),
        calls_at_once=1 if world.crossed else rng.choice([1, 1, 2, None]),
        start_s=3 if too_slow else rng.choice([0, 0.5, 1.5]),
        on_start={} if rng.random() < 0.5 else on_start,
        failing_starts=rng.choice([0, 0, 0, 1, 9]),
        health=first_instances(scripted_health(answers), count=rng.randrange(3)),
        shutdown_s=rng.choice([0, 0, 1, 1000]),
        close_s=rng.choice([0, 0, 0.1]),
    )


async def call_some(world: Simulated, runtime: Runtime) -> None:
    rng = world.rng
    await trio.sleep(rng.random() * world.spread_s * rng.choice([1, 1, 4]))
    for _ in range(rng.randint(1, 4)):
        await call(world, runtime)
        await trio.sleep(rng.random())


async def call(world: Simulated, runtime: Runtime) -> None:
    rng = world.rng
    name = rng.choice([world.favourite or rng.choice(NAMES), rng.choice(NAMES)])
    session = alice(runtime)
    world.begun += 1
    how, pieces = "lost", 0
    began, door, refused_as = trio.current_time(), door_of(runtime, name), None
    patience_s = rng.choice([0.1, 1, 5, 60])
    if world.patient and rng.random() < 0.7:
        patience_s = math.inf
    try:
        with trio.move_on_after(patience_s) as scope:
            async with session.execute(name, "work") as chunks:
                how = "finished"
                async for _ in chunks:
                    pieces += 1
                    if rng.random() < 0.1:
                        how = "left"
                        break
                    if rng.random() < 0.3:
                        await trio.sleep(rng.random())
        if scope.cancelled_caught:
            how = "cancelled"
    except (SigilError, ActorDownError) as error:
        how = type(error).__name__
        if isinstance(error, PluginUnavailableError):
            refused_as = error.reason
    except trio.Cancelled:
        how = "cancelled"
        raise
    finally:
        waited_s = trio.current_time() - began
        world.check(
            refused_as != "reloading" or waited_s > runtime.settings.swap_wait_s - 1e-6,
            f"a call of {name} waited {waited_s:g} s for a swap",
        )
        world.find(door.problem(f"a call of {name}", refused_as))
        world.ended.append(Ended(session.caller.session_id, name, how, pieces))


async def hear(world: Simulated, name: str, messages: Inbox) -> None:
    """Take a channel's messages: none is missing, also where another version takes over."""
    number, listening = -1, ""

    def check_last() -> None:
        world.check(number == world.received.get(listening, -1), f"{name}: the last was lost")

    try:
        async for message in messages:
            if message.thread_id != listening:
                check_last()
                number, listening = -1, message.thread_id
            world.check(int(message.message_id) == number + 1, f"{name}: no {number + 1} was heard")
            number += 1
            if world.rng.random() < 0.5:
                await trio.sleep(world.rng.random() * world.step_s)
    except SigilError:
        check_last()
        raise
    check_last()
    world.check(world.heard_out, f"{name}: a listening was over though no channel ended one")


async def talk(world: Simulated, runtime: Runtime) -> None:
    """Listen to a plugin, send by it, or chat with it; whether it can do that is another matter."""
    rng = world.rng
    await trio.sleep(rng.random() * world.spread_s * rng.choice([1, 1, 4]))
    name, session = world.favourite or rng.choice(NAMES), alice(runtime)
    with suppress(SigilError, ActorDownError), trio.move_on_after(rng.choice([0.5, 5, 50])):
        match runtime.get(name).type:
            case PluginType.CHANNEL if rng.random() < 0.7:
                async with session.listen(name) as messages:
                    await hear(world, name, messages)
            case PluginType.CHANNEL:
                await session.send(name, channel_id="c1", content="hello")
            case _:
                async with session.chat(name, model="m", messages=[]) as events:
                    async for _ in events:
                        pass


def check_outcomes(world: Simulated, entries: Sequence[AuditEntry]) -> None:
    """The log says of each call what its caller saw."""
    recorded: dict[tuple[str, str], list[AuditEntry]] = collections.defaultdict(list)
    for entry in entries:
        if entry.action == "outcome":
            recorded[entry.session_id, entry.plugin].append(entry)
    for call in world.ended:
        told = recorded[call.session, call.plugin]
        results = {one.result for one in told}
        world.check(results & RECORDED_AS.get(call.how, results) or not told, f"{call}: {results}")
        # A crash may have come before the call was decided: then there was none.
        undecided = call.how == "PluginCrashedError" and not call.pieces
        world.check(told or undecided or call.how not in RECORDED_AS, f"{call}: no outcome")
        if call.how == "finished":
            world.check(call.pieces in {one.details["chunks"] for one in told}, f"{call}: {told}")
        if call.how == "cancelled" and told:
            world.check(results - {"ok", "error"}, f"{call}: {results}")


def check_host_calls(world: Simulated, entries: Sequence[AuditEntry]) -> None:
    """The host's function ran no more often than that was allowed."""
    allowed = collections.Counter(
        entry.plugin
        for entry in entries
        if entry.capability == "chain.next" and entry.result == "allowed"
    )
    for name, count in world.asked.items():
        world.check(count <= allowed[name], f"{name}: {count} host calls, {allowed[name]} allowed")


async def operate(world: Simulated, runtime: Runtime, tier: FakeTier) -> None:
    rng = world.rng
    await trio.sleep(rng.random() * world.spread_s * rng.choice([1, 1, 4]))
    name = world.favourite or rng.choice(NAMES)
    verb = rng.choice(["start", "stop", "stop", "drain", "reload", *["take up"] * 4])
    if verb in ("stop", "drain"):
        for _ in range(rng.choice([0, 20])):
            if runtime.get(name).in_flight:  # else there is little to see
                break
            await trio.sleep(0.5)
    began = trio.current_time()
    world.orders += 1
    order = world.orders
    if verb not in ("stop", "drain"):
        world.wanted_up[name] = order
    patience_s = math.inf if world.patient else rng.choice([0.5, 2, 100, 100])
    with suppress(SigilError, ActorDownError), trio.move_on_after(patience_s):
        match verb:
            case "start":
                await runtime.start(name)
                world.stopped.discard(name)
            case "reload":
                await runtime.reload(name)
            case "take up":
                if rng.random() < 0.5:
                    tier.set_plugin(name, chosen_plugin(world, name, too_slow=False))
                actor = runtime._plugins.get(name)
                changed = attrs.evolve(actor.definition.manifest, version=f"{rng.randrange(4)}.0.0")
                definition = attrs.evolve(actor.definition, manifest=changed)
                result = await actor.reload(definition, only_if_changed=rng.random() < 0.7)
                if result is not ReloadResult.SKIPPED:
                    world.taken_up[name] = order, changed.version
            case _:
                world.stopped.add(name)
                await getattr(runtime, verb)(name)
                world.was_down[name] = max(order, world.was_down.get(name, 0))
                took, bound_s = trio.current_time() - began, BOUND_S
                if verb == "stop":
                    bound_s = STOP_BOUND_S
                world.check(took <= bound_s, f"{verb} of {name} took {took:.1f} s")


def unwanted_rest(world: Simulated, runtime: Runtime) -> list[str]:
    """What should run and doesn't: nobody stopped it, and its supervisor didn't give up on it."""
    return [
        f"{status.name} is {status.state} though nobody stopped it: {status.reason}"
        for status in runtime.list()
        if status.name not in world.stopped
        and not status.quarantined
        and not runtime._plugins.get(status.name)._roles.alive
    ]


def with_dependants(runtime: Runtime, names: Collection[str]) -> set[str]:
    """The plugins of these names, and all that depend on them."""
    dependants = runtime._plugins.dependants()
    found: set[str] = set()
    todo = list(names)
    while todo:
        name = todo.pop()
        found.add(name)
        todo.extend(one for one in dependants.get(name, ()) if one not in found)
    return found


def order_problems(world: Simulated, runtime: Runtime) -> list[str]:
    """What runs though it was stopped last, and what runs in another version than was taken up."""
    problems: list[str] = []
    for status in runtime.list():
        if status.state is not PluginState.RUNNING:
            continue
        wanted_up = world.wanted_up.get(status.name, 0)
        if world.was_down.get(status.name, 0) > wanted_up:
            problems.append(f"{status.name} runs though it was stopped last")
        order, version = world.taken_up.get(status.name, (0, ""))
        if order and order == wanted_up and status.version != version:
            problems.append(f"{status.name} runs in {status.version}, not in {version}")
    return problems


async def follow(world: Simulated, runtime: Runtime) -> None:
    """Read along, losing patience at times, most of all when something happens; none is lost."""
    scope = trio.CancelScope()

    async def disturb() -> None:
        while True:
            await runtime._plugins.get(world.favourite or NAMES[0]).wait_changed()
            if world.rng.random() < 0.3:
                scope.cancel()

    async with runtime.events() as stream, trio.open_nursery() as nursery:
        nursery.start_soon(disturb)
        with suppress(StopAsyncIteration):
            while True:
                scope = trio.move_on_after(world.rng.choice([0, 1, math.inf]))
                with scope:
                    world.events.append(await anext(stream))
        nursery.cancel_scope.cancel()


async def live(
    world: Simulated,
    runtime: Runtime,
    tier: FakeTier,
    store: MemoryAuditStore,
    too_slow: dict[str, bool],
) -> None:
    rng = world.rng
    with trio.move_on_after(math.inf if world.patient else rng.choice([5, 25, 200])):
        async with trio.open_nursery() as nursery:
            for _ in range(rng.randrange(5, 25)):
                nursery.start_soon(call_some, world, runtime)
            for _ in range(rng.randrange(8)):
                nursery.start_soon(operate, world, runtime, tier)
            for _ in range(rng.randrange(5)):
                nursery.start_soon(talk, world, runtime)
    world.violations += lease_problems(runtime)
    await trio.sleep(150)  # quiet, longer than anything falls ill by itself
    # One that never comes up in time crashes too seldom for its intensity.
    # So what depends on it may wait for ever.
    slow = list(with_dependants(runtime, [name for name, is_slow in too_slow.items() if is_slow]))
    world.violations += settled_problems(runtime, tier, besides=slow)
    world.violations += [] if slow else unwanted_rest(world, runtime)
    world.violations += status_problems(runtime, store.entries, besides=slow)
    world.violations += [] if slow else registration_problems(runtime, tier)
    world.violations += attention_problems(runtime, tier)
    world.violations += order_problems(world, runtime)


async def scenario(rng: random.Random) -> None:
    world = Simulated(
        rng,
        patient=rng.random() < 0.4,
        audit_fails=rng.random() < 0.5,
        spread_s=rng.choice([0.5, 2, 20]),
        step_s=rng.choice([3, 3, 20]),
        favourite=rng.choice([None, *NAMES]),
        crossed=rng.random() < 0.35,
    )
    too_slow = {name: rng.random() < 0.1 and not world.patient for name in NAMES}
    tier = FakeTier({name: chosen_plugin(world, name, too_slow=too_slow[name]) for name in NAMES})
    memory = MemoryAuditStore()
    failing = rng.sample(range(4, 60), 3) if world.audit_fails else []
    store = FaultyAuditStore(
        memory,
        fail_appends=failing,
        fail_openings=range(2, rng.choice([2, 2, 5])),  # so that it stays down for a while
        slow_s=rng.choice([0, 0, 0.01]),
    )

    async def next_(host_call: HostCall) -> bytes:
        world.check(host_call.session is not None, "a host call outside its call")
        assert host_call.session is not None
        world.asked[host_call.plugin] += 1
        name, refused_as = rng.choice(NAMES), None
        door = door_of(runtimes[0], name, host_call.session._calls._chain)
        try:
            text = await host_call.session.execute_text(name, "work")
        except PluginUnavailableError as error:
            refused_as = error.reason
            raise
        except PluginCallError:
            refused_as = "too deep, or over"
            raise
        finally:
            world.find(door.problem(f"a call of {name} within another", refused_as))
        return text.encode()

    leave_by_error = rng.random() < 0.3
    is_cut = rng.random() < 0.3 and not world.patient
    cut_s = rng.choice([0.0, 0.3, 20]) * rng.random() if is_cut else math.inf
    left_at = 0.0
    runtimes: list[Runtime] = []
    is_leaving = False
    watched = after_every_step(
        calls_recorded_first(tier, lambda: memory.entries),
        one_instance_each(tier, swapping=lambda name: swaps_beside(runtimes[0], name)),
        calls_within_bounds(tier),
    )
    with no_task_left(), watched, trio.move_on_after(cut_s) as cut, ExitStack() as leaving:
        async with trio.open_nursery() as following:
            try:
                async with open_runtime(
                    manifests=[(chosen_manifest(rng, name), None) for name in NAMES],
                    audit_store=store,
                    tiers=[tier],
                    host_functions={"chain.next": next_},
                    settings=RuntimeSettings(start_timeout_s=2, call_depth=4, host_calls_per_s=50),
                ) as runtime:
                    runtimes.append(runtime)
                    following.start_soon(follow, world, runtime)
                    with after_every_step(
                        states_in_order(runtime),
                        one_serves_each(runtime, tier),
                        ends_are_prompt(runtime, tier),
                        no_circles(runtime),
                        living(
                            runtime,
                            drains_wait(runtime),
                            orders_are_heard(tier),
                            trials_are_single(),
                            needs_came_first(runtime),
                            health_counts(tier),
                        ),
                    ):
                        await live(world, runtime, tier, memory, too_slow)
                    leaving.enter_context(
                        after_every_step(
                            living(runtime, ends_in_order(is_leaving=lambda: is_leaving))
                        )
                    )
                    left_at = trio.current_time()
                    is_leaving = not leave_by_error
                    if leave_by_error:
                        raise ZeroDivisionError  # noqa: TRY301 - what a body would do
            except ZeroDivisionError:
                world.check(leave_by_error, "an error of nobody's")
    if cut.cancelled_caught:
        took, bound_s = trio.current_time() - cut_s, 5.0
    else:
        took, bound_s = trio.current_time() - left_at, 5.0 if leave_by_error else BOUND_S
    # The enforcer's last tries with a store that fails come on top.
    world.check(took <= bound_s + 3, f"leaving took {took:.1f} s")
    world.check(not tier.open_sessions, "sessions left over")
    world.check(len(world.ended) == world.begun, f"calls lost: {world.ended}")
    world.check(all(one.how != "lost" for one in world.ended), "a call ended in no way")
    world.check(not +world.live, f"still in a plugin: {world.live}")
    # A log that is down when all ends may lack the last steps.
    reached: list[FakeCall | FakeAsk] = [*tier.calls, *tier.asks]
    world.violations += log_problems(memory.entries, calls=reached, ended=not world.audit_fails)
    check_host_calls(world, memory.entries)
    world.violations += sequence_problems(world.events)
    if not (leave_by_error or is_cut or world.audit_fails):  # else the log may lack some
        world.violations += story_problems(world.events, memory.entries)
    if not (leave_by_error or is_cut):  # in a hurry, outcomes may be given up
        check_outcomes(world, memory.entries)
        world.check(
            any(entry.action == "audit_gap" for entry in memory.entries)
            or all(one.how != "AuditUnavailableError" for one in world.ended),
            "checks were missed and the log has no gap",
        )
    assert not world.violations, world.violations


def test_no_seed_breaks_an_invariant(simulate_seeds: SeedRuns) -> None:
    simulate_seeds(scenario)


def test_the_same_seed_is_the_same_run() -> None:
    traces = {simulate(7, scenario) for _ in range(3)}
    assert len(traces) == 1
    assert simulate(8, scenario) not in traces


def test_a_broken_promise_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """To know that it can fail: turns that don't exclude, and steps that aren't checked."""
    from sigil_actors.runtime.chain import Turns

    async def no_turn(self: Turns, chain: object, at_once: int) -> None:
        await trio.lowlevel.checkpoint()

    monkeypatch.setattr(Turns, "_wait_turn", no_turn)
    with pytest.raises(AssertionError, match="calls at once"):
        for seed in range(20):
            simulate(seed, scenario)
