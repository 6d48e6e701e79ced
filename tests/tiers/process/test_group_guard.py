"""What a killed host leaves behind is killed too, also after its guard was."""

import os
import signal
from pathlib import Path

import pytest
import trio

from sigil_actors.tiers.process.group_guard import GroupGuard, open_group_guard
from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import eventually, is_alive

SLEEPER = ("/bin/sleep", "1000")


def let_the_host_be_gone(guard: GroupGuard) -> None:
    """Close the host's end of the pipe, as its death does, and leave a descriptor to be closed."""
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), guard.descriptor)


async def test_what_is_watched_dies_with_the_host() -> None:
    async with Spawner() as spawner, open_group_guard(spawner) as guard:
        async with await spawner.spawn(SLEEPER, env={}) as watched:
            with guard.watching(watched.pid):
                let_the_host_be_gone(guard)
                await watched.wait()
        assert not is_alive(watched.pid)


async def test_what_is_no_longer_watched_is_left_alone() -> None:
    async with Spawner() as spawner, open_group_guard(spawner) as guard:
        async with (
            await spawner.spawn(SLEEPER, env={}) as watched,
            await spawner.spawn(SLEEPER, env={}) as forgotten,
        ):
            with guard.watching(forgotten.pid):
                pass
            with guard.watching(watched.pid):
                let_the_host_be_gone(guard)
                await watched.wait()
            assert is_alive(forgotten.pid)


async def test_a_guard_that_is_killed_is_followed_by_one_that_knows_as_much(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with Spawner() as spawner, open_group_guard(spawner) as guard:
        async with (
            await spawner.spawn(SLEEPER, env={}) as before,
            await spawner.spawn(SLEEPER, env={}) as after,
        ):
            with guard.watching(before.pid):
                first = guard.pid
                assert first is not None
                os.kill(first, signal.SIGKILL)
                with guard.watching(after.pid):  # told while there is none
                    await eventually(lambda: guard.pid not in (None, first))
                    let_the_host_be_gone(guard)
                    await before.wait()
                    await after.wait()
    assert "is started again" in caplog.text


async def test_that_there_can_be_no_guard_is_told_to_whoever_waits_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_args: object, **_named: object) -> None:
        await trio.lowlevel.checkpoint()
        raise FileNotFoundError(2, "No such file or directory", "/bin/sh")

    async with Spawner() as spawner:
        monkeypatch.setattr(spawner, "spawn", refuse)
        async with open_group_guard(spawner) as guard:
            with pytest.raises(FileNotFoundError):
                await guard.wait_started()
