"""Audited decisions a second: each is on the disk before its asker hears of it.

The reference is what one would write first: the same store, one entry a commit, one after another,
without any enforcer around it.
"""

import time
from collections.abc import Sequence
from functools import partial
from itertools import count, cycle
from pathlib import Path

import trio

from benchmarks.harness import Budget, Compared, Goal, Measure, Row, Side, in_turn, ratio_at_least
from benchmarks.peers import new_policy
from benchmarks.scratch import scratch_folder
from benchmarks.workload import (
    CAPABILITIES,
    PLUGIN_ALLOW,
    PLUGIN_DENY,
    USER_PERMISSIONS,
    WORKSPACE_ALLOW,
)
from sigil_actors import (
    AuditEntry,
    AuditStore,
    CapabilitySet,
    CheckRequest,
    Enforcer,
    SqliteAuditStore,
    open_enforcer,
)
from sigil_actors.runtime.clock import SystemClock

# Only what is allowed: a denial is an exception at the asker's, which isn't what is measured.
ALLOWED = tuple(
    capability for capability in CAPABILITIES if new_policy().decide(capability).allowed
)
WORKSPACE = CapabilitySet(*WORKSPACE_ALLOW)
USER = CapabilitySet(*USER_PERMISSIONS)


async def _commit_per_entry(store: AuditStore, sample_s: float) -> float:
    """Return how many entries a second are stored when each has a commit of its own."""
    clock = SystemClock()
    capabilities = cycle(ALLOWED)
    start = time.perf_counter()
    for stored in count(1):
        entry = AuditEntry(
            action="capability_check",
            timestamp=clock.now(),
            actor="user-1",
            plugin="plugin-1",
            workspace_id="ws-1",
            user_id="user-1",
            session_id="session-1",
            capability=next(capabilities),
            result="allowed",
            reason="ok",
        )
        await store.append([entry])
        spent = time.perf_counter() - start
        if spent >= sample_s:
            return stored / spent
    raise AssertionError("count() ended")


async def _ask(enforcer: Enforcer, number: int, until: float, decisions: list[int]) -> None:
    decided = 0
    while time.perf_counter() < until:
        await enforcer.check(
            CheckRequest(
                "plugin-1",
                ALLOWED[(number * 17 + decided) % len(ALLOWED)],
                "ws-1",
                WORKSPACE,
                USER,
                user_id="user-1",
                session_id="session-1",
            )
        )
        decided += 1
    decisions.append(decided)


async def _group_commit(enforcer: Enforcer, askers: int, sample_s: float) -> float:
    """Return how many decisions a second `askers` get, each asking again once it has an answer."""
    decisions: list[int] = []
    start = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(askers):
            nursery.start_soon(_ask, enforcer, number, start + sample_s, decisions)
    return sum(decisions) / (time.perf_counter() - start)


async def _compare(budget: Budget, askers: int, folder: Path) -> tuple[Side, Side]:
    ours, reference = Side("sigil-actors"), Side("a commit per entry")
    async with (
        open_enforcer(SqliteAuditStore(folder / "ours")) as enforcer,
        SqliteAuditStore(folder / "reference") as store,
    ):
        await enforcer.register_plugin("plugin-1", PLUGIN_ALLOW, PLUGIN_DENY)
        await _group_commit(enforcer, askers, budget.sample_s / 4)  # makes threads and the memo
        for side in in_turn(budget.rounds, ours, reference):
            if side is ours:
                side.values.append(await _group_commit(enforcer, askers, budget.sample_s))
            else:
                side.values.append(await _commit_per_entry(store, budget.sample_s))
    return ours, reference


def _run(budget: Budget, askers: int, goal: Goal | None) -> Sequence[Row]:
    with scratch_folder() as (folder, file_system):
        ours, reference = trio.run(_compare, budget, askers, folder)
    return [
        Row(
            name=f"audited_{askers}",
            what=f"durable audited decisions, {askers} at once",
            unit="1/s",
            ours=ours,
            reference=reference,
            compared=Compared.RATE,
            goal=goal,
            notes={"file_system": file_system},
        )
    ]


MEASURES = tuple(
    Measure(
        name=f"audited_{askers}",
        what=f"Durable audited decisions a second with {askers} askers, against commit per entry",
        run=partial(_run, askers=askers, goal=goal),
    )
    for askers, goal in ((1, None), (16, None), (256, ratio_at_least(20)))
)
