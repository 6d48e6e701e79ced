"""A spawner starts exactly what it is told, waits without a thread, and leaves nothing."""

import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
import trio
import trio.testing

from sigil_actors.tiers.process.child_process import ChildProcess
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.spawner import Identity, Spawner
from tests.tiers.process.machine import children, descriptors, eventually, is_alive

SLEEP = ("/bin/sleep", "1000")


@pytest.fixture
async def spawner() -> AsyncGenerator[Spawner, None]:
    async with Spawner() as opened:
        yield opened


def sh(script: str) -> tuple[str, ...]:
    """Return an argv that runs a shell script."""
    return ("/bin/sh", "-c", script)


async def output_of(child: ChildProcess) -> str:
    """Return all that a child writes."""
    return b"".join([piece async for piece in child.stdout]).decode()


async def test_a_child_has_its_arguments_its_environment_and_nothing_else(
    spawner: Spawner, tmp_path: Path
) -> None:
    script = (
        "import os,sys; print(sys.argv[1:], dict(os.environ), os.getcwd(), "
        "os.listdir('/proc/self/fd'), oct(os.umask(0)))"
    )
    async with await spawner.spawn(
        (sys.executable, "-I", "-S", "-c", script, "a b"),
        env={"K": "v", "LC_ALL": "C.UTF-8"},
        cwd=tmp_path,
    ) as child:
        said = await output_of(child)
        assert await child.wait() == ProgramEnd(exit_status=0)
    assert (
        said == f"['a b'] {{'K': 'v', 'LC_ALL': 'C.UTF-8'}} {tmp_path} ['0', '1', '2', '3'] 0o77\n"
    )


async def test_a_descriptor_that_is_passed_has_the_same_number(spawner: Spawner) -> None:
    readable, writable = os.pipe()
    try:
        async with await spawner.spawn(
            sh(f"echo hello >/dev/fd/{writable}"), env={}, pass_fds=(writable,)
        ) as child:
            await child.wait()
        assert os.read(readable, 100) == b"hello\n"
    finally:
        os.close(readable)
        os.close(writable)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root chooses whom a child runs as")
async def test_a_child_runs_as_whom_it_is_told(spawner: Spawner) -> None:
    identity = Identity(uid=54321, gid=54322)
    async with await spawner.spawn(sh("id -u; id -g; id -G"), env={}, identity=identity) as child:
        assert (await output_of(child)).split() == ["54321", "54322", "54322"]


@pytest.mark.parametrize(
    ("script", "end", "text"),
    [
        ("exit 7", ProgramEnd(exit_status=7), "exited with status 7"),
        ("kill -11 $$", ProgramEnd(signal=11), "was killed by SIGSEGV"),
        ("kill -40 $$", ProgramEnd(signal=40), "was killed by signal 40"),
    ],
)
async def test_how_a_child_ended_is_told_to_every_waiter(
    spawner: Spawner, script: str, end: ProgramEnd, text: str
) -> None:
    ends = []
    async with await spawner.spawn(sh(script), env={}) as child:

        async def wait() -> None:
            ends.append(await child.wait())

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
    assert ends == [end] * 3
    assert str(end) == text


async def test_a_program_that_is_not_there_is_an_error_of_the_caller(spawner: Spawner) -> None:
    before = descriptors(), children()
    with pytest.raises(FileNotFoundError):
        await spawner.spawn(("/no/such/program",), env={})
    assert (descriptors(), children()) == before


async def test_leaving_the_block_ends_the_child_and_its_descriptors(spawner: Spawner) -> None:
    before = descriptors(), children()
    async with await spawner.spawn(SLEEP, env={}) as child:
        assert child.pid in children()
    assert child.end == ProgramEnd(signal=signal.SIGKILL)
    assert await child.wait() == child.end
    assert (descriptors(), children()) == before


async def test_leaving_the_block_cancelled_ends_the_child_all_the_same(spawner: Spawner) -> None:
    before = descriptors(), children()
    with trio.CancelScope() as scope:
        async with await spawner.spawn(SLEEP, env={}) as child:
            scope.cancel()
            await child.wait()
    assert scope.cancelled_caught
    assert (descriptors(), children()) == before


async def test_what_a_child_started_ends_with_it(spawner: Spawner) -> None:
    async with await spawner.spawn(sh("sleep 1000 >/dev/null & echo $!"), env={}) as child:
        grandchild = int(await output_of(child))
        assert await child.wait() == ProgramEnd(exit_status=0)
        await eventually(lambda: not is_alive(grandchild))


async def test_signals_reach_the_child_alone_and_none_once_it_ended(spawner: Spawner) -> None:
    async with await spawner.spawn(
        sh("trap 'exit 3' TERM; echo; while :; do :; done"), env={}
    ) as child:
        await child.stdout.receive_some(1)
        child.send_signal(signal.SIGTERM)
        assert await child.wait() == ProgramEnd(exit_status=3)
        child.send_signal(signal.SIGTERM)
        child.kill_group()


async def test_a_cancelled_wait_leaves_the_next_one_its_answer(spawner: Spawner) -> None:
    async with await spawner.spawn(SLEEP, env={}) as child:
        with trio.move_on_after(0) as scope:
            await child.wait()
        assert scope.cancelled_caught
        child.kill_group()
        assert await child.wait() == ProgramEnd(signal=signal.SIGKILL)


async def test_a_cancelled_spawn_leaves_no_child_whenever_it_is_cancelled(spawner: Spawner) -> None:
    before = descriptors(), children()
    cancelled = 0
    for number in range(60):
        with trio.move_on_after(number * 50e-6) as scope:
            async with await spawner.spawn(SLEEP, env={}):
                await trio.sleep_forever()
        cancelled += scope.cancelled_caught
        assert (descriptors(), children()) == before
    assert cancelled == 60


async def test_a_spawn_that_waits_behind_another_can_be_withdrawn(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    open_now = os.pidfd_open

    def open_later(pid: int) -> int:
        go_on.wait(10)
        return open_now(pid)

    monkeypatch.setattr(os, "pidfd_open", open_later)
    before = children()
    async with trio.open_nursery() as nursery:

        async def spawn_first() -> None:
            async with await spawner.spawn(SLEEP, env={}):
                pass

        nursery.start_soon(spawn_first)
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.move_on_after(0.01):
            await spawner.spawn(SLEEP, env={})
        go_on.set()
    async with await spawner.spawn(("/bin/true",), env={}) as child:
        await child.wait()
    assert children() == before


async def test_children_that_ask_for_a_death_signal_live_on_while_threads_come_and_go(
    spawner: Spawner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trio's worker threads end when they are idle; this one doesn't."""
    argv = ("/usr/bin/setpriv", "--pdeathsig", "KILL", *SLEEP)
    async with await spawner.spawn(argv, env={}) as child:
        monkeypatch.setattr("trio._core._thread_cache.IDLE_TIMEOUT", 0.01)
        await trio.to_thread.run_sync(time.time)
        await trio.sleep(0.05)
        assert is_alive(child.pid)


async def test_the_thread_ends_with_the_spawner() -> None:
    def threads() -> int:
        return sum(thread.name == "sigil-actors spawner" for thread in threading.enumerate())

    before = threads()
    async with Spawner():
        assert threads() == before + 1
    await eventually(lambda: threads() == before)


async def test_somebody_elses_wait_is_no_lie_about_the_end(spawner: Spawner) -> None:
    async with await spawner.spawn(sh("exit 3"), env={}) as child:
        os.waitpid(child.pid, 0)  # noqa: ASYNC222 - it ends at once
        assert await child.wait() == ProgramEnd()
        assert str(child.end) == "exited with a status that wasn't told"
