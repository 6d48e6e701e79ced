"""Whether a plugin that is loaded and stopped 500 times leaves anything behind.

Memory is what this process alone has to itself. Some MiB may stay, since an allocator keeps pages
of which a little is in use; a leak of a store (some 100 KiB) or of a module a load would show as 50
MiB or more.
"""

import gc
import time
from collections.abc import Mapping, Sequence

import psutil
import trio

from benchmarks.harness import Budget, Goal, Measure, Row, Side, ours_at_most
from benchmarks.scratch import scratch_folder
from benchmarks.text_tool import ARGUMENTS, PLUGIN, TOOL, open_text_tool
from sigil_actors import Runtime, Session, SqliteAuditStore

LOADS = 500
WARM_UP = 50
"""Loads before the first look: what is made once and kept is there by then."""

SETTLE_S = 15.0
"""How long a thread may take to go: trio's idle workers stay for 10 s."""

MIB = 1024 * 1024
GOALS: Mapping[str, tuple[str, Goal]] = {
    "memory": ("MiB", ours_at_most(4)),
    "threads": ("more", ours_at_most(0)),
    "descriptors": ("more", ours_at_most(0)),
    "tasks": ("more", ours_at_most(0)),
}


async def _load_and_stop(runtime: Runtime, session: Session, times: int) -> None:
    for _ in range(times):
        await runtime.drain(PLUGIN)
        await runtime.start(PLUGIN)
        await session.execute_text(PLUGIN, TOOL, ARGUMENTS)


def _look() -> Mapping[str, float]:
    gc.collect()
    process = psutil.Process()
    return {
        "memory": process.memory_full_info().uss / MIB,
        "threads": process.num_threads(),
        "descriptors": process.num_fds(),
        "tasks": trio.lowlevel.current_statistics().tasks_living,
    }


async def _look_when_settled(before: Mapping[str, float], settle_s: float) -> Mapping[str, float]:
    end = time.perf_counter() + settle_s
    while True:
        now = _look()
        if time.perf_counter() >= end or all(
            now[name] <= before[name] for name in ("threads", "descriptors", "tasks")
        ):
            return now
        await trio.sleep(0.2)


async def _measure(budget: Budget, store: SqliteAuditStore) -> Mapping[str, float]:
    async with open_text_tool(store) as (runtime, session):
        await _load_and_stop(runtime, session, budget.of(WARM_UP))
        before = _look()
        await _load_and_stop(runtime, session, budget.of(LOADS))
        after = await _look_when_settled(before, SETTLE_S * budget.share)
    return {name: after[name] - before[name] for name in GOALS}


def _run(budget: Budget) -> Sequence[Row]:
    with scratch_folder() as (folder, _):
        grown = trio.run(_measure, budget, SqliteAuditStore(folder / "audit"))
    return [
        Row(
            name=f"leak_{LOADS}/{name}",
            what=f"{name} more after {budget.of(LOADS)} loads and stops of a Wasm plugin",
            unit=unit,
            ours=Side("sigil-actors", [grown[name]]),
            goal=goal,
        )
        for name, (unit, goal) in GOALS.items()
    ]


MEASURES = (
    Measure(
        name=f"leak_{LOADS}",
        what=f"What {LOADS} loads and stops of a Wasm plugin leave behind",
        run=_run,
    ),
)
