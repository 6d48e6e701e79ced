"""A plugin that is replaced again and again while 64 callers call it without pause.

Through the whole stack, from a folder on a disk: its copy, its registration, its new instance, the
turn of the gate, the drain of the old one. Once over a fake tier, where the swap itself is what is
measured, and once over a real Wasm guest.
"""

import shutil
import statistics
import time
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from benchmarks.harness import (
    BenchmarkError,
    Budget,
    Compared,
    Comparison,
    Goal,
    Measure,
    Row,
    Side,
    Subject,
    ours_at_most,
)
from benchmarks.scratch import scratch_folder
from benchmarks.text_tool import ARGUMENTS, FOLDER, PLUGIN, TOOL
from sigil_actors import (
    CapabilitySet,
    MemoryAuditStore,
    Runtime,
    RuntimeSettings,
    Session,
    SigilError,
    open_runtime,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Tier
from sigil_actors.testing.fake_plugin import FakePlugin
from sigil_actors.testing.fake_tier import FakeTier
from sigil_actors.tiers.wasm import WasmTier

CALLERS = 64
RELOADS = 50
CALLS = 100_000
PATIENCE_S = 600.0
"""What one line may take; far more than it does on a slow machine."""
MILLISECONDS = 1e3


@attrs.define
class _Call:
    began: float
    ended: float


@attrs.define
class _Run:
    """What is seen while callers call and versions change."""

    calls: list[_Call] = attrs.field(factory=list)
    failures: list[str] = attrs.field(factory=list)
    swaps: list[tuple[float, float]] = attrs.field(factory=list)
    """From the moment a reload is asked for to when the new version serves."""
    is_over: bool = False
    awaited: int = 0
    """How many calls somebody waits for."""
    reached: trio.Event = attrs.field(factory=trio.Event)

    def add(self, call: _Call) -> None:
        self.calls.append(call)
        if len(self.calls) >= self.awaited:
            self.reached.set()

    async def wait_for_calls(self, count: int) -> None:
        """Wait until so many calls have ended, well or not."""
        self.awaited, self.reached = count, trio.Event()
        if len(self.calls) < count:
            await self.reached.wait()

    def latencies(self, *, in_a_swap: bool) -> list[float]:
        """Return what the calls took that lay in a swap at least in part, or of all others."""
        return [
            call.ended - call.began
            for call in self.calls
            if in_a_swap
            is any(call.began <= end and call.ended >= start for start, end in self.swaps)
        ]


async def _keep_calling(session: Session, run: _Run) -> None:
    while not run.is_over:
        began = time.perf_counter()
        try:
            await session.execute_text(PLUGIN, TOOL, ARGUMENTS)
        except SigilError as error:
            run.failures.append(f"{type(error).__name__}: {error.what}")
        run.add(_Call(began, time.perf_counter()))


async def _keep_reloading(
    runtime: Runtime, folder: Path, run: _Run, *, reloads: int, calls: int
) -> None:
    """Spread the reloads over the calls, so that as many lie between two of them."""
    for number in range(reloads):
        await run.wait_for_calls(calls * (number + 1) // (reloads + 1))
        (folder / "edited").write_text(str(number))
        start = time.perf_counter()
        await runtime.reload(PLUGIN)
        run.swaps.append((start, time.perf_counter()))
    await run.wait_for_calls(calls)
    run.is_over = True


async def _find(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "the wanted line"


def _fake_tier() -> Tier:
    return FakeTier({PLUGIN: FakePlugin(tools={TOOL: _find})})


async def _measure(tier: Tier, plugins: Path, *, reloads: int, calls: int) -> _Run:
    everything = CapabilitySet("*")
    run = _Run()
    with trio.fail_after(PATIENCE_S):
        async with (
            open_runtime(
                plugins,
                audit_store=MemoryAuditStore(),
                tiers=[tier],
                settings=RuntimeSettings(watch_plugins=False),
            ) as runtime,
            trio.open_nursery() as nursery,
        ):
            await runtime.wait_until_running(PLUGIN)
            session = runtime.session(
                workspace_id="ws-1",
                workspace_allow=everything,
                user_id="user-1",
                user_permissions=everything,
            )
            for _ in range(CALLERS):
                nursery.start_soon(_keep_calling, session, run)
            await _keep_reloading(runtime, plugins / PLUGIN, run, reloads=reloads, calls=calls)
    return run


def _rows(name: str, tier: Tier, budget: Budget) -> Sequence[Row]:
    reloads, calls = budget.of(RELOADS), budget.of(CALLS)
    with scratch_folder() as (folder, _):
        shutil.copytree(FOLDER, folder / PLUGIN)
        run = trio.run(partial(_measure, tier, folder, reloads=reloads, calls=calls))
    inside, outside = run.latencies(in_a_swap=True), run.latencies(in_a_swap=False)
    if not outside:
        raise BenchmarkError("every call met a swap, so there is nothing to compare with")
    notes = {"callers": CALLERS, "reloads": len(run.swaps), "calls_in_a_swap": len(inside)}
    return [
        Row(
            name=f"reload/{name}_calls",
            what=f"calls by {CALLERS} callers over {reloads} reloads",
            unit="calls",
            ours=Side("calls", [float(len(run.calls))]),
            goal=Goal(subject=Subject.OURS, comparison=Comparison.AT_LEAST, bound=CALLS),
            notes=notes,
        ),
        Row(
            name=f"reload/{name}_failures",
            what="calls that failed",
            unit="calls",
            ours=Side("failures", [float(len(run.failures))]),
            goal=ours_at_most(0),
            notes={"first": run.failures[:5]},
        ),
        *(
            Row(
                name=f"reload/{name}_p{percent}",
                what=f"p{percent} of the calls that met a swap, against that of the others",
                unit="ms",
                ours=Side("in a swap", [_percentile(inside, percent) * MILLISECONDS]),
                reference=Side("without", [_percentile(outside, percent) * MILLISECONDS]),
                compared=Compared.COST,
            )
            for percent in (50, 99)
        ),
        Row(
            name=f"reload/{name}_swap",
            what="from asking for a reload to when the new version serves",
            unit="ms",
            ours=Side("swap", [(end - start) * MILLISECONDS for start, end in run.swaps]),
        ),
    ]


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def _run(budget: Budget) -> Sequence[Row]:
    return [*_rows("fake", _fake_tier(), budget), *_rows("wasm", WasmTier(), budget)]


MEASURES = (
    Measure(
        name="reload",
        what=f"{RELOADS} reloads under {CALLERS} callers and {CALLS:,} calls",
        run=_run,
    ),
)
