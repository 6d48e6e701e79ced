"""A simulation repeats itself, ends, and says where everyone waits when it doesn't."""

import random
import re
import traceback
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sigil_actors import MemoryAuditStore, SqliteAuditStore, open_runtime
from sigil_actors.testing import Scenario, StuckError, Trace, describe_waits, simulate


async def racing(rng: random.Random) -> None:
    async def step(number: int) -> None:
        for _ in range(number):
            await trio.sleep(rng.random())

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(step, number)


def test_the_same_seed_is_the_same_run_and_another_one_another() -> None:
    assert simulate(3, racing) == simulate(3, racing)
    assert len({simulate(seed, racing).hash for seed in range(20)}) == 20


def test_it_takes_virtual_time_only() -> None:
    async def scenario(_rng: random.Random) -> None:
        await trio.sleep(50_000)
        assert trio.current_time() == pytest.approx(50_000)

    assert isinstance(simulate(1, scenario), Trace)


def test_errors_leave_as_they_are() -> None:
    async def scenario(_rng: random.Random) -> None:
        await trio.sleep(1)
        raise ExceptionGroup("mine", [ValueError("x")])

    with pytest.raises(ExceptionGroup, match="mine") as caught:
        simulate(1, scenario)
    assert str(caught.value.exceptions[0]) == "x"


async def deadlock() -> None:
    ready, done = trio.Event(), trio.Event()

    async def first() -> None:
        await ready.wait()
        done.set()

    async def second() -> None:
        await trio.sleep(12)
        await done.wait()
        ready.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first, name="the first")
        nursery.start_soon(second, name="the second")


def test_a_deadlock_names_where_everyone_waits() -> None:
    async def scenario(_rng: random.Random) -> None:
        await deadlock()

    with pytest.raises(StuckError) as caught:
        simulate(1, scenario)
    text = str(caught.value)
    assert "a deadlock: nobody can go on since 12 s" in text
    for name, place in (("the first", "first"), ("the second", "second")):
        [line] = [line for line in text.splitlines() if f"  {name}: " in line]
        assert f"test_simulation.py:{line_of(place)} in deadlock.<locals>.{place}" in line
    assert "watchdog" not in text
    assert len(text.splitlines()) == 4  # the reason, the scenario's own task, the two


def line_of(function: str) -> int:
    """Return the line at which one of the two waits for ever."""
    awaited = {"first": "await ready.wait()", "second": "await done.wait()"}[function]
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return 1 + lines.index(f"        {awaited}")


def test_one_that_is_busy_for_ever_is_stuck_too_and_no_deadlock() -> None:
    async def scenario(_rng: random.Random) -> None:
        while True:  # noqa: ASYNC110 - nobody would set an event
            await trio.sleep(10)

    with pytest.raises(StuckError, match="not done after 500 virtual seconds"):
        simulate(1, scenario, liveness_s=500)


async def livelock(_rng: random.Random) -> None:
    there, back = trio.open_memory_channel[int](0), trio.open_memory_channel[int](0)

    async def hand_on(
        taking: trio.MemoryReceiveChannel[int], giving: trio.MemorySendChannel[int]
    ) -> None:
        async for one in taking:
            await giving.send(one)

    await trio.sleep(7)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 1000, name="a sleeper")
        nursery.start_soon(hand_on, there[1], back[0], name="ping")
        nursery.start_soon(hand_on, back[1], there[0], name="pong")
        await there[0].send(1)


def test_a_livelock_names_who_is_busy() -> None:
    with pytest.raises(StuckError) as caught:
        simulate(1, livelock, steps_per_instant_max=20_000)
    what, *waits = str(caught.value).splitlines()
    assert "a livelock: time stands still at 7 s" in what
    busy = re.findall(r"(\w+) \((\d+) of the last (\d+)\)", what)
    assert [name for name, *_ in busy] in (["ping", "pong"], ["pong", "ping"])
    assert sum(int(count) for _, count, _ in busy) == int(busy[0][2])
    assert any("a sleeper" in line for line in waits)


def test_who_is_busy_while_time_goes_on_is_no_livelock() -> None:
    async def scenario(_rng: random.Random) -> None:
        for _ in range(2000):
            await trio.sleep(0.001)
            await trio.lowlevel.checkpoint()

    assert simulate(1, scenario, steps_per_instant_max=100).steps > 4000


async def spin(_rng: random.Random) -> None:
    while True:
        await trio.lowlevel.checkpoint()


async def spin_shielded(_rng: random.Random) -> None:
    while True:
        await trio.lowlevel.cancel_shielded_checkpoint()


async def swallow(_rng: random.Random) -> None:
    while True:
        with suppress(trio.Cancelled):
            await trio.sleep(1)


async def shield_again(_rng: random.Random) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


@pytest.mark.parametrize(
    ("scenario", "what"),
    [
        (spin, "a livelock"),
        (spin_shielded, "a livelock"),
        (swallow, "not done after"),
        (shield_again, "a deadlock"),
    ],
)
def test_whatever_it_does_about_a_cancel_it_ends(
    scenario: Scenario, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StuckError, match=what):
        simulate(1, scenario, liveness_s=500, steps_per_instant_max=2000)
    assert not caplog.records
    assert simulate(3, racing) == simulate(3, racing)  # nothing is left of it


def test_what_runs_in_a_thread_is_refused_with_what_to_do_whoever_swallows_it() -> None:
    ran: list[str] = []

    async def scenario(_rng: random.Random) -> None:
        with suppress(Exception):
            await trio.to_thread.run_sync(ran.append, "in a thread")

    with pytest.raises(StuckError) as caught:
        simulate(1, scenario)
    text = str(caught.value)
    assert "virtual time doesn't wait for threads" in text
    assert re.search(r"test_simulation.py:\d+ in test_what_runs\w+.<locals>.scenario\. ", text)
    assert "MemoryAuditStore" in text
    assert ran == []
    trio.run(trio.to_thread.run_sync, ran.append, "afterwards")
    assert ran == ["afterwards"]


def test_a_runtime_over_a_folder_and_a_file_says_that_it_needs_threads(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()

    async def folder(_rng: random.Random) -> None:
        async with open_runtime(
            tmp_path / "plugins", audit_store=MemoryAuditStore(), state_dir=tmp_path / "state"
        ):
            pass

    async def file(_rng: random.Random) -> None:
        async with SqliteAuditStore(tmp_path / "audit"):
            pass

    for scenario in (folder, file):
        with pytest.raises(StuckError, match="virtual time doesn't wait for threads"):
            simulate(1, scenario)


def test_a_wait_behind_a_shield_ends_too() -> None:
    async def scenario(_rng: random.Random) -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                with trio.CancelScope(shield=True):
                    await trio.sleep_forever()

    with pytest.raises(StuckError, match="a deadlock"):
        simulate(1, scenario)


def test_an_error_on_the_way_out_does_not_hide_that_it_was_stuck() -> None:
    async def scenario(_rng: random.Random) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("on the way out")

    with pytest.raises(StuckError) as caught:
        simulate(1, scenario)
    assert isinstance(caught.value.__cause__, ValueError)


def test_one_that_is_stuck_is_no_matter_of_the_cancel_that_ends_it() -> None:
    async def scenario(_rng: random.Random) -> None:
        await deadlock()

    with pytest.raises(StuckError) as caught:
        simulate(1, scenario)
    assert "Cancelled" not in "".join(traceback.format_exception(caught.value))


def test_a_task_that_is_a_wait_and_nothing_more_is_found_by_its_nursery() -> None:
    async def scenario(_rng: random.Random) -> None:
        never = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(never.wait, name="bare")

    with pytest.raises(StuckError) as caught:
        simulate(1, scenario)
    [line] = [line for line in str(caught.value).splitlines() if "  bare: " in line]
    assert "Event.wait, in the nursery at " in line
    assert "test_simulation.py:" in line
    assert "_traps.py" not in line


async def test_waits_are_described_anywhere_and_bounded(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(trio.sleep_forever, name=f"sleeper {number:03}")
        await trio.testing.wait_all_tasks_blocked()
        lines = describe_waits().splitlines()
        nursery.cancel_scope.cancel()
    assert len(lines) == 61
    assert "more" in lines[-1]
    assert any("sleeper 000: " in line for line in lines)
