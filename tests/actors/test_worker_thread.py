"""A busy loop gives a thread its turns, and only while there is a thread that wants them."""

import threading
import time

import pytest
import trio

from sigil_actors.actors.worker_thread import run_in_worker


async def test_turns_are_given_while_the_thread_works_and_the_loop_is_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns: list[float] = []
    monkeypatch.setattr(time, "sleep", turns.append)
    go_on = threading.Event()
    limiter = trio.CapacityLimiter(1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: run_in_worker(lambda: go_on.wait(60), limiter=limiter))
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        assert len(turns) >= 10
        go_on.set()
    turns.clear()
    for _ in range(20):
        await trio.lowlevel.checkpoint()
    assert not turns


async def test_an_idle_loop_gives_no_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr(time, "sleep", turns.append)
    assert await run_in_worker(lambda: 7, limiter=trio.CapacityLimiter(1)) == 7
    assert not turns


async def test_what_the_work_raises_comes_out() -> None:
    def work() -> None:
        raise ValueError("from the thread")

    with pytest.raises(ValueError, match="from the thread"):
        await run_in_worker(work, limiter=trio.CapacityLimiter(1))
