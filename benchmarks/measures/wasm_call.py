"""A tool call through the whole stack, against a bare wasmtime call of the same export.

The whole stack: admission, the check, its audit entry, the arguments' schema, a call token, the
guest with its fuel and clock, a chunk back, the outcome's entry. The bare call is what a program
would do that trusts everybody.
"""

import ctypes
import json
import time
from collections.abc import Callable, Sequence
from typing import cast

import trio
import wasmtime

from benchmarks.harness import (
    BenchmarkError,
    Budget,
    Compared,
    Measure,
    Row,
    Side,
    in_turn,
    without_collection,
)
from benchmarks.scratch import scratch_folder
from benchmarks.text_tool import ARGUMENTS, FOLDER, PLUGIN, TOOL, open_text_tool
from sigil_actors import AuditStore, MemoryAuditStore, Session, SqliteAuditStore
from sigil_actors.core.guest_ops import GuestOp

MICROSECONDS = 1e6


class _BareGuest:
    """The example's module in wasmtime as it comes: no fuel, no clock, no checks."""

    def __init__(self) -> None:
        engine = wasmtime.Engine()
        self._store = wasmtime.Store(engine)
        linker = wasmtime.Linker(engine)
        i32 = wasmtime.ValType.i32()
        linker.define_func(
            "sigil", "host_call", wasmtime.FuncType([i32] * 5, [i32]), self._host_call
        )
        linker.define_func("sigil", "host_reply", wasmtime.FuncType([i32] * 2, [i32]), lambda *_: 0)
        module = wasmtime.Module.from_file(engine, str(FOLDER / "plugin.wasm"))
        exports = linker.instantiate(self._store, module).exports(self._store)
        self._memory = cast("wasmtime.Memory", exports["memory"])
        self._alloc = cast("wasmtime.Func", exports["sigil_alloc"])
        self._call = cast("wasmtime.Func", exports["sigil_call"])
        self._request = json.dumps(
            {
                "toolName": TOOL,
                "arguments": json.dumps(ARGUMENTS),
                "sessionId": "token",
                "timeoutSeconds": 0,
            }
        ).encode()
        self.chunks: list[bytes] = []

    def _host_call(self, _op: int, pointer: int, length: int, *_out: int) -> int:
        self.chunks.append(self._read(pointer, length))
        return 0

    def _read(self, pointer: int, length: int) -> bytes:
        base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        return ctypes.string_at(base + pointer, length)

    def call(self) -> str:
        self.chunks.clear()
        pointer = self._alloc(self._store, len(self._request))
        base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        ctypes.memmove(base + pointer, self._request, len(self._request))
        self._call(self._store, GuestOp.EXECUTE, pointer, len(self._request))
        return "".join(json.loads(chunk)["text"] for chunk in self.chunks)


async def _through_the_stack(session: Session, sample_s: float) -> float:
    start = time.perf_counter()
    calls = 0
    while not calls or time.perf_counter() - start < sample_s:
        await session.execute_text(PLUGIN, TOOL, ARGUMENTS)
        calls += 1
    return (time.perf_counter() - start) / calls * MICROSECONDS


def _bare(call: Callable[[], str], sample_s: float) -> float:
    start = time.perf_counter()
    calls = 0
    while not calls or time.perf_counter() - start < sample_s:
        call()
        calls += 1
    return (time.perf_counter() - start) / calls * MICROSECONDS


async def _compare(budget: Budget, name: str, store: AuditStore) -> Row:
    ours, reference = Side("sigil-actors"), Side("wasmtime")
    guest = _BareGuest()
    async with open_text_tool(store) as (_, session):
        answer = await session.execute_text(PLUGIN, TOOL, ARGUMENTS)
        if guest.call() != answer or not answer:
            raise BenchmarkError(f"the bare call answers otherwise than {answer!r}")
        for side in in_turn(budget.rounds, ours, reference):
            with without_collection():
                if side is ours:
                    side.values.append(await _through_the_stack(session, budget.sample_s))
                else:
                    side.values.append(_bare(guest.call, budget.sample_s))
    return Row(
        name=name,
        what="a tool call through the whole stack",
        unit="µs",
        ours=ours,
        reference=reference,
        compared=Compared.COST,
    )


def _run(budget: Budget) -> Sequence[Row]:
    with scratch_folder() as (folder, _):
        return [
            trio.run(_compare, budget, "wasm_call/memory", MemoryAuditStore()),
            trio.run(_compare, budget, "wasm_call/sqlite", SqliteAuditStore(folder / "audit")),
        ]


MEASURES = (
    Measure(
        name="wasm_call",
        what="A Wasm tool called through the whole stack, against a bare wasmtime call",
        run=_run,
    ),
)
