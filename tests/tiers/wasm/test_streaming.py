"""Chunks come as they are emitted, and the guest stands still until they are taken."""

import pytest
import trio
import trio.testing

from sigil_actors.core.execution import InstanceMode, WasmLimits
from sigil_actors.errors import PluginCallError
from tests.tiers.wasm.conftest import Open, guest, request

BOTH_MODES = pytest.mark.parametrize("mode", list(InstanceMode))

COUNT_TO = """(loop $again
  (drop (call $tick))
  (local.set $n (i32.add (local.get $n) (i32.const 1)))
  (br_if $again (i32.lt_u (local.get $n) (i32.const {n}))))"""

ERROR = r'(data (i32.const 128) "{\22error\22:\22no\\u001b[31m\22}")'
EMIT_ERROR = """(drop (call $host_call (i32.const 3) (i32.const 128) (i32.const 24)
                                       (i32.const 0) (i32.const 0)))"""


@BOTH_MODES
async def test_chunks_come_one_by_one(open_guest: Open, mode: InstanceMode) -> None:
    async with (
        open_guest(guest(COUNT_TO.format(n=3)), mode=mode) as opening,
        opening.session.execute(request()) as chunks,
    ):
        assert [piece async for piece in chunks] == ["tick"] * 3


async def test_what_the_guest_returns_is_its_last_chunk(open_guest: Open) -> None:
    returns = guest("(drop (call $tick)) (return (call $pack (i32.const 32) (i32.const 15)))")
    async with open_guest(returns) as opening, opening.session.execute(request()) as chunks:
        assert [piece async for piece in chunks] == ["tick", "tick"]


async def test_the_guest_stands_still_until_its_chunk_is_taken(open_guest: Open) -> None:
    """It would reach its fuel if it ran ahead of its reader."""
    ahead = guest("(loop $again (drop (call $tick)) (br $again))")
    async with open_guest(ahead, limits=WasmLimits(fuel=5_000, timeout=0.2)) as opening:
        async with opening.session.execute(request()) as chunks:
            assert await anext(chunks) == "tick"
            await trio.testing.wait_all_tasks_blocked(0.3)
            assert await anext(chunks) == "tick"
        assert not opening.log


async def test_an_error_chunk_is_raised_when_the_guest_has_returned(open_guest: Open) -> None:
    fails = guest(f"(drop (call $tick)) {EMIT_ERROR} (drop (call $tick))", more=ERROR)
    async with open_guest(fails) as opening:
        got = []
        with pytest.raises(PluginCallError) as caught:
            async with opening.session.execute(request()) as chunks:
                async for piece in chunks:
                    got.append(piece)  # noqa: PERF401 - what came before the error matters
        assert got == ["tick"]
        assert caught.value.reason == r"no\x1b[31m"
        with pytest.raises(PluginCallError):
            await opening.text()  # the instance goes on


async def test_nothing_counts_after_done(open_guest: Open) -> None:
    done = guest(
        """(drop (call $host_call (i32.const 3) (i32.const 128) (i32.const 13)
                                  (i32.const 0) (i32.const 0)))
           (drop (call $tick))""",
        more=r'(data (i32.const 128) "{\22done\22:true}")',
    )
    async with open_guest(done) as opening:
        assert await opening.text() == ""


@BOTH_MODES
async def test_an_error_of_the_body_leaves_it_bare(open_guest: Open, mode: InstanceMode) -> None:
    endless = guest("(loop $again (drop (call $tick)) (br $again))")
    async with open_guest(endless, mode=mode) as opening:
        with pytest.raises(ZeroDivisionError):
            async with opening.session.execute(request()) as chunks:
                assert await anext(chunks) == "tick"
                raise ZeroDivisionError
        async with opening.session.execute(request()) as chunks:
            assert await anext(chunks) == "tick"  # left early, which is no fault of the guest


async def test_a_call_that_is_never_iterated_never_enters_the_guest(open_guest: Open) -> None:
    async with open_guest(guest("unreachable")) as opening:
        async with opening.session.execute(request()) as chunks:
            pass
        with pytest.raises(PluginCallError, match="block left"):
            await anext(chunks)
        assert not opening.log


async def test_chunks_of_a_call_that_was_left_are_refused(open_guest: Open) -> None:
    async with open_guest(guest(COUNT_TO.format(n=3))) as opening:
        async with opening.session.execute(request()) as chunks:
            await anext(chunks)
        with pytest.raises(PluginCallError, match="block left"):
            await anext(chunks)


async def test_a_finished_call_stays_finished(open_guest: Open) -> None:
    async with open_guest(guest("")) as opening, opening.session.execute(request()) as chunks:
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await anext(chunks)


async def test_two_tasks_cannot_read_one_call(open_guest: Open) -> None:
    endless = guest("(drop (call $tick)) (loop $again (br $again))")
    async with open_guest(endless) as opening, trio.open_nursery() as nursery:
        async with opening.session.execute(request()) as chunks:
            await anext(chunks)

            async def wait_for_the_next() -> None:
                with pytest.raises(PluginCallError), trio.CancelScope():
                    await anext(chunks)

            nursery.start_soon(wait_for_the_next)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(trio.BusyResourceError):
                await anext(chunks)
            nursery.cancel_scope.cancel()


async def test_emitting_is_malformed_outside_of_a_call(open_guest: Open) -> None:
    emits_at_init = guest(
        "", init="(if (i32.ne (call $tick) (i32.const -4)) (then unreachable)) (return (call $ok))"
    )
    async with open_guest(emits_at_init) as opening:
        assert await opening.text() == ""
