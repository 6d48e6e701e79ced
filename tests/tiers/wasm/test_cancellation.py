"""A cancelled caller interrupts its guest within milliseconds, and hurts nobody else."""

import math
import time
from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
import trio.testing

from sigil_actors.core.execution import InstanceMode
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import PluginCallError, PluginCrashedError, PluginStartError
from tests.tiers.wasm.conftest import TOOL_IS_X, Open, Opening, RecordingHost, guest, request

BOTH_MODES = pytest.mark.parametrize("mode", list(InstanceMode))

TICK_THEN_FOREVER = "(drop (call $tick)) (loop $again (br $again))"

ENDLESS_ON_X = f"(if {TOOL_IS_X} (then (loop $for_ever (br $for_ever))))"

ASK = """(drop (call $host_call (i32.const 2) (i32.const 48) (i32.const 2)
                                (i32.const 4096) (i32.const 4096)))"""
EMPTY = '(data (i32.const 48) "{}")'

SOON_S = 1.0
"""Far more than the milliseconds it takes, far less than the bound on the wall clock."""


async def cancel_when_blocked(call: Callable[[], Awaitable[object]]) -> None:
    """Start `call`, wait until it waits for its guest, cancel it, and see that it stops soon."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
        began = time.monotonic()
    assert nursery.cancel_scope.cancelled_caught, "the call was over before it could be cancelled"
    assert time.monotonic() - began < SOON_S


@BOTH_MODES
async def test_a_cancelled_call_stops_and_the_session_goes_on(
    open_guest: Open, mode: InstanceMode
) -> None:
    endless_on_x = guest(
        f"""{ENDLESS_ON_X}
           (drop (call $tick))"""
    )
    async with open_guest(endless_on_x, mode=mode) as opening:
        for _ in range(3):
            await cancel_when_blocked(lambda: opening.text("x"))
            assert await opening.text("y") == "tick"
        assert opening.log == []


async def test_after_a_cancel_the_instance_is_fresh_and_knows_its_configuration(
    open_guest: Open,
) -> None:
    """The guest emits once for each entry that its memory remembers; init is the first."""
    counts = guest(
        f"""(local.set $n (global.get $entered))
           (loop $again
             (drop (call $tick))
             (local.set $n (i32.sub (local.get $n) (i32.const 1)))
             (br_if $again (local.get $n)))
           {ENDLESS_ON_X}"""
    )
    async with open_guest(counts) as opening:
        assert await opening.text("y") == "tick" * 2
        assert await opening.text("y") == "tick" * 3
        await cancel_when_blocked(lambda: opening.text("x"))
        assert await opening.text("y") == "tick" * 2


async def test_a_plugin_that_refuses_its_configuration_after_a_cancel_is_over(
    open_guest: Open,
) -> None:
    """A guest can't tell its instances apart, but its host may answer the second differently."""
    asks_at_init = guest(
        TICK_THEN_FOREVER,
        init=f"""{ASK}
          (if (i32.eq (i32.load8_u (i32.const 4107)) (i32.const 116))
            (then (return (call $ok))))""",
        more=EMPTY,
    )  # {"allowed":true or {"allowed":false
    host = RecordingHost()
    async with open_guest(asks_at_init, host=host) as opening:
        host.denied = frozenset({""})
        await cancel_when_blocked(opening.text)
        with pytest.raises(PluginStartError, match="refused its configuration"):
            await opening.text()
        assert "refused" in (await opening.session.wait_ended()).reason


@pytest.mark.parametrize("at", range(6))
async def test_a_call_can_be_cancelled_at_any_await(open_guest: Open, at: int) -> None:
    """The n-th checkpoint of the caller is where the cancel arrives, for every n there is."""
    asks = guest(f"{ASK} (drop (call $tick)) {ASK} (drop (call $tick))", more=EMPTY)

    @attrs.define
    class CancellingHost(RecordingHost):
        scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
        left: float = math.inf

        def count(self) -> None:
            self.left -= 1
            if self.left < 0:
                self.scope.cancel()

        async def check(self, capability: str, session_id: str) -> DenyReason:
            self.count()
            await trio.lowlevel.checkpoint()
            return await super().check(capability, session_id)

    host = CancellingHost()
    async with open_guest(asks, host=host) as opening:
        host.left = at
        with host.scope:
            host.count()
            async with opening.session.execute(request()) as chunks:
                host.count()
                async for _ in chunks:
                    host.count()
        host.left = math.inf
        assert await opening.text() == "ticktick"
        assert opening.log == []


async def test_a_wait_for_a_chunk_that_was_cancelled_ends_the_call(open_guest: Open) -> None:
    async with open_guest(guest(TICK_THEN_FOREVER)) as opening:
        async with opening.session.execute(request()) as chunks:
            await anext(chunks)
            with trio.move_on_after(0.01) as scope:
                await anext(chunks)
            assert scope.cancelled_caught
            with pytest.raises(PluginCallError, match="cancelled"):
                await anext(chunks)


async def test_a_host_call_that_was_cancelled_ends_the_call(open_guest: Open) -> None:
    """The guest waits for an answer that will never be; the next piece can't come."""

    @attrs.define
    class NeverHost(RecordingHost):
        async def check(self, capability: str, session_id: str) -> DenyReason:
            await trio.Event().wait()
            return await super().check(capability, session_id)

    asks = guest(f"{ASK} (drop (call $tick))", more=EMPTY)
    async with open_guest(asks, host=NeverHost()) as opening:
        async with opening.session.execute(request()) as chunks:
            with trio.move_on_after(0.01) as scope:
                await anext(chunks)
            assert scope.cancelled_caught
            with pytest.raises(PluginCallError, match="cancelled"):
                await anext(chunks)


async def test_the_others_of_a_plugin_go_on(open_guest: Open) -> None:
    """Each call has its own engine, so an interrupt hits one guest."""
    endless_on_x = guest(
        f"""{ENDLESS_ON_X}
           (loop $work
             (local.set $n (i32.add (local.get $n) (i32.const 1)))
             (br_if $work (i32.lt_u (local.get $n) (i32.const 30000000))))
           (drop (call $tick))"""
    )
    answers: list[str] = []

    async def work(opening: Opening) -> None:
        answers.append(await opening.text("y"))

    async with open_guest(endless_on_x, mode=InstanceMode.PER_CALL) as opening:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, opening)
            nursery.start_soon(work, opening)
            for _ in range(5):
                await cancel_when_blocked(lambda: opening.text("x"))
    assert answers == ["tick", "tick"]


@BOTH_MODES
async def test_more_callers_than_places_take_turns(open_guest: Open, mode: InstanceMode) -> None:
    answers: list[str] = []

    async def call(opening: Opening) -> None:
        answers.append(await opening.text())

    async with open_guest(guest("(drop (call $tick))"), mode=mode) as opening:
        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(call, opening)
    assert answers == ["tick"] * 40


@BOTH_MODES
async def test_leaving_the_block_ends_the_calls_of_other_tasks(
    open_guest: Open, mode: InstanceMode
) -> None:
    errors: list[str] = []

    async def call(opening: Opening) -> None:
        with pytest.raises(PluginCrashedError) as caught:
            await opening.text()
        errors.append(caught.value.what)

    async with trio.open_nursery() as nursery:
        async with open_guest(guest(TICK_THEN_FOREVER), mode=mode) as opening:
            for _ in range(3):
                nursery.start_soon(call, opening)
            await trio.testing.wait_all_tasks_blocked(0.01)
            began = time.monotonic()
        assert time.monotonic() - began < SOON_S
    assert errors == ["plugin 'guest' is being stopped"] * 3


async def test_leaving_the_block_ends_a_call_whose_reader_pauses(open_guest: Open) -> None:
    endless = guest("(loop $again (drop (call $tick)) (br $again))")
    left = trio.Event()

    async def read_slowly(
        opening: Opening, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        with pytest.raises(PluginCrashedError):
            async with opening.session.execute(request()) as chunks:
                await anext(chunks)
                task_status.started()
                await left.wait()
                await anext(chunks)

    async with trio.open_nursery() as nursery:
        async with open_guest(endless) as opening:
            await nursery.start(read_slowly, opening)
        left.set()


async def test_those_who_wait_for_a_faulty_guest_learn_of_its_end(open_guest: Open) -> None:
    errors: list[Exception] = []

    async def call(opening: Opening) -> None:
        try:
            await opening.text()
        except PluginCrashedError as error:
            errors.append(error)

    traps = guest("(drop (call $tick)) unreachable")
    async with open_guest(traps) as opening, trio.open_nursery() as nursery:
        async with opening.session.execute(request()) as chunks:
            await anext(chunks)
            for _ in range(3):
                nursery.start_soon(call, opening)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(Exception, match="unreachable"):
                await anext(chunks)
    assert len(errors) == 3


async def test_a_busy_instance_is_healthy_without_being_asked(open_guest: Open) -> None:
    async with open_guest(guest("(drop (call $tick))")) as opening:
        async with opening.session.execute(request()) as chunks:
            await anext(chunks)
            health = await opening.session.health()
        assert health.status == "healthy"
        assert health.message == "busy with a call"


async def test_a_stop_request_takes_no_longer_than_its_grace(open_guest: Open) -> None:
    never = guest("").replace(
        "(if (i32.eq (local.get $op) (i32.const 17))",
        "(if (i32.eq (local.get $op) (i32.const 3)) (then (loop $a (br $a))))"
        "(if (i32.eq (local.get $op) (i32.const 17))",
    )
    async with open_guest(never) as opening:
        began = time.monotonic()
        assert await opening.session.shutdown(grace_s=0.05) is False
        assert time.monotonic() - began < SOON_S
