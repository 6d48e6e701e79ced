"""Nothing of a session is left when its block is, by whatever road."""

import gc
import threading

import psutil
import pytest
import trio
import wasmtime._func as wasmtime_functions

from sigil_actors.core.execution import InstanceMode, WasmLimits
from sigil_actors.errors import PluginError
from sigil_actors.tiers.wasm import WasmTier
from tests.tiers.wasm.conftest import Open, guest, request

# Ticks, then by the tool's name: returns, traps, or runs until it is cancelled.
BY_NAME = guest(
    """(drop (call $tick))
       (if (i32.eq (i32.load8_u (i32.const 65549)) (i32.const 116)) (then unreachable))
       (if (i32.eq (i32.load8_u (i32.const 65549)) (i32.const 102)) (then (loop $a (br $a))))""",
)


async def live_once(open_guest: Open, tier: WasmTier, mode: InstanceMode, number: int) -> None:
    async with open_guest(BY_NAME, mode=mode, tier=tier) as opening:
        match number % 4:
            case 0:
                await opening.text("good")
            case 1:
                with pytest.raises(PluginError):
                    await opening.text("trap")
            case 2:
                with trio.CancelScope() as scope:
                    async with opening.session.execute(request("forever")) as chunks:
                        async for _ in chunks:
                            scope.cancel()
            case _:
                pass


def footprint() -> tuple[int, int, int, int]:
    """Return bytes of memory, threads, descriptors, and functions that wasmtime holds."""
    gc.collect()
    return (
        psutil.Process().memory_info().rss,
        threading.active_count(),
        psutil.Process().num_fds(),
        len(wasmtime_functions.FUNCTIONS.handles),
    )


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(InstanceMode))
async def test_five_hundred_lives_leave_things_as_they_were(
    open_guest: Open, mode: InstanceMode
) -> None:
    tier = WasmTier()
    for number in range(60):
        await live_once(open_guest, tier, mode, number)
    memory, threads, descriptors, functions = footprint()
    for number in range(500):
        await live_once(open_guest, tier, mode, number)
    after = footprint()
    assert after[2:] == (descriptors, functions)
    assert after[1] <= threads + 1  # trio keeps idle threads for ten seconds
    # Each life has 128 KiB of guest memory and some 40 KiB besides: a leak of either would be tens
    # of megabytes. What an allocator keeps is less.
    assert after[0] - memory < 12 << 20


async def test_starts_that_fail_leave_nothing(open_guest: Open) -> None:
    async def fail() -> None:
        for wat in (
            "(module)",
            guest("", more="(func $s unreachable) (start $s)"),
            guest("", init="unreachable"),
            guest("", init="(return (i64.const 0))"),
        ):
            with pytest.raises(PluginError):
                async with open_guest(wat, limits=WasmLimits(fuel=100_000)):
                    pass

    await fail()
    _, threads, descriptors, functions = footprint()
    for _ in range(20):
        await fail()
    assert footprint()[2:] == (descriptors, functions)
    assert footprint()[1] <= threads + 1
