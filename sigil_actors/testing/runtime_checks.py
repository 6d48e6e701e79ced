"""Invariants of a running runtime over a fake tier.

Those that hold at every moment are made for `after_every_step`. Those that hold once callers have
gone and everything is quiet return what is wrong, in words; nothing is good news.
"""

from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import contextmanager

import trio

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.calls import HealthStatus
from sigil_actors.core.lifecycle import TRANSITIONS, PluginState
from sigil_actors.runtime.instance_life import HEALTH_MISSES_MAX
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.testing.every_step import Check, InvariantError
from sigil_actors.testing.fake_services import FakeAsk
from sigil_actors.testing.fake_session import FakeCall, FakeSession
from sigil_actors.testing.fake_tier import FakeTier
from sigil_actors.testing.momentary import deployments

# At every moment


def calls_recorded_first(tier: FakeTier, entries: Callable[[], Sequence[AuditEntry]]) -> Check:
    """Check that no call reaches a plugin without an allowed entry that is stored already.

    `entries` returns what is stored so far: `lambda: store.entries` of a `MemoryAuditStore`.

    Counted by plugin and capability: a call that runs on the entry of another, which is still to
    reach the plugin, isn't found. What reaches a plugin carries a token, and not who called.
    """
    allowed: Counter[tuple[str, str]] = Counter()
    reached: Counter[tuple[str, str]] = Counter()
    read = 0

    seen_calls = seen_asks = 0

    def check() -> str | None:
        nonlocal read, seen_calls, seen_asks
        calls, asks = tier.calls[seen_calls:], tier.asks[seen_asks:]
        if not calls and not asks:
            return None
        seen_calls += len(calls)
        seen_asks += len(asks)
        stored = entries()
        allowed.update(
            (entry.plugin, entry.capability)
            for entry in stored[read:]
            if entry.action == "capability_check" and entry.result == "allowed"
        )
        read = len(stored)
        wrong = None
        reaching: list[FakeCall | FakeAsk] = [*calls, *asks]
        for one in reaching:
            key = one.plugin, one.capability
            reached[key] += 1
            if reached[key] > allowed[key]:
                wrong = f"{one.plugin}: a call for {key[1]} runs that isn't recorded as allowed"
        return wrong

    return check


def one_instance_each(
    tier: FakeTier, *, swapping: Callable[[str], bool] = lambda _plugin: False
) -> Check:
    """Check that each plugin has at most one instance; two while `swapping` says that it swaps."""

    def check() -> str | None:
        if len(tier.open_sessions) < 2:  # noqa: PLR2004 - two are the fewest that can be too many
            return None
        for plugin, count in Counter(one.plugin for one in tier.open_sessions).items():
            if count > 1 and count > 1 + swapping(plugin):
                return f"{plugin}: {count} instances at the same time"
        return None

    return check


def one_serves_each(runtime: Runtime, tier: FakeTier) -> Check:
    """Check that of each plugin one generation takes calls, and two live only inside a swap."""

    def check() -> str | None:
        # The tree costs more than a step: it is drawn only where two of a plugin are up.
        up = [session.plugin for session in tier.open_sessions]
        if len(up) == len(set(up)):
            return None
        plugins = runtime.tree().find("plugins")
        for plugin in () if plugins is None else plugins.children:
            if len(plugin.children) < 2:  # noqa: PLR2004 - two are the fewest that can be too many
                continue
            status = runtime.get(plugin.name)
            leaving = status.draining_generations
            serving = [
                one.generation
                for one in plugin.children
                if one.state == PluginState.RUNNING and one.generation not in leaving
            ]
            if len(serving) > 1 or len(plugin.children) > 2 or not status.is_swapping:  # noqa: PLR2004
                living = [one.generation for one in plugin.children]
                return f"{plugin.name}: generations {living} live, {serving} serve"
        return None

    return check


def calls_within_bounds(tier: FakeTier) -> Check:
    """Check that no instance has more calls in it than it takes at once."""

    def check() -> str | None:
        for session in tier.open_sessions:
            bound = session.calls_at_once
            if bound is not None and session.calls_inside > bound:
                return f"{session.plugin}: {session.calls_inside} calls at once, {bound} allowed"
        return None

    return check


def states_in_order(runtime: Runtime) -> Check:
    """Check that each generation's state moves along the lifecycle table, and none comes back.

    A task may take several steps at once, so whatever the table leads to in the end will do; the
    steps one by one are in the log, for `lifecycle_problems`.
    """
    before: dict[tuple[str, int], PluginState] = {}

    def check() -> str | None:
        wrong = None
        for deployment in deployments(runtime):
            life = deployment.life
            key, now = (life.name, life.generation), life.state
            then = before.get(key, now)
            if then is now and key in before:
                continue
            before[key] = now
            if now not in _REACHABLE[then]:
                wrong = f"{life.name}: generation {life.generation} went from {then} to {now}"
        return wrong

    return check


def _reachable(state: PluginState) -> frozenset[PluginState]:
    found = {state}
    todo = [state]
    while todo:
        for following in TRANSITIONS[todo.pop()] - found:
            found.add(following)
            todo.append(following)
    return frozenset(found)


_REACHABLE = {state: _reachable(state) for state in PluginState}

# When it is quiet


def lease_problems(runtime: Runtime) -> list[str]:
    """Return which plugins have calls in them. For when no caller is left."""
    return [
        f"{status.name}: {status.in_flight} leases left"
        for status in runtime.list()
        if status.in_flight
    ]


def settled_problems(
    runtime: Runtime, tier: FakeTier, *, besides: Collection[str] = ()
) -> list[str]:
    """Return which plugins haven't come to rest: what should run runs, and nothing else does.

    For when everything has been quiet for longer than any backoff. `besides` names plugins of which
    nothing is known: one that never comes up in time may try for ever.
    """
    problems: list[str] = []
    up = Counter(session.plugin for session in tier.open_sessions)
    for status in runtime.list():
        if status.name in besides:
            continue
        at_rest = status.state is PluginState.RUNNING or not TRANSITIONS[status.state]
        # It waits for what it depends on, or was stopped before it came to run.
        at_rest |= status.state is PluginState.DISCOVERED and bool(status.reason)
        if not at_rest:
            problems.append(f"{status.name} never settled: {status.state}")
        elif status.is_swapping:
            problems.append(f"{status.name} never finished a swap")
        elif status.restart_in_s is not None:
            problems.append(f"{status.name} is {status.state} and still to be started again")
        if up[status.name] != (status.state is PluginState.RUNNING):
            problems.append(f"{status.name} is {status.state} and has {up[status.name]} instances")
    problems += _neglected(
        session for session in tier.open_sessions if session.plugin not in besides
    )
    return problems


def _neglected(sessions: Iterable[FakeSession]) -> list[str]:
    """Return of which instances nobody noticed that they are gone, or ill."""
    problems: list[str] = []
    for session in sessions:
        if session.has_ended:
            problems.append(f"{session.plugin} has crashed, and nobody noticed")
        elif session.said is HealthStatus.UNHEALTHY or session.unanswered > HEALTH_MISSES_MAX:
            problems.append(f"{session.plugin} is ill, and nobody does anything about it")
    return problems


def status_problems(
    runtime: Runtime, entries: Sequence[AuditEntry], *, besides: Collection[str] = ()
) -> list[str]:
    """Return of which plugins the log says something else than their status does.

    For when everything has been quiet for a while: a lifecycle step is stored soon after it is
    taken.
    """
    logged = {
        (entry.plugin, entry.details.get("generation")): entry.result
        for entry in entries
        if entry.action == "lifecycle" and entry.result in _REACHABLE
    }
    return [
        f"{status.name} is {status.state}, the log says {said}"
        for status in runtime.list()
        if status.name not in besides
        and status.generation > 0
        and (said := logged.get((status.name, status.generation))) != status.state
    ]


@contextmanager
def no_task_left() -> Generator[None]:
    """Check that the block leaves no task behind that wasn't there before.

    Raises:
        InvariantError: on leaving normally; there are more tasks.
    """
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    left = trio.lowlevel.current_statistics().tasks_living - before
    if left > 0:
        raise InvariantError([f"{left} tasks were left behind"])
