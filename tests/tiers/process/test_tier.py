"""The process tier with a real plugin in Go: the way back, its log, its end, and what is left."""

import json
import os
import signal
import sys
import tempfile
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.execution import (
    FilesystemPolicy,
    NetworkPolicy,
    SandboxPolicy,
    WasmExecution,
)
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.errors import (
    HandshakeError,
    PluginCrashedError,
    PluginRefusedError,
    PluginStartError,
    SandboxUnavailableError,
)
from sigil_actors.ports.tier import TierSession
from sigil_actors.tiers.process import running_plugin, workshop
from sigil_actors.tiers.process.spawner import Identity, Spawner
from tests.tiers.process.machine import children, descriptors, eventually, is_alive
from tests.tiers.process.world import NAME, UIDS, leftovers, open_world, shared_folder

Go = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("own_temporary_folder")


@pytest.fixture(params=["plain", "sandboxed"])
def is_sandboxed(request: pytest.FixtureRequest) -> bool:
    """Run a test without a sandbox, and in one."""
    if request.param == "sandboxed":
        request.getfixturevalue("sandbox")
        return True
    return False


@asynccontextmanager
async def nothing_left() -> AsyncGenerator[None]:
    """Check that a block leaves no child, no descriptor and no folder."""
    before = descriptors(), children(), leftovers()
    yield
    assert (descriptors(), children(), leftovers()) == before


async def said(session: TierSession, tool: str, **arguments: object) -> str:
    """Return what a tool says."""
    request = ExecuteRequest(tool_name=tool, arguments=json.dumps(arguments), session_id="token")
    async with session.execute(request) as pieces:
        return "".join([piece async for piece in pieces])


@pytest.mark.parametrize("auto_mtls", [False, True])
async def test_a_plugin_reaches_its_host_over_the_broker_and_at_its_address(
    go_program: Go, *, is_sandboxed: bool, auto_mtls: bool
) -> None:
    async with (
        nothing_left(),
        open_world(go_program("plugin"), is_sandboxed=is_sandboxed, auto_mtls=auto_mtls) as world,
        world.session() as session,
    ):
        for by in ("broker", "address"):
            asked = {"capability": "kv.get", "by": by}
            assert await said(session, "hostcall", payload="x", **asked) == "kv.get x token"
            assert await said(session, "hostcheck", **asked) == "true ok"
        assert await said(session, "hostcheck", capability="exec.run") != "true ok"


async def test_a_plugin_has_the_protocols_variables_and_its_manifests_and_no_others(
    go_program: Go, monkeypatch: pytest.MonkeyPatch, *, is_sandboxed: bool
) -> None:
    monkeypatch.setenv("HOST_SECRET", "x")
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        async with world.session(world.launch(env={"TZ": "UTC"})) as session:
            variables = dict(pair.split("=", 1) for pair in json.loads(await said(session, "env")))
    assert variables.keys() - {"PWD"} == {
        "HOME",
        "LANG",
        "PATH",
        "PLUGIN_MAX_PORT",
        "PLUGIN_MIN_PORT",
        "PLUGIN_PROTOCOL_VERSIONS",
        "PLUGIN_UNIX_SOCKET_DIR",
        "SIGIL_HOST_ADDRESS",
        "SIGIL_PLUGIN",
        "TMPDIR",
        "TZ",
    }


async def test_all_that_a_plugin_writes_reaches_its_log_with_its_level(
    go_program: Go, *, is_sandboxed: bool
) -> None:
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        async with world.session() as session:
            await said(session, "log")
            await said(session, "stdout", text="to out", lines=3)
            await said(session, "stderr", text="to err", lines=3)
            entries = world.log.entries
            wanted = [
                ("info", 'plugin: an info: text="two words"'),
                ("warn", "plugin.inner: a warning: error=why"),
                ("error", "plugin: an error: list=[1,2]"),
                *[("debug", "to out"), ("debug", "to err")] * 3,
            ]
            await eventually(
                lambda: all(entries.count(entry) >= wanted.count(entry) for entry in wanted)
            )


async def test_large_answers_arrive_whole(go_program: Go, *, is_sandboxed: bool) -> None:
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        async with world.session() as session:
            assert len(await said(session, "big", bytes=5_000_000, chunks=3)) == 15_000_000


async def test_a_plugin_that_panics_ends_with_its_last_words(
    go_program: Go, *, is_sandboxed: bool
) -> None:
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        async with world.session() as session:
            with pytest.raises(PluginCrashedError, match="exited with status 2") as caught:
                await said(session, "panic", text="out of luck")
            assert any("out of luck" in word for word in caught.value.last_words)
            assert (await session.wait_ended()).error.args == caught.value.args
        assert [text for level, text in world.log.entries if level == "error" and "out of" in text]


async def test_a_plugin_that_is_killed_ends_the_calls_in_it(
    go_program: Go, *, is_sandboxed: bool
) -> None:
    before = children()
    async with (
        nothing_left(),
        open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world,
        world.session() as session,
    ):
        await said(session, "stderr", text="so long")
        request = ExecuteRequest(tool_name="endless", arguments="{}", session_id="token")
        with pytest.raises(PluginCrashedError, match="was killed by SIGKILL") as caught:
            async with session.execute(request) as pieces:
                async for _ in pieces:
                    os.kill(plugin_of(before), signal.SIGKILL)
        assert "so long" in caught.value.last_words


def plugin_of(before: set[int]) -> int:
    """Return the process of the plugin: the one that runs the program `it`, below this one."""
    pending = list(children() - before)
    while pending:
        pid = pending.pop()
        try:
            if Path(f"/proc/{pid}/comm").read_text() == "it\n":
                return pid
            for task in Path(f"/proc/{pid}/task").iterdir():
                pending += map(int, (task / "children").read_text().split())
        except FileNotFoundError:
            continue
    raise AssertionError("no plugin runs")


async def test_a_plugin_out_of_memory_says_so(
    go_program: Go, probed: HostFacts, sandbox: None
) -> None:
    del sandbox
    if probed.cgroups is None:
        pytest.skip("no group of processes can be made here")
    async with open_world(go_program("plugin"), is_sandboxed=True) as world:
        async with world.session() as session:
            with pytest.raises(PluginCrashedError, match="memory limit"):
                await said(session, "big", bytes=300_000_000)


@pytest.mark.parametrize(
    ("script", "error", "why"),
    [
        ("echo 'no such config' >&2; exit 3", HandshakeError, "exited with status 3.*no such conf"),
        ("kill -9 $$", HandshakeError, "was killed by SIGKILL"),
        ("echo hm >&2; sleep 1000", HandshakeError, "gave no handshake within 0.5 s.*hm"),
        ("echo hello", HandshakeError, "no handshake"),
        ("echo '1|2|unix|/s|grpc'; sleep 1000", HandshakeError, "listens where it may not"),
        ("echo '1|2|tcp|127.0.0.1:9|grpc'; sleep 1000", HandshakeError, "speaks version '2'"),
        (
            'echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc"; sleep 1000',
            PluginStartError,
            "No such file",
        ),
        (
            'ln -s /run/x $PLUGIN_UNIX_SOCKET_DIR/s; echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc"'
            "; sleep 1000",
            PluginStartError,
            "is a link",
        ),
        (
            'mkfifo $PLUGIN_UNIX_SOCKET_DIR/s; echo "1|1|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc"'
            "; sleep 1000",
            PluginStartError,
            "is no socket",
        ),
    ],
)
async def test_a_plugin_that_doesnt_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
    *,
    is_sandboxed: bool,
    script: str,
    error: type[PluginStartError],
    why: str,
) -> None:
    monkeypatch.setattr(running_plugin, "LEAVE_S", 0.1)
    async with nothing_left(), open_world(is_sandboxed=is_sandboxed) as world:
        world.write(f"#!/bin/sh\n{script}\n")
        with pytest.raises(error, match=f"(?s){why}"):
            async with world.tier.open(world.launch(start_timeout=0.5)):
                pass


FAKE = """#!/usr/bin/python3 -IS
import os, socket, sys
path = os.environ["PLUGIN_UNIX_SOCKET_DIR"] + "/s"
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
listener.listen()
print(f"1|1|unix|{path}|grpc", flush=True)
connection, _ = listener.accept()
BEHAVIOUR
"""


NEEDS_PYTHON = pytest.mark.skipif(
    not Path("/usr/bin/python3").exists(), reason="the fake plugin is in Python"
)


@NEEDS_PYTHON
@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (
            "connection.sendall(b'HTTP/1.0 200 OK\\r\\n' * 1000); listener.accept()",
            "closed its conn",
        ),
        ("connection.close(); connection = listener.accept()", "closed its connection"),
        ("sys.exit(7)", "exited with status 7"),
        ("while connection.recv(1 << 20): pass", "health check within 0.5 s"),
    ],
    ids=["nonsense", "closing", "exiting", "silence"],
)
async def test_a_server_that_serves_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, *, is_sandboxed: bool, behaviour: str, why: str
) -> None:
    monkeypatch.setattr(running_plugin, "LEAVE_S", 0.1)
    async with nothing_left(), open_world(is_sandboxed=is_sandboxed) as world:
        world.write(FAKE.replace("BEHAVIOUR", behaviour))
        with pytest.raises(PluginStartError, match=why):
            async with world.tier.open(world.launch(start_timeout=0.5)):
                pass


async def test_cancelled_at_any_moment_of_its_start_it_leaves_nothing(
    go_program: Go, *, is_sandboxed: bool
) -> None:
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        async with world.session():
            pass
        async with nothing_left():
            for number in range(30):
                with trio.move_on_after(number * 0.0012):
                    async with world.session():
                        await trio.sleep_forever()


@pytest.mark.parametrize("was_cancelled", [False, True])
async def test_a_plugin_that_wont_go_is_ended(
    monkeypatch: pytest.MonkeyPatch, go_program: Go, *, is_sandboxed: bool, was_cancelled: bool
) -> None:
    """A shell in front of it, which ignores SIGTERM and lives on when the plugin has gone."""
    monkeypatch.setattr(running_plugin, "EXIT_S", 60 if was_cancelled else 0.1)
    monkeypatch.setattr(running_plugin, "TERM_S", 60 if was_cancelled else 0.1)
    async with (
        nothing_left(),
        open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world,
    ):
        script = "trap '' TERM; ./it; while :; do sleep 1; done"
        with trio.move_on_after(5) as scope:
            async with world.session(world.launch("/bin/sh", "-c", script)) as session:
                await session.shutdown(grace_s=1)
                if was_cancelled:
                    scope.cancel()
        assert scope.cancelled_caught is was_cancelled


async def test_a_pin_is_held_against_the_program(go_program: Go, *, is_sandboxed: bool) -> None:
    async with open_world(go_program("plugin"), is_sandboxed=is_sandboxed) as world:
        with pytest.raises(PluginRefusedError, match="its pin says"):
            async with world.tier.open(world.launch(sha256="0" * 64)):
                pass


async def test_a_machine_without_a_sandbox_runs_no_plugin(
    go_program: Go, probed: HostFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def probe_host(_identity: Identity | None) -> HostFacts:
        await trio.lowlevel.checkpoint()
        return attrs.evolve(probed, bubblewrap=None)

    monkeypatch.setattr(workshop, "probe_host", probe_host)
    async with nothing_left(), open_world(go_program("plugin"), is_sandboxed=True) as world:
        for _ in range(2):
            with pytest.raises(SandboxUnavailableError, match="bubblewrap isn't installed"):
                async with world.tier.open(world.launch()):
                    pass
        assert not world.log.entries


async def test_what_isnt_for_this_tier_is_refused() -> None:
    async with open_world() as world:
        launch = world.launch()
        wasm = attrs.evolve(
            launch, manifest=attrs.evolve(launch.manifest, execution=WasmExecution())
        )
        for wrong, why in (
            (wasm, "for the tier wasm"),
            (attrs.evolve(launch, folder=None), "no f"),
        ):
            with pytest.raises(PluginRefusedError, match=why):
                async with world.tier.open(wrong):
                    pass


HOST = """
import sys, trio
from pathlib import Path
from tests.tiers.process.world import open_world
async def main():
    async with open_world(Path(sys.argv[1]), is_sandboxed=sys.argv[2] == "True") as world:
        async with world.session(world.launch("/bin/sh", "-c", "sleep 1000 & ./it")):
            print("open", flush=True)
            await trio.sleep_forever()
trio.run(main)
"""


async def test_a_host_that_is_killed_takes_all_of_its_plugin_along(
    go_program: Go, *, is_sandboxed: bool
) -> None:
    program = str(go_program("plugin"))
    argv = (sys.executable, "-c", HOST, program, str(is_sandboxed))
    env = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PATH": os.environ["PATH"],
        "TMPDIR": tempfile.gettempdir(),
    }
    async with Spawner() as spawner, await spawner.spawn(argv, env=env) as host:
        assert await host.stdout.receive_some(100) == b"open\n"
        below = descendants(host.pid)
        assert len(below) >= 3
        host.send_signal(signal.SIGKILL)
        await host.wait()
        await eventually(lambda: not any(map(is_alive, below)))


def descendants(pid: int) -> set[int]:
    """Return all that a process started, and that these did."""
    found: set[int] = set()
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found |= {child} | descendants(child)
    return found


PROXIED = """#!/usr/bin/python3 -IS
import os, socket, sys
port = int(os.environ["HTTPS_PROXY"].rpartition(":")[2])
connection = socket.create_connection(("127.0.0.1", port))
connection.sendall(b"CONNECT example.org:443 HTTP/1.1\\r\\nHost: example.org:443\\r\\n\\r\\n")
sys.exit(connection.makefile().readline())
"""


@NEEDS_PYTHON
async def test_a_plugin_with_a_network_finds_its_proxy_which_asks_the_host(sandbox: None) -> None:
    """Nobody decides for this launch, so that the answer is no."""
    del sandbox
    policy = SandboxPolicy(network=NetworkPolicy(allow=("example.com:443",)))
    async with nothing_left(), open_world(is_sandboxed=True) as world:
        world.write(PROXIED)
        with pytest.raises(HandshakeError, match=r"HTTP/1\.1 403"):
            async with world.tier.open(world.launch(sandbox=policy)):
                pass


BY_TCP = """#!/usr/bin/python3 -IS
import socket
listener = socket.create_server(("127.0.0.1", 12345))
print("1|1|tcp|127.0.0.1:12345|grpc", flush=True)
raise SystemExit(f"was sent {listener.accept()[0].recv(16)}")
"""


@NEEDS_PYTHON
async def test_a_port_inside_the_sandbox_is_reached_and_one_of_the_machine_is_not_trusted(
    monkeypatch: pytest.MonkeyPatch, *, is_sandboxed: bool
) -> None:
    monkeypatch.setattr(running_plugin, "LEAVE_S", 0.5)
    why = "was sent b'PRI \\* HTTP/2.0" if is_sandboxed else "every process of this machine"
    async with nothing_left(), open_world(is_sandboxed=is_sandboxed) as world:
        world.write(BY_TCP)
        with pytest.raises(PluginStartError, match=why):
            async with world.tier.open(world.launch()):
                pass


async def test_the_bound_on_write_folders_is_the_hosts(go_program: Go, sandbox: None) -> None:
    del sandbox
    with shared_folder(None) as folder:
        (folder / "file").write_bytes(b"x" * 100_000)
        if os.geteuid() == 0:
            os.chown(folder, UIDS.uid_of(NAME), UIDS.uid_of(NAME))
        policy = SandboxPolicy(filesystem=FilesystemPolicy(write_allow=(str(folder),)))
        async with open_world(
            go_program("plugin"), is_sandboxed=True, write_bytes_max=50_000
        ) as world:
            with pytest.raises(PluginStartError, match="hold more than 50000 bytes"):
                async with world.session(world.launch(sandbox=policy)):
                    pass
