"""Whatever numbers a guest hands out, it gets an answer or an error, and the process lives."""

import struct
from collections.abc import Iterator

import pytest
import wasmtime
from hypothesis import example, given
from hypothesis import strategies as st

from sigil_actors.core.guest_ops import GuestOp, HostRefusal
from sigil_actors.errors import GuestTrapError, LimitExceededError
from sigil_actors.tiers.wasm.engine import compile_module
from sigil_actors.tiers.wasm.guest_memory import GuestMemory, OutOfMemoryRangeError
from sigil_actors.tiers.wasm.host_imports import Answer, Question
from sigil_actors.tiers.wasm.instance import GuestInstance, GuestStoppedError
from sigil_actors.tiers.wasm.limits import STACK_BYTES_MAX, GuestLimits
from sigil_actors.tiers.wasm.program import Program

LIMITS = GuestLimits(fuel=10**9, timeout_s=60, memory_bytes=1 << 20)

PAGES = 2
END = PAGES * 65_536

# Calls its host with the seven numbers of its request and returns what the host answered; with an
# eighth and ninth it instead answers those, as pointer and length; INIT sets what sigil_alloc says.
GUEST = f"""(module
  (import "sigil" "host_call" (func $call (param i32 i32 i32 i32 i32) (result i32)))
  (import "sigil" "host_reply" (func $reply (param i32 i32) (result i32)))
  (memory (export "memory") {PAGES})
  (global $room (mut i32) (i32.const 65536))
  (data (i32.const 64) "{{\\22capability\\22:\\22x\\22,\\22text\\22:\\22x\\22}}")
  (func (export "sigil_alloc") (param i32) (result i32) (global.get $room))
  (func $number (param $at i32) (result i32)
    (i32.load (i32.add (i32.const 65536) (i32.shl (local.get $at) (i32.const 2)))))
  (func (export "sigil_call") (param $op i32) (param $ptr i32) (param $len i32) (result i64)
    (if (i32.eq (local.get $op) (i32.const 1))
      (then (global.set $room (call $number (i32.const 0))) (return (i64.const 0))))
    (if (i32.eq (local.get $len) (i32.const 8))
      (then (return (i64.or
        (i64.shl (i64.extend_i32_u (call $number (i32.const 0))) (i64.const 32))
        (i64.extend_i32_u (call $number (i32.const 1)))))))
    (i32.store (i32.const 0) (call $call
      (call $number (i32.const 0)) (call $number (i32.const 1)) (call $number (i32.const 2))
      (call $number (i32.const 3)) (call $number (i32.const 4))))
    (i32.store (i32.const 4)
      (call $reply (call $number (i32.const 5)) (call $number (i32.const 6))))
    (i64.const 8)))"""

numbers = st.one_of(
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-40, 100),
    st.integers(END - 40, END + 40),
    st.sampled_from([1, 2, 3, 64, 28]),
)

REPLY = b"r" * 30


@pytest.fixture(scope="module")
def program() -> Iterator[Program]:
    code = compile_module(bytes(wasmtime.wat2wasm(GUEST)), stack_bytes=STACK_BYTES_MAX)
    program = Program("guest", code, LIMITS)
    yield program
    program.close()


@pytest.fixture(scope="module")
def instance(program: Program) -> Iterator[GuestInstance]:
    instance = program.instantiate(lambda: False)
    yield instance
    instance.close()


def enter(instance: GuestInstance, op: GuestOp, *values: int) -> tuple[bytes, list[Question]]:
    """Enter the guest with these numbers; return its answer, and what reached the host."""
    asked: list[Question] = []

    def ask(question: Question) -> Answer:
        asked.append(question)
        return Answer(reply=REPLY)

    request = struct.pack(f"<{len(values)}i", *values)
    answer = instance.enter(op, request, ask=ask, is_stopping=lambda: False)
    return answer, asked


def inside(pointer: int, length: int) -> bool:
    """Whether a piece of memory is all there; the oracle."""
    return (pointer & 0xFFFFFFFF) + (length & 0xFFFFFFFF) <= END


@given(st.lists(numbers, min_size=7, max_size=7))
@example([1, 64, 28, END - 30, 30, 0, 0])
@example([1, 64, 28, END - 29, 30, 0, 0])
@example([1, 64, 28, END, 0, END - 30, 30])
@example([1, 64, 28, END, 0, END - 29, 30])
@example([3, -1, 2, 0, 0, 0, 0])
@example([1, 0, 0, 0, 0, 0, -1])
@example([3, 2**31 - 1, 2**31 - 1, -1, -1, -1, -1])
def test_a_host_call_with_any_numbers_has_a_result_that_makes_sense(
    instance: GuestInstance, values: list[int]
) -> None:
    op, pointer, length, out, room, reply_out, reply_room = values
    try:
        answer, asked = enter(instance, GuestOp.EXECUTE, *values)
    except LimitExceededError:
        pytest.fail("nothing this small memory can name is over the bounds on bytes")
    called, replied = struct.unpack("<ii", answer)
    if replied == len(REPLY) and (reply_out & 0xFFFFFFFF) < 4:
        # The kept reply was written over the place, at 0, in which the guest had put the result.
        called = len(REPLY)
    if asked:
        assert op in (1, 2, 3)
        assert inside(pointer, length)
        assert inside(out, room)
        assert called == len(REPLY)
    else:
        assert called == HostRefusal.MALFORMED
    kept = bool(asked) and (room & 0xFFFFFFFF) < len(REPLY)
    writes = (reply_room & 0xFFFFFFFF) >= len(REPLY)
    if kept and (not writes or inside(reply_out, len(REPLY))):
        assert replied == len(REPLY)
    else:
        assert replied == HostRefusal.MALFORMED


@given(pointer=numbers, length=numbers)
def test_an_answer_of_any_numbers_is_read_whole_or_refused(
    instance: GuestInstance, pointer: int, length: int
) -> None:
    if inside(pointer, length):
        answer, _ = enter(instance, GuestOp.EXECUTE, pointer, length)
        assert len(answer) == length
    else:
        with pytest.raises(GuestTrapError, match="sigil_call answered"):
            enter(instance, GuestOp.EXECUTE, pointer, length)


@given(room=numbers)
def test_room_at_any_place_is_written_whole_or_refused(program: Program, room: int) -> None:
    instance = program.instantiate(lambda: False)
    try:
        enter(instance, GuestOp.INIT, room)
        if room == 0:
            with pytest.raises(LimitExceededError, match="memory"):
                enter(instance, GuestOp.EXECUTE, 1)
        elif inside(room, 4):
            enter(instance, GuestOp.INIT, 1)
        else:
            with pytest.raises(GuestTrapError, match="sigil_alloc answered"):
                enter(instance, GuestOp.EXECUTE, 1)
    finally:
        instance.close()


def test_an_interrupt_that_comes_before_the_guest_is_entered_is_not_lost(program: Program) -> None:
    """Its deadline counts from the entry, so the engine alone would forget it."""
    with pytest.raises(GuestStoppedError):
        program.instantiate(lambda: True)
    instance = program.instantiate(lambda: False)
    with pytest.raises(GuestStoppedError):
        instance.enter(GuestOp.INIT, b"", ask=lambda _: None, is_stopping=lambda: True)
    instance.close()


def test_memory_that_is_not_there_is_an_error_and_not_less_memory() -> None:
    """wasmtime's own `read` would return what there is."""
    with wasmtime.Store() as store:
        memory = GuestMemory(
            store, wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(1, 1)))
        )
        memory.write(65_530, b"abcdef")
        assert memory.read(65_530, 6) == b"abcdef"
        assert memory.read(65_536, 0) == b""
        for pointer, length in ((65_531, 6), (65_537, 0), (0, 65_537), (0xFFFFFFFF, 1)):
            with pytest.raises(OutOfMemoryRangeError):
                memory.read(pointer, length)
        with pytest.raises(OutOfMemoryRangeError):
            memory.write(65_535, b"ab")
        assert memory.read(65_535, 1) == b"f"


def test_memory_of_no_pages_holds_nothing() -> None:
    with wasmtime.Store() as store:
        memory = GuestMemory(
            store, wasmtime.Memory(store, wasmtime.MemoryType(wasmtime.Limits(0, 1)))
        )
        assert memory.read(0, 0) == b""
        memory.write(0, b"")
        with pytest.raises(OutOfMemoryRangeError):
            memory.read(0, 1)
