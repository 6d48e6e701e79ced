"""What the simulation holds against the runtime's own objects: drains, dependencies, admission.

Those that return a `LivingCheck` are for `living`, which is for `after_every_step`.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import attrs
import trio

from sigil_actors import AuditEntry, PluginState, PluginType, Runtime
from sigil_actors.core.calls import HealthStatus
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.deployment import Deployment
from sigil_actors.runtime.events import EventKind, RuntimeEvent
from sigil_actors.runtime.instance_life import HEALTH_S
from sigil_actors.runtime.stop_order import StopKind
from sigil_actors.testing import Check, FakeSession, FakeTier
from sigil_actors.testing.momentary import deployments

UNHEARD_S = 0.5
"""Of virtual time, in which an order has long been heard."""

Key = tuple[str, int]

LivingCheck = Callable[[Sequence[Deployment]], str | None]
"""As `Check`, and is given all versions of which anything is left."""


def living(runtime: Runtime, *checks: LivingCheck) -> Check:
    """Make one check of several that look at the same: gathering it takes longer than looking."""

    def check() -> str | None:
        found = deployments(runtime)
        return next((what for one in checks if (what := one(found)) is not None), None)

    return check


def key_of(deployment: Deployment) -> Key:
    return deployment.life.name, deployment.life.generation


def drains_wait(runtime: Runtime) -> LivingCheck:
    """Check that an instance that is drained goes on until its calls left or its time is up.

    And no longer, and not for listeners; and that who is in it when it ends by itself is told.
    """
    since: dict[Key, float] = {}
    hurried: dict[Key, float] = {}
    emptied: set[Key] = set()

    def check(found: Sequence[Deployment]) -> str | None:
        wrong = None
        for deployment in found:
            key = key_of(deployment)
            if deployment.state is PluginState.DRAINING:
                now = trio.current_time()
                graceful_s = deployment.definition.manifest.lifecycle.graceful_shutdown_timeout
                late_s = now - since.setdefault(key, now) - graceful_s
                if deployment.order.kind is not StopKind.DRAIN:
                    began = hurried.setdefault(key, now)
                    late_s = max(late_s, now - began - runtime.settings.stop_grace_s)
                if late_s > UNHEARD_S:
                    wrong = f"{key}: drains {late_s:g} s longer than it may"
                listeners = sum(lease._stays for lease in deployment.gate._leases)
                if listeners and now - since[key] > UNHEARD_S:
                    wrong = f"{key}: drains with {listeners} listeners in it"
                if not deployment.gate.in_flight:
                    emptied.add(key)
            elif deployment.state is PluginState.STOPPING and key not in emptied:
                emptied.add(key)  # looked at once, as it begins to stop
                lifecycle = deployment.definition.manifest.lifecycle
                bound_s = lifecycle.graceful_shutdown_timeout
                if deployment.order.kind is not StopKind.DRAIN:
                    bound_s = min(bound_s, runtime.settings.stop_grace_s)
                lasted_s = trio.current_time() - since.get(key, trio.current_time())
                if deployment.gate.in_flight and lasted_s < bound_s - 1e-6:
                    wrong = f"{key}: drained {lasted_s:g} s, not {bound_s:g}, with calls in it"
            elif deployment.life.is_final and deployment.gate.ended_by is None:
                if deployment.gate.in_flight:
                    wrong = f"{key}: has ended, and those in it weren't told"
        return wrong

    return check


def orders_are_heard(tier: FakeTier) -> LivingCheck:
    """Check that what is told to end while it loads stops loading."""
    since: dict[Key, float] = {}

    def check(found: Sequence[Deployment]) -> str | None:
        wrong = None
        for deployment in found:
            if deployment.state is not PluginState.LOADING or deployment.order.kind is None:
                continue
            key = key_of(deployment)
            began = since.setdefault(key, trio.current_time())
            is_up = any((one.plugin, one.generation) == key for one in tier.open_sessions)
            if not is_up and trio.current_time() - began > UNHEARD_S:
                wrong = f"{key}: loads on though it was told to end"
        return wrong

    return check


def trials_are_single() -> LivingCheck:
    """Check that a version on trial is started once, and is one of two until it serves."""

    def check(found: Sequence[Deployment]) -> str | None:
        for name, count in Counter(one.definition.name for one in found).items():
            if count > 2:
                return f"{name}: {count} versions at the same time"
        for deployment in found:
            if deployment.is_on_trial and (deployment.restarts or deployment.is_running):
                return f"{key_of(deployment)}: on trial, restarted or serving"
        return None

    return check


def needs_came_first(runtime: Runtime) -> LivingCheck:
    """Check that what a plugin depends on has run before it was started."""
    seen: dict[Deployment, set[str]] = {}
    started: set[Deployment] = set()

    def check(found: Sequence[Deployment]) -> str | None:
        wrong = None
        for deployment in found:
            needs = deployment.definition.manifest.dependencies
            if not needs or deployment in started:
                continue
            met = seen.setdefault(deployment, set())
            met.update(
                name
                for name in needs
                if (actor := runtime._plugins.find(name)) is not None and actor.is_running
            )
            if deployment.life.generation:
                started.add(deployment)
                if missing := needs.keys() - met:
                    wrong = f"{key_of(deployment)} starts before {sorted(missing)}"
        return wrong

    return check


def ends_in_order(*, is_leaving: Callable[[], bool]) -> LivingCheck:
    """Check that on leaving nothing is told to end before what depends on it is gone."""
    before: set[Deployment] = set()

    def check(found: Sequence[Deployment]) -> str | None:
        ordered = [one for one in found if one.order.kind is not None]
        if not is_leaving():
            before.update(ordered)
            return None
        for deployment in ordered:
            name = deployment.definition.name
            others = [one for one in found if one.definition.name == name]
            if deployment in before or not all(one in ordered for one in others):
                continue
            before.add(deployment)
            for one in found:
                needs = one.definition.manifest.dependencies
                if name in needs and deployment.order.kind is not StopKind.KILL:
                    return f"{name} is stopped before {one.definition.name}"
        return None

    return check


def health_counts(tier: FakeTier) -> LivingCheck:
    """Check that what says that it is ill takes no calls, and who is given up on was silent."""
    sessions: dict[Key, FakeSession] = {}

    def check(found: Sequence[Deployment]) -> str | None:
        for session in tier.open_sessions:
            sessions.setdefault((session.plugin, session.generation), session)
        for deployment in found:
            known = sessions.get(key_of(deployment))
            if known is None:
                continue
            is_open = deployment.is_running and deployment.gate.ended_by is None
            if is_open and known.said is HealthStatus.UNHEALTHY:
                return f"{key_of(deployment)}: serves though it says that it is unhealthy"
            is_silent = "health checks in a row" in deployment.reason
            ended = deployment.state is PluginState.ERROR
            if ended and is_silent and known.unanswered < 3:
                return f"{key_of(deployment)}: ended for {known.unanswered} answers that it owed"
        return None

    return check


def no_circles(runtime: Runtime) -> Check:
    """Check that no call waits for a turn that comes only after its own end."""
    record = runtime._services.waits._by_chain

    def follow(chain: Chain, seen: set[Chain]) -> Iterator[Chain]:
        """Yield the calls that have to end before `chain` can go on."""
        for waiter, turns in record.items():
            # One whose turn has come only has to wake.
            is_waiting = waiter not in seen and waiter not in turns.holders
            if not is_waiting or not chain.is_part_of(waiter):
                continue
            seen.add(waiter)
            for holder in turns.holders:
                yield holder
                yield from follow(holder, seen)

    def check() -> str | None:
        for chain in record if len(record) > 1 else ():
            if any(holder.is_part_of(chain) for holder in follow(chain, set())):
                return f"a call through {chain.plugins} waits for itself"
        return None

    return check


def swaps_beside(runtime: Runtime, name: str) -> bool:
    """Tell whether two instances of a plugin may be up now; two of a channel never."""
    status = runtime.get(name)
    return status.is_swapping and status.type is not PluginType.CHANNEL


@attrs.frozen
class Door:
    """Whether a call that comes now has to be let in, or turned away; neither where it waits."""

    has_to_enter: bool = False
    has_to_go: bool = False

    def problem(self, call: str, refused_as: str | None) -> str | None:
        """Return what is wrong with how a call fared, given the word it was refused with."""
        if self.has_to_go and refused_as is None:
            return f"{call} came in after the door was shut"
        if self.has_to_enter and refused_as in ("draining", "reloading"):
            return f"{call} had begun before the drain, and was refused: {refused_as}"
        return None


def door_of(runtime: Runtime, name: str, chain: Chain | None = None) -> Door:
    """Look at a plugin's door; no checkpoint may come between this and the call."""
    roles = runtime._plugins.get(name)._roles
    current = roles.current
    if current is None or current.is_over:
        return Door(has_to_go=not roles.alive)
    if current.state is PluginState.DRAINING and current.drain_began is not None:
        if chain is not None and chain.began < current.drain_began:
            return Door(has_to_enter=current.instance is not None)
        return Door(has_to_go=not roles.is_swapping_in_place)
    final = (PluginState.STOPPING, PluginState.STOPPED, PluginState.ERROR)
    return Door(has_to_go=current.state in final and not roles.is_swapping_in_place)


def attention_problems(runtime: Runtime, tier: FakeTier) -> list[str]:
    """Return which plugins weren't asked for long how they are. For when it is quiet."""
    intervals = {
        key_of(one): one.definition.manifest.lifecycle.health_interval
        for one in deployments(runtime)
    }
    return [
        f"{session.plugin} wasn't asked for {unasked_s:g} s how it is"
        for session in tier.open_sessions
        if (unasked_s := trio.current_time() - session.asked_at)
        > 2 * (intervals.get((session.plugin, session.generation), math.inf) + HEALTH_S)
    ]


def registration_problems(runtime: Runtime, tier: FakeTier) -> list[str]:
    """Return of which plugins other generations are registered than live. For when it is quiet."""
    up = {(session.plugin, session.generation) for session in tier.open_sessions}
    registered = {
        (name, generation)
        for name, generations in runtime.enforcer._registry._plugins.items()
        for generation in generations
    }
    return [f"registered is {registered}, up is {up}"] if registered != up else []


def sequence_problems(events: Sequence[RuntimeEvent]) -> list[str]:
    """Return where events are missing, and which versions took over without running."""
    problems: list[str] = []
    states: dict[Key, PluginState | None] = {}
    for before, event in zip([None, *events], events, strict=False):
        if before is not None and event.seq != before.seq + 1 + event.missed:
            problems.append(f"event {event.seq} came after {before.seq}")
        key = event.plugin, event.generation
        if event.kind is EventKind.LIFECYCLE:
            states[key] = event.state
        # One that came up before anybody followed has no state here.
        if event.kind is EventKind.SWAPPED and states.get(key, "") != PluginState.RUNNING:
            problems.append(f"{key} took over in state {states.get(key)}")
    return problems


def story_problems(events: Sequence[RuntimeEvent], entries: Iterable[AuditEntry]) -> list[str]:
    """Return of which plugins the events tell another story than the whole log does."""
    told: dict[str, list[tuple[object, str]]] = {}
    for event in events:
        if event.kind in (EventKind.LIFECYCLE, EventKind.QUARANTINED):
            step = event.state or event.kind
            told.setdefault(event.plugin, []).append((event.generation, str(step)))
    logged: dict[str, list[tuple[object, str]]] = {}
    for entry in entries:
        if entry.action == "lifecycle":
            taken = entry.details.get("generation"), entry.result
            logged.setdefault(entry.plugin, []).append(taken)
    # What happened before anybody followed isn't among the events: a first start at most.
    return [
        f"{plugin}: the log has {steps}, the events {told.get(plugin)}"
        for plugin, steps in logged.items()
        if (missing := len(steps) - len(told.get(plugin, ()))) not in range(4)
        or steps[missing:] != told.get(plugin, [])
    ]
