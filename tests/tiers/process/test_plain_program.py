"""A program without a sandbox is gone with its block, and with its host, all the same."""

import os
import platform
import signal
import sys
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process import plain_program
from sigil_actors.tiers.process.group_guard import open_group_guard
from sigil_actors.tiers.process.plain_program import PlainProgram, open_plain_program
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.spawner import Spawner
from sigil_actors.tiers.process.static_programs import DIE_WITH_PARENT, build, static_program
from tests.tiers.process.machine import children, descriptors, eventually, is_alive

IN_PYTHON = ("-I", "-S", "-c", plain_program._ASK_IN_PYTHON)
DIE_WITH_PARENT_HERE = str(static_program(DIE_WITH_PARENT, platform.machine()))


@asynccontextmanager
async def running(argv: Sequence[str], tmp_path: Path) -> AsyncGenerator[PlainProgram, None]:
    async with AsyncExitStack() as stack:
        spawner = await stack.enter_async_context(Spawner())
        guard = await stack.enter_async_context(open_group_guard(spawner))
        program = open_plain_program(
            "it",
            argv,
            env={"K": "v"},
            cwd=tmp_path,
            socket_dir=tmp_path,
            spawner=spawner,
            guard=guard,
        )
        yield await stack.enter_async_context(program)


async def said(program: PlainProgram) -> str:
    return b"".join([piece async for piece in program.stdout]).decode()


async def test_a_program_runs_with_its_own_environment_and_folder(tmp_path: Path) -> None:
    async with running(("/bin/sh", "-c", 'pwd; echo "$$ $K"; exit 4'), tmp_path) as program:
        assert await said(program) == f"{tmp_path}\n{program.pid} v\n"
        assert await program.wait() == ProgramEnd(exit_status=4)


async def test_nothing_is_left_when_its_block_is_left(tmp_path: Path) -> None:
    before = descriptors(), children()
    async with running(("/bin/sh", "-c", "sleep 1000 & echo $!; wait"), tmp_path) as program:
        grandchild = int(await program.stdout.receive_some(100))
    assert (descriptors(), children()) == before
    await eventually(lambda: not is_alive(grandchild))


async def test_terminate_is_for_the_program_and_kill_for_all_of_it(tmp_path: Path) -> None:
    script = "trap 'echo term; exit 5' TERM; sleep 1000 & echo $!; while :; do wait; done"
    async with running(("/bin/sh", "-c", script), tmp_path) as program:
        grandchild = int(await program.stdout.receive_some(100))
        program.terminate()
        assert await program.stdout.receive_some(100) == b"term\n"
        assert await program.wait() == ProgramEnd(exit_status=5)
        await eventually(lambda: not is_alive(grandchild))
    async with running(("/bin/sh", "-c", "trap '' TERM; echo; sleep 1000"), tmp_path) as program:
        await program.stdout.receive_some(100)
        program.terminate()
        program.kill()
        assert await program.wait() == ProgramEnd(signal=signal.SIGKILL)


HOST = """
import sys, trio
from pathlib import Path
from contextlib import AsyncExitStack
from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.group_guard import open_group_guard
from sigil_actors.tiers.process.plain_program import open_plain_program
from sigil_actors.tiers.process.spawner import Spawner
async def main():
    async with AsyncExitStack() as stack:
        spawner = await stack.enter_async_context(Spawner())
        guard = await stack.enter_async_context(open_group_guard(spawner))
        script = "sleep 1000 & echo $! $$; wait"
        async with open_plain_program("it", ("/bin/sh", "-c", script), env={}, cwd=Path("/"),
            socket_dir=Path("/"), spawner=spawner, guard=guard) as program:
            async with open_plain_program("it", ("/bin/true",), env={}, cwd=Path("/"),
                socket_dir=Path("/"), spawner=spawner, guard=guard):
                pass
            print((await program.stdout.receive_some(100)).decode(), flush=True)
            await trio.sleep_forever()
trio.run(main)
"""


async def test_a_host_that_is_killed_leaves_neither_the_program_nor_what_it_started() -> None:
    async with (
        Spawner() as spawner,
        await spawner.spawn(
            (sys.executable, "-c", HOST), env={"PYTHONPATH": str(Path(__file__).parents[3])}
        ) as host,
    ):
        pids = [int(pid) for pid in (await host.stdout.receive_some(100)).split()]
        assert len(pids) == 2
        assert all(map(is_alive, pids))
        os.kill(host.pid, signal.SIGKILL)
        await host.wait()
        await eventually(lambda: not any(map(is_alive, pids)))


async def test_where_there_is_no_program_for_it_python_asks_for_the_death_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plain_program, "_asking_program", lambda: (sys.executable, *IN_PYTHON))
    async with running(("/bin/sh", "-c", "echo $$; exec sleep 1000"), tmp_path) as program:
        assert int(await program.stdout.receive_some(100)) == program.pid


@pytest.mark.parametrize("road", [(DIE_WITH_PARENT_HERE,), (sys.executable, *IN_PYTHON)])
async def test_a_program_whose_parent_is_dead_already_is_never_begun(
    road: tuple[str, ...], tmp_path: Path
) -> None:
    async with (
        Spawner() as spawner,
        await spawner.spawn((*road, "1", "/bin/touch", str(tmp_path / "begun")), env={}) as child,
    ):
        assert (await child.wait()).exit_status == 126
    assert not (tmp_path / "begun").exists()


def test_this_machine_takes_the_fast_road() -> None:
    assert plain_program._asking_program() == (DIE_WITH_PARENT_HERE,)


async def test_a_port_that_the_program_listens_at_is_reached(tmp_path: Path) -> None:
    listener = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener[0].socket.getsockname()[1]
    async with listener[0], running(("/bin/sleep", "1000"), tmp_path) as program:
        connection = await program.connect_tcp(port)
        assert connection.getpeername() == ("127.0.0.1", port)
        assert not connection.getblocking()
        connection.close()


async def test_a_program_for_another_machine_ends_before_it_begins(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF nothing that runs")
    program.chmod(0o755)
    async with running((str(program),), tmp_path) as started:
        assert (await started.wait()).exit_status in {126, 127}


async def test_no_program_without_its_folder(tmp_path: Path) -> None:
    before = descriptors(), children()
    with pytest.raises(PluginStartError, match="No such file"):
        async with running(("/bin/true",), tmp_path / "nowhere"):
            pass
    assert (descriptors(), children()) == before


@pytest.mark.slow
@pytest.mark.skipif("CI" not in os.environ, reason="building takes a while; CI does it")
def test_a_rebuild_gives_the_committed_bytes(
    require: Callable[[str], None], tmp_path: Path
) -> None:
    require("zig")
    built = build(DIE_WITH_PARENT, "x86_64", tmp_path)
    assert built.read_bytes() == static_program(DIE_WITH_PARENT, "x86_64").read_bytes()
