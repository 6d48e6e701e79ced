"""Whatever a guest does, its caller gets a typed error and the process lives."""

import subprocess
import sys
import time

import attrs
import pytest
import trio

from sigil_actors.core.execution import InstanceMode, WasmLimits
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import (
    GuestTrapError,
    LimitExceededError,
    PluginCrashedError,
    PluginError,
    PluginStartError,
)
from sigil_actors.tiers.wasm.limits import CHUNK_BYTES_MAX
from tests.tiers.wasm.conftest import TOOL_IS_X, Open, RecordingHost, guest

BOTH_MODES = pytest.mark.parametrize("mode", list(InstanceMode))

FOREVER = "(loop $again (br $again))"
RECURSE = (
    "(func $deeper (param i32) (result i32) (i32.add (i32.const 1) (call $deeper (local.get 0))))"
)

TRAPS = {
    "unreachable": "unreachable",
    "memory_out_of_bounds": "(drop (i32.load (i32.const -4)))",
    "integer_division_by_zero": "(drop (i32.div_s (i32.const 1) (i32.const 0)))",
    "integer_overflow": "(drop (i32.div_s (i32.const 0x80000000) (i32.const -1)))",
    "bad_conversion_to_integer": "(drop (i32.trunc_f32_s (f32.const nan)))",
}


@BOTH_MODES
@pytest.mark.parametrize("trap", TRAPS)
async def test_a_trap_is_named_and_the_process_lives(
    open_guest: Open, trap: str, mode: InstanceMode
) -> None:
    async with open_guest(guest(TRAPS[trap]), mode=mode) as opening:
        with pytest.raises(GuestTrapError) as caught:
            await opening.text()
    assert caught.value.trap == trap
    assert caught.value.plugin == "guest"


ENDLESS_BOUNDS = {
    "fuel": (WasmLimits(fuel=100_000), "100000", "execution.wasm.fuel"),
    "wall clock": (WasmLimits(timeout=0.05), "50ms", "execution.wasm.timeout"),
}


LATE_FAULTHANDLER = """
import faulthandler, sys
import wasmtime
from sigil_actors.core.guest_ops import GuestOp
from sigil_actors.errors import GuestTrapError
from sigil_actors.tiers.wasm.engine import compile_module
from sigil_actors.tiers.wasm.limits import STACK_BYTES_MAX, GuestLimits
from sigil_actors.tiers.wasm.program import Program
code = compile_module(bytes(wasmtime.wat2wasm(sys.argv[1])), stack_bytes=STACK_BYTES_MAX)
program = Program("guest", code, GuestLimits(fuel=10**9, timeout_s=5, memory_bytes=1 << 20))
instance = program.instantiate(lambda: False)
faulthandler.enable()
try:
    instance.enter(GuestOp.EXECUTE, b"{}", ask=lambda _: None, is_stopping=lambda: False)
except GuestTrapError as error:
    print(error.trap)
"""


@pytest.mark.parametrize("trap", TRAPS)
def test_a_trap_is_no_signal_that_a_late_faulthandler_could_take(trap: str) -> None:
    """With signal-based traps, whoever enables faulthandler last ends the process by any trap."""
    result = subprocess.run(
        [sys.executable, "-c", LATE_FAULTHANDLER, guest(TRAPS[trap])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (result.returncode, result.stdout.strip()) == (0, trap), result.stderr


@BOTH_MODES
@pytest.mark.parametrize("bound", ENDLESS_BOUNDS)
async def test_an_endless_guest_reaches_its_bound_which_is_named(
    open_guest: Open, bound: str, mode: InstanceMode
) -> None:
    limits, value, key = ENDLESS_BOUNDS[bound]
    began = time.monotonic()
    async with open_guest(guest(FOREVER), limits=limits, mode=mode) as opening:
        with pytest.raises(LimitExceededError) as caught:
            await opening.text()
    assert (caught.value.bound, caught.value.value, caught.value.key) == (bound, value, key)
    assert time.monotonic() - began < 4  # long before the default of five seconds


async def test_a_guest_that_recurses_for_ever_reaches_the_bound_of_its_stack(
    open_guest: Open,
) -> None:
    recursing = guest("(drop (call $deeper (i32.const 0)))", more=RECURSE)
    async with open_guest(recursing) as opening:
        with pytest.raises(LimitExceededError) as caught:
            await opening.text()
    assert (caught.value.bound, caught.value.value) == ("stack", "512Ki")


async def test_fuel_is_for_one_call_and_not_for_the_life_of_an_instance(open_guest: Open) -> None:
    counting = """(loop $again
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 5000))))"""
    async with open_guest(guest(counting), limits=WasmLimits(fuel=60_000)) as opening:
        for _ in range(5):
            await opening.text()


GROW_UNTIL_REFUSED = """(loop $again
  (br_if $again (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) unreachable"""


async def test_a_guest_out_of_memory_is_told_from_one_that_merely_traps(open_guest: Open) -> None:
    limits = WasmLimits(memory=1 << 20)
    async with open_guest(guest(GROW_UNTIL_REFUSED), limits=limits) as opening:
        with pytest.raises(LimitExceededError) as caught:
            await opening.text()
    assert (caught.value.bound, caught.value.value) == ("memory", "1Mi")
    assert caught.value.key == "execution.wasm.memory"


async def test_a_guest_can_grow_its_memory_up_to_its_bound(open_guest: Open) -> None:
    grows = guest(
        "(if (i32.eq (memory.grow (i32.const 14)) (i32.const -1)) (then unreachable))"
    )  # 2 pages and 14 are 1 MiB
    async with open_guest(grows, limits=WasmLimits(memory=1 << 20)) as opening:
        assert await opening.text() == ""


async def test_a_module_that_starts_with_too_much_memory_is_refused(open_guest: Open) -> None:
    with pytest.raises(LimitExceededError) as caught:
        async with open_guest(guest(""), limits=WasmLimits(memory=65_536)):
            pass
    assert caught.value.bound == "memory"


async def test_an_allocation_that_failed_is_the_bound_on_memory(open_guest: Open) -> None:
    no_room = guest("").replace(
        "(i32.const 65536))\n  (func $pack", "(i32.const 0))\n  (func $pack"
    )
    with pytest.raises(LimitExceededError, match="memory"):
        async with open_guest(no_room):
            pass


async def test_tables_are_bounded(open_guest: Open) -> None:
    with pytest.raises(PluginStartError, match="table"):
        async with open_guest(guest("", more="(table 100001 funcref)")):
            pass


WILD_ANSWERS = {
    "pointer": "(return (i64.const 0x7fffffff00000010))",
    "length": "(return (i64.const 0x00000010ffffffff))",
    "both, signed": "(return (i64.const -1))",
    "just over the end": "(return (i64.const 0x0001fff000000011))",
}


@pytest.mark.parametrize("answer", WILD_ANSWERS)
async def test_an_answer_outside_of_the_memory_is_a_fault_of_the_guest(
    open_guest: Open, answer: str
) -> None:
    async with open_guest(guest(WILD_ANSWERS[answer])) as opening:
        with pytest.raises(GuestTrapError, match="sigil_call answered"):
            await opening.text()


async def test_an_allocation_outside_of_the_memory_is_a_fault_of_the_guest(
    open_guest: Open,
) -> None:
    wild = guest("").replace("(i32.const 65536))\n  (func $pack", "(i32.const -8))\n  (func $pack")
    with pytest.raises(GuestTrapError, match="sigil_alloc answered"):
        async with open_guest(wild):
            pass


async def test_an_answer_up_to_the_end_of_the_memory_is_fine(open_guest: Open) -> None:
    at_the_end = guest(
        """(i64.store (i32.const 131064) (i64.const 0x7d31203a2261227b))
           (return (i64.const 0x0001fff800000008))"""
    )  # {"a": 1} as one number: no known field
    async with open_guest(at_the_end) as opening:
        assert await opening.text() == ""


async def test_a_chunk_over_its_bound_ends_the_call(open_guest: Open) -> None:
    large = guest(
        f"""(drop (memory.grow (i32.const 32)))
            (drop (call $host_call (i32.const 3) (i32.const 0) (i32.const {CHUNK_BYTES_MAX + 1})
                                   (i32.const 0) (i32.const 0)))"""
    )
    async with open_guest(large) as opening:
        with pytest.raises(LimitExceededError) as caught:
            await opening.text()
    assert (caught.value.bound, caught.value.value) == ("bytes of one chunk", "1Mi")


async def test_an_answer_over_its_bound_ends_the_call(open_guest: Open) -> None:
    large = guest(
        """(drop (memory.grow (i32.const 80)))
           (return (call $pack (i32.const 0) (i32.const 4194305)))"""
    )
    async with open_guest(large) as opening:
        with pytest.raises(LimitExceededError, match="bytes of one answer"):
            await opening.text()


async def test_start_code_is_bounded_too(open_guest: Open) -> None:
    for more, error in (
        (f"(func $start {FOREVER}) (start $start)", LimitExceededError),
        ("(func $start unreachable) (start $start)", GuestTrapError),
        (f'(func (export "_initialize") {FOREVER})', LimitExceededError),
    ):
        with pytest.raises(error):
            async with open_guest(guest("", more=more), limits=WasmLimits(timeout=0.05)):
                pass


async def test_start_code_that_calls_its_host_is_told_that_it_failed(open_guest: Open) -> None:
    asks = """(func $start (if (i32.ne (call $tick) (i32.const -3)) (then unreachable)))
              (start $start)"""
    async with open_guest(guest("", more=asks)) as opening:
        assert await opening.text() == ""


async def test_a_guest_in_one_host_call_after_another_is_stopped_by_its_fuel(
    open_guest: Open,
) -> None:
    """Time in the host isn't the guest's, so something else must end this."""
    asks = guest("(loop $again (drop (call $host_reply (i32.const 0) (i32.const 0))) (br $again))")
    async with open_guest(asks, limits=WasmLimits(fuel=10_000)) as opening:
        with pytest.raises(LimitExceededError, match="fuel"):
            await opening.text()


async def test_the_clock_stands_still_while_the_guest_waits_for_its_host(open_guest: Open) -> None:
    asks = guest(
        """(drop (call $host_call (i32.const 2) (i32.const 48) (i32.const 2)
                                  (i32.const 4096) (i32.const 4096)))""",
        more='(data (i32.const 48) "{}")',
    )

    @attrs.define
    class SlowHost(RecordingHost):
        async def check(self, capability: str, session_id: str) -> DenyReason:
            await trio.to_thread.run_sync(time.sleep, 0.15)
            return await super().check(capability, session_id)

    async with open_guest(asks, limits=WasmLimits(timeout=0.1), host=SlowHost()) as opening:
        assert await opening.text() == ""


@pytest.mark.parametrize("fault", ["unreachable", FOREVER])
async def test_after_a_fault_a_shared_instance_is_over(open_guest: Open, fault: str) -> None:
    async with open_guest(guest(fault), limits=WasmLimits(fuel=100_000)) as opening:
        with pytest.raises(PluginError) as first:
            await opening.text()
        end = await opening.session.wait_ended()
        assert end.error is first.value
        assert end.reason == first.value.what
        assert opening.log == [("error", end.reason)]
        for call in (opening.text, opening.session.describe, opening.session.health):
            with pytest.raises(PluginCrashedError):
                await call()
        assert await opening.session.shutdown(grace_s=1) is False


async def test_a_fault_in_a_call_of_its_own_hurts_no_other(open_guest: Open) -> None:
    traps_on_x = guest(f"(if {TOOL_IS_X} (then unreachable)) (drop (call $tick))")
    async with open_guest(traps_on_x, mode=InstanceMode.PER_CALL) as opening:
        with pytest.raises(GuestTrapError):
            await opening.text("x")
        assert await opening.text("y") == "tick"
        assert opening.log == []


async def test_a_module_with_too_many_exports_is_refused_before_they_are_looked_up(
    open_guest: Open,
) -> None:
    exports = "".join(f'(export "e{number}" (func $many))' for number in range(1001))
    with pytest.raises(LimitExceededError, match="exports"):
        async with open_guest(guest("(nop)", more=f"(func $many) {exports}")):
            pytest.fail("it must not open")


@pytest.mark.parametrize("operation", [1, 2, 99])
async def test_a_guest_that_loops_on_malformed_host_calls_is_ended(
    open_guest: Open, operation: int
) -> None:
    """They pass no rate bound, so their number is bounded."""
    zero = "(i32.const 0)"
    call = f"(call $host_call (i32.const {operation}) {zero} (i32.const 3) {zero} {zero})"
    async with open_guest(guest(f"(loop $again (drop {call}) (br $again))")) as opening:
        with pytest.raises(GuestTrapError, match="malformed host calls"):
            await opening.text()
