"""A plugin runs in its sandbox with what its plan says, and sees nothing else of the host."""

import os
import signal
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.errors import PluginStartError, SandboxUnavailableError
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.sandbox.launch import open_sandboxed_program
from tests.tiers.process.machine import eventually, is_alive
from tests.tiers.process.sandbox.sandboxes import (
    IDENTITY,
    PROXY,
    Folders,
    answer_of,
    complained,
    open_host,
    plan_of,
    python,
    running,
    said,
    shell,
)


async def test_a_program_runs_in_its_folder_with_its_own_environment(
    facts: HostFacts, folders: Folders
) -> None:
    plan = plan_of(shell('pwd; echo "$K"; exit 4'), facts, folders, environment={"K": "v"})
    assert await answer_of(plan, facts) == (f"{folders.plugin}\nv\n", ProgramEnd(exit_status=4))


async def test_neither_the_hosts_environment_nor_the_plan_is_readable_inside(
    facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGIL_TEST_SECRET", "secret-of-the-host")
    script = "cat /proc/*/environ | tr '\\0' '\\n'; echo; cat /proc/1/cmdline | tr '\\0' '\\n'"
    text, _ = await answer_of(plan_of(shell(script), facts, folders), facts)
    assert "secret-of-the-host" not in text
    first, _, command_line = text.partition("\n\n")
    assert "PWD=/\n" not in first
    assert "--args" in command_line
    assert not any(f"--{word}" in command_line for word in ("bind", "ro-bind", "setenv", "seccomp"))


async def test_no_descriptor_of_the_host_is_open_inside(facts: HostFacts, folders: Folders) -> None:
    plan = plan_of(python("import os; print(sorted(os.listdir('/proc/self/fd')))"), facts, folders)
    text, _ = await answer_of(plan, facts)
    assert text == "['0', '1', '2', '3']\n"  # the last one is the listing's own


async def test_a_root_host_runs_it_as_a_user_of_its_own(facts: HostFacts, folders: Folders) -> None:
    plan = plan_of(shell("echo $(id -u) $(id -G); exec sleep 1000"), facts, folders)
    async with running(plan, facts) as program:
        assert await program.stdout.receive_some(100) == b"1000 1000\n"
        owner = Path(f"/proc/{program.pid}").stat().st_uid
        assert owner == program.socket_uid
        assert owner == (os.geteuid() if IDENTITY is None else IDENTITY.uid)


async def test_the_pid_is_the_plugins_own_and_terminate_is_for_it_alone(
    facts: HostFacts, folders: Folders
) -> None:
    script = "trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.01; done"
    async with running(plan_of(shell(script), facts, folders), facts) as program:
        await program.stdout.receive_some(100)
        assert b"trap" in Path(f"/proc/{program.pid}/cmdline").read_bytes()
        program.terminate()
        assert await said(program) == "term\n"
        assert await program.wait() == ProgramEnd(exit_status=5)


async def test_a_signal_that_ended_it_is_told(facts: HostFacts, folders: Folders) -> None:
    _, end = await answer_of(plan_of(shell("kill -s SEGV $$"), facts, folders), facts)
    assert end == ProgramEnd(signal=signal.SIGSEGV)


async def test_kill_ends_all_of_it_whatever_session_it_is_in(
    facts: HostFacts, folders: Folders
) -> None:
    script = "trap '' TERM; setsid sleep 1000 & setsid sleep 1000 & echo up; wait; sleep 1000"
    async with running(plan_of(shell(script), facts, folders), facts) as program:
        await program.stdout.receive_some(100)
        inside = _inside(program.pid)
        assert len(inside) >= 3
        program.kill()
        assert await program.wait() == ProgramEnd(signal=signal.SIGKILL)
        assert not any(map(is_alive, inside))


async def test_what_it_started_ends_with_it(facts: HostFacts, folders: Folders) -> None:
    script = "setsid sleep 1000 & echo up; read line < sockets-gate; exit 0"
    gate = folders.sockets / "gate"
    os.mkfifo(gate)
    gate.chmod(0o666)
    script = script.replace("sockets-gate", str(gate))
    async with running(plan_of(shell(script), facts, folders), facts) as program:
        await program.stdout.receive_some(100)
        inside = _inside(program.pid)
        await trio.to_thread.run_sync(lambda: gate.write_text("go\n"))
        assert await program.wait() == ProgramEnd(exit_status=0)
        assert not any(map(is_alive, inside))


async def test_bubblewrap_killed_from_outside_takes_the_plugin_with_it(
    facts: HostFacts, folders: Folders
) -> None:
    plan = plan_of(shell("echo up; exec sleep 1000"), facts, folders)
    async with running(plan, facts) as program:
        await program.stdout.receive_some(100)
        plugin = program.pid
        os.kill(program._child.pid, signal.SIGKILL)
        assert await program.wait() == ProgramEnd(signal=signal.SIGKILL)
        assert not is_alive(plugin)


async def test_a_port_inside_is_reached_and_the_hosts_own_is_not(
    facts: HostFacts, folders: Folders
) -> None:
    script = (
        "import socket\n"
        "s = socket.create_server(('127.0.0.1', 10007)); print('up', flush=True)\n"
        "c, _ = s.accept(); c.sendall(b'inside'); c.close()\n"
        "for port in (PORT,):\n"
        "  try: socket.create_connection(('127.0.0.1', port)); print('reached')\n"
        "  except OSError as error: print(error.errno)\n"
    )
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    plan = plan_of(python(script.replace("PORT", str(port))), facts, folders)
    async with listener, running(plan, facts) as program:
        await program.stdout.receive_some(100)
        made = await program.connect_tcp(10007)
        assert not made.getblocking()
        async with trio.SocketStream(trio.socket.from_stdlib_socket(made)) as stream:
            assert await stream.receive_some(100) == b"inside"
        with pytest.raises(ConnectionRefusedError):
            await program.connect_tcp(10008)
        assert await said(program) == "111\n"


async def test_the_proxys_listener_is_there_before_the_plugin_is(
    facts: HostFacts, folders: Folders
) -> None:
    script = (
        "import os, socket\n"
        "s = socket.create_connection(('127.0.0.1', 3128)); s.sendall(b'me')\n"
        "print(os.environ['https_proxy'], s.recv(9))\n"
    )
    plan = plan_of(python(script), facts, folders, network=PROXY)
    async with running(plan, facts) as program:
        assert program.proxy_listener is not None
        async with await program.proxy_listener.accept() as stream:
            assert await stream.receive_some(9) == b"me"
            await stream.send_all(b"you")
        assert await said(program) == "http://127.0.0.1:3128 b'you'\n"


async def test_a_plugin_without_a_network_has_no_listener(
    facts: HostFacts, folders: Folders
) -> None:
    async with running(plan_of(shell("exit 0"), facts, folders), facts) as program:
        assert program.proxy_listener is None


async def test_a_program_that_is_not_there_is_named_by_its_last_words(
    facts: HostFacts, folders: Folders
) -> None:
    async with running(plan_of(("./gone",), facts, folders), facts) as program:
        assert "gone: No such file" in await complained(program)
        # Said by bubblewrap, or by the program that confines it where the kernel has Landlock.
        assert (await program.wait()).exit_status in (1, 126)


async def test_a_sandbox_that_cannot_be_put_together_says_what_bubblewrap_said(
    facts: HostFacts, folders: Folders
) -> None:
    plan = plan_of(shell("echo ran"), facts, folders)
    broken = Bind(source="/nowhere", target="/nowhere", why="a test")
    plan = attrs.evolve(plan, mounts=(broken, *plan.mounts))
    with pytest.raises(PluginStartError, match="Can't find source path /nowhere"):
        async with running(plan, facts):
            pass


async def test_a_host_without_what_a_sandbox_needs_refuses(facts: HostFacts) -> None:
    for lacking, word in (
        (attrs.evolve(facts, bubblewrap=None), "apt install bubblewrap"),
        (attrs.evolve(facts, has_user_namespaces=False), "user.max_user_namespaces"),
        (attrs.evolve(facts, has_seccomp=False), "CONFIG_SECCOMP_FILTER"),
    ):
        with pytest.raises(SandboxUnavailableError, match=word):
            async with open_host(lacking):
                pass


async def test_without_its_filter_the_program_never_runs(
    facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that dies while it holds bubblewrap closes the pipe without a filter in it."""
    monkeypatch.setattr("sigil_actors.tiers.process.sandbox.launch._filter", lambda _options: b"")
    plan = plan_of(shell(f"echo ran; echo ran > {folders.sockets}/ran"), facts, folders)
    async with running(plan, facts) as program:
        assert await said(program) == ""
        assert (await program.wait()).exit_status != 0
    assert not (folders.sockets / "ran").exists()


async def test_a_start_cancelled_at_any_moment_leaves_nothing(
    facts: HostFacts, folders: Folders
) -> None:
    plan = plan_of(shell("exec sleep 1000"), facts, folders, network=PROXY)
    reached = 0
    async with open_host(facts) as host:
        for step in range(1, 200):
            with trio.CancelScope() as scope:
                counter = _CancelAt(step, scope)
                trio.lowlevel.add_instrument(counter)
                try:
                    async with open_sandboxed_program(plan, host=host, identity=IDENTITY):
                        trio.lowlevel.remove_instrument(counter)
                        reached = step
                finally:
                    if not reached:
                        trio.lowlevel.remove_instrument(counter)
            if reached:
                break
        assert reached > 10
        await eventually(lambda: not _sleepers())
        if host.cgroups is not None:
            assert not [group for place in host.cgroups.places for group in place.glob("*/")]


class _CancelAt(trio.abc.Instrument):
    """Cancels a scope when the tasks of the test have been scheduled so many times."""

    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left = step
        self._scope = scope
        self._task = trio.lowlevel.current_task()

    def task_scheduled(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._left -= 1
            if self._left == 0:
                self._scope.cancel()


def _sleepers() -> list[int]:
    """Return sandboxed processes that are children of ours, or of nobody."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b"sleep\x001000" in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
    return [pid for pid in found if is_alive(pid) and _is_ours(pid)]


def _is_ours(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}").stat().st_uid == (
            os.geteuid() if IDENTITY is None else IDENTITY.uid
        )
    except OSError:
        return False


def _inside(pid: int) -> list[int]:
    """Return every process of the sandbox that `pid` is in."""
    namespace = Path(f"/proc/{pid}/ns/pid").readlink()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "ns/pid").readlink() == namespace:
                    found.append(int(entry.name))
            except OSError:
                continue
    return found
