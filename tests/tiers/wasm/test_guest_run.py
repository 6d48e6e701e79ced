"""A thread in a guest and the task that drives it, without Wasm: jobs here are Python."""

import threading
import time

import pytest
import trio
import trio.testing

from sigil_actors.errors import LimitExceededError, PluginCrashedError
from sigil_actors.tiers.wasm import guest_run
from sigil_actors.tiers.wasm.ending import Ending, Run
from sigil_actors.tiers.wasm.guest_run import GuestRun
from sigil_actors.tiers.wasm.host_imports import Answer, Question

TIME_ERROR = LimitExceededError("p", bound="wall clock", value="1s", key="")


class Interruptible:
    """A job that runs until it is interrupted; and one that doesn't listen until it is let go."""

    def __init__(self) -> None:
        self.interrupted = threading.Event()
        self.let_go = threading.Event()

    def listen(self, _run: GuestRun[int, int, str]) -> str:
        self.interrupted.wait(10)
        return "interrupted"

    def be_deaf(self, _run: GuestRun[int, int, str]) -> str:
        self.let_go.wait(10)
        return "late"


def new_run(job, *, interrupt=lambda: None, time_s: float = 10) -> GuestRun[int, int, str]:  # type: ignore[no-untyped-def]  # noqa: ANN001
    return GuestRun(job, interrupt=interrupt, time_s=time_s, time_error=TIME_ERROR)


async def test_questions_and_answers_take_turns() -> None:
    def job(run: GuestRun[int, int, str]) -> str:
        return f"{run.ask(1)}, {run.ask(2)}"

    run = new_run(job)
    assert await run.advance() == 1
    assert await run.advance(10) == 2
    assert await run.advance(20) is None
    assert run.result == "10, 20"
    assert await run.stop()
    assert not run.interrupted


async def test_an_error_of_the_job_is_raised_again_and_again() -> None:
    def job(_run: GuestRun[int, int, str]) -> str:
        raise ZeroDivisionError

    run = new_run(job)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await run.advance()
    assert isinstance(run.failure, ZeroDivisionError)


async def test_time_counts_only_while_the_job_runs() -> None:
    guest = Interruptible()

    def job(run: GuestRun[int, int, str]) -> str:
        run.ask(1)
        return guest.listen(run)

    run = new_run(job, interrupt=guest.interrupted.set, time_s=0.1)
    assert await run.advance() == 1
    await trio.to_thread.run_sync(time.sleep, 0.15)
    began = time.monotonic()
    with pytest.raises(LimitExceededError):
        await run.advance(1)
    assert 0.05 < time.monotonic() - began < 2
    assert run.interrupted


async def test_the_wait_for_an_answer_does_not_count() -> None:
    def job(run: GuestRun[int, int, str]) -> str:
        return f"{run.ask(1)}, {run.ask(2)}, {run.ask(3)}"

    run = new_run(job, time_s=0.2)
    for answer in (None, 1, 2):
        await run.advance(answer)
        await trio.to_thread.run_sync(time.sleep, 0.15)
    assert await run.advance(3) is None


async def test_time_adds_up_over_the_questions() -> None:
    """Otherwise a guest that asks often enough could run for ever."""

    def job(run: GuestRun[int, int, str]) -> str:
        while run.ask(1) is not None:
            time.sleep(0.02)
        return ""

    run = new_run(job, time_s=0.1)
    with trio.fail_after(5), pytest.raises(LimitExceededError):
        while True:
            await run.advance(1)


async def test_closing_waits_until_no_thread_is_in_a_guest() -> None:
    guest = Interruptible()

    def listen_slowly(run: GuestRun[Question, Answer, bytes]) -> bytes:
        guest.interrupted.wait(10)
        time.sleep(0.05)
        out.append(1)
        return b""

    out: list[int] = []
    ending = Ending("p", lambda _level, _text: None)
    run: Run = GuestRun(
        listen_slowly, interrupt=guest.interrupted.set, time_s=10, time_error=TIME_ERROR
    )

    async def call() -> None:
        with ending.watching(run), pytest.raises(PluginCrashedError, match="being stopped"):
            await run.advance()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await trio.testing.wait_all_tasks_blocked()
        await ending.close()
        assert out == [1]


async def test_a_stopped_job_that_asks_is_told_to_stop() -> None:
    answers: list[int | None] = []

    def job(run: GuestRun[int, int, str]) -> str:
        answers.append(run.ask(1))
        answers.append(run.ask(2))
        return ""

    run = new_run(job)
    assert await run.advance() == 1
    assert await run.stop()
    assert answers == [None, None]
    with pytest.raises(trio.ClosedResourceError):
        await run.advance()


async def test_a_run_that_was_never_started_needs_no_stop() -> None:
    run = new_run(Interruptible().be_deaf)
    assert await run.stop()
    done: list[int] = []
    run.when_out(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(trio.ClosedResourceError):
        await run.advance()


async def test_a_run_that_is_killed_before_it_starts_never_does() -> None:
    run = new_run(Interruptible().be_deaf)
    run.kill(PluginCrashedError("p", "is over"))
    with pytest.raises(PluginCrashedError):
        await run.advance()


async def test_a_deaf_job_is_given_up_and_cleaned_up_after_when_it_comes_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Freeing its store with the thread inside would end the process."""
    monkeypatch.setattr(guest_run, "STOP_S", 0.05)
    guest = Interruptible()
    run = new_run(guest.be_deaf)
    with trio.move_on_after(0.01):
        await run.advance()
    assert not await run.stop()
    cleaned = trio.Event()
    token = trio.lowlevel.current_trio_token()
    run.when_out(lambda: token.run_sync_soon(cleaned.set))
    await trio.testing.wait_all_tasks_blocked()
    assert not cleaned.is_set()
    guest.let_go.set()
    with trio.fail_after(5):
        await cleaned.wait()
        await run.wait_out()


def test_a_job_that_outlives_the_loop_ends_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_run, "STOP_S", 0.01)
    guest = Interruptible()
    cleaned = threading.Event()

    def job(run: GuestRun[int, int, str]) -> str:
        guest.let_go.wait(10)
        assert run.ask(1) is None
        return ""

    async def leave_it_behind() -> None:
        run = new_run(job)
        with trio.move_on_after(0.01):
            await run.advance()
        run.when_out(cleaned.set)

    trio.run(leave_it_behind)
    guest.let_go.set()
    assert cleaned.wait(5)
