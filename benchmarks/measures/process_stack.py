"""A Go plugin within the whole runtime: what each layer adds to a call, and the sandbox to a start.

The same tool of the same plugin is called by a bare stub, through a runtime whose log is in memory,
and through one whose decisions are on the disk before the plugin hears of the call.
"""

import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio

from benchmarks.go_programs import PLUGIN_NAME, go_program, plugin_folder
from benchmarks.harness import Budget, Compared, Measure, Row, Side, in_turn, ours_at_most
from benchmarks.hosts.asked import execute_of
from benchmarks.scratch import scratch_folder
from sigil_actors import (
    AuditStore,
    CapabilitySet,
    Manifest,
    MemoryAuditStore,
    PluginType,
    ProcessExecution,
    Runtime,
    RuntimeSettings,
    Session,
    SqliteAuditStore,
    open_runtime,
)
from sigil_actors._proto.plugin.v1.tool_pb2 import ExecuteRequest
from sigil_actors.goplugin import ClientConfig, GoPluginClient

IN_FLIGHT: Final = 128
STARTS: Final = 20
SANDBOX_ADDS_MS: Final = 15
"""What a sandbox may add to a start."""

MANIFEST: Final = Manifest(
    name=PLUGIN_NAME,
    version="1.0.0",
    type=PluginType.TOOL,
    capabilities=("tool.*",),
    execution=ProcessExecution(command=(f"./{PLUGIN_NAME}",), env={"SERVES": "tool"}),
)

Call = Callable[[], Awaitable[object]]


@asynccontextmanager
async def _runtime(
    folder: Path, state: Path, store: AuditStore, *, is_sandboxed: bool
) -> AsyncGenerator[Runtime]:
    async with open_runtime(
        manifests=[(MANIFEST, folder)],
        audit_store=store,
        # As many calls a second as there can be: the bound isn't what is measured.
        settings=RuntimeSettings(unsafe_no_sandbox=not is_sandboxed),
        state_dir=state,
    ) as runtime:
        await runtime.wait_until_running(PLUGIN_NAME)
        yield runtime


def _session(runtime: Runtime) -> Session:
    return runtime.session(
        workspace_id="ws",
        workspace_allow=CapabilitySet("*"),
        user_id="somebody",
        user_permissions=CapabilitySet("*"),
    )


async def _stub_call(execute: Any) -> object:
    return [chunk async for chunk in execute(ExecuteRequest(tool_name="echo", arguments="{}"))]


async def _session_call(session: Session) -> object:
    return await session.execute_text(PLUGIN_NAME, "echo", {})


async def _median_us(call: Call, sample_s: float) -> float:
    times: list[float] = []
    until = time.perf_counter() + sample_s
    while not times or time.perf_counter() < until:
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return statistics.median(times) * 1e6


async def _rate(call: Call, sample_s: float) -> float:
    calls = 0
    began = time.perf_counter()

    async def go_on_calling() -> None:
        nonlocal calls
        while not calls or time.perf_counter() < began + sample_s:
            await call()
            calls += 1

    async with trio.open_nursery() as nursery:
        for _ in range(IN_FLIGHT):
            nursery.start_soon(go_on_calling)
    return calls / (time.perf_counter() - began)


async def _compare_calls(budget: Budget, scratch: Path, plugin: Path) -> Sequence[Row]:
    durable, memory, bare = Side("durable log"), Side("log in memory"), Side("bare stub")
    rates = {side.name: Side(side.name) for side in (durable, memory, bare)}
    async with AsyncExitStack() as stack:
        stored = await stack.enter_async_context(
            _runtime(plugin, scratch / "a", SqliteAuditStore(scratch / "audit"), is_sandboxed=True)
        )
        kept = await stack.enter_async_context(
            _runtime(plugin, scratch / "b", MemoryAuditStore(), is_sandboxed=True)
        )
        client = await stack.enter_async_context(
            GoPluginClient(ClientConfig(command=(str(plugin / PLUGIN_NAME),)))
        )
        calls: dict[str, Call] = {
            durable.name: partial(_session_call, _session(stored)),
            memory.name: partial(_session_call, _session(kept)),
            bare.name: partial(_stub_call, execute_of(client.channel)),
        }
        for side in in_turn(budget.rounds, durable, memory, bare):
            side.values.append(await _median_us(calls[side.name], budget.sample_s))
            rates[side.name].values.append(await _rate(calls[side.name], budget.sample_s))
    rows = []
    for ours, reference in ((durable, memory), (memory, bare)):
        name = "durable" if ours is durable else "memory"
        rows += [
            Row(
                name=f"process_stack/call_{name}",
                what=f"a tool's call through the whole runtime, {ours.name}",
                unit="µs",
                ours=ours,
                reference=reference,
                compared=Compared.COST,
            ),
            Row(
                name=f"process_stack/rate_{IN_FLIGHT}_{name}",
                what=f"tools' calls a second, {IN_FLIGHT} in flight, {ours.name}",
                unit="1/s",
                ours=rates[ours.name],
                reference=rates[reference.name],
                compared=Compared.RATE,
            ),
        ]
    return rows


async def _start_ms(runtime: Runtime) -> float:
    """Return how long a stopped plugin takes to its first reply."""
    await runtime.stop(PLUGIN_NAME)
    session = _session(runtime)
    began = time.perf_counter()
    await runtime.start(PLUGIN_NAME)
    await _session_call(session)
    return (time.perf_counter() - began) * 1e3


async def _compare_starts(budget: Budget, scratch: Path, plugin: Path) -> Sequence[Row]:
    sandboxed, plain = Side("in a sandbox"), Side("without one")
    async with (
        _runtime(plugin, scratch / "a", MemoryAuditStore(), is_sandboxed=True) as confined,
        _runtime(plugin, scratch / "b", MemoryAuditStore(), is_sandboxed=False) as free,
    ):
        for side in in_turn(budget.of(STARTS), sandboxed, plain):
            side.values.append(await _start_ms(confined if side is sandboxed else free))
    adds = Side(
        "sandbox",
        [ours - without for ours, without in zip(sandboxed.values, plain.values, strict=True)],
    )
    return [
        Row(
            name="process_stack/start",
            what="a sandboxed plugin's start to its first reply",
            unit="ms",
            ours=sandboxed,
            reference=plain,
            compared=Compared.COST,
        ),
        Row(
            name="process_stack/sandbox_adds",
            what="what the sandbox adds to a start",
            unit="ms",
            ours=adds,
            goal=ours_at_most(SANDBOX_ADDS_MS),
        ),
    ]


async def _runtime_start_ms(plugin: Path, state: Path) -> float:
    began = time.perf_counter()
    async with _runtime(plugin, state, MemoryAuditStore(), is_sandboxed=True):
        return (time.perf_counter() - began) * 1e3


async def _compare_proofs(budget: Budget, scratch: Path, plugin: Path) -> Sequence[Row]:
    first, second = Side("first runtime"), Side("second runtime")
    for number in range(budget.rounds):
        state = scratch / f"proof{number}"
        first.values.append(await _runtime_start_ms(plugin, state))
        second.values.append(await _runtime_start_ms(plugin, state))
    return [
        Row(
            name="process_stack/proof",
            what="a runtime until its plugin runs, its sandbox tried on attacks before",
            unit="ms",
            ours=first,
            reference=second,
            compared=Compared.COST,
        )
    ]


def _run(budget: Budget) -> Sequence[Row]:
    go_program("plugin")
    with (
        scratch_folder() as (scratch, _),
        plugin_folder() as plugin,
    ):
        return [
            row
            for number, compare in enumerate((_compare_calls, _compare_starts, _compare_proofs))
            for row in trio.run(compare, budget, _below(scratch, number), plugin)
        ]


def _below(scratch: Path, number: int) -> Path:
    folder = scratch / str(number)
    folder.mkdir()
    return folder


MEASURES = (
    Measure(
        name="process_stack",
        what="A Go plugin's calls and starts in a whole runtime, layer by layer",
        run=_run,
        peers=("go", "bwrap"),
    ),
)
