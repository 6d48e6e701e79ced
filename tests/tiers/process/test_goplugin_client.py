"""Any go-plugin plugin runs under a client: its own cookie, versions and services."""

import hashlib
import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import attrs
import grpc
import pytest
import trio
from google.protobuf.wrappers_pb2 import Int64Value, StringValue, UInt32Value

from sigil_actors.core.execution import PluginType, ProcessExecution
from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import (
    HandshakeError,
    PluginCrashedError,
    PluginRefusedError,
    PluginStartError,
)
from sigil_actors.goplugin import (
    ClientConfig,
    GoPluginClient,
    HandshakeConfig,
    client_config,
    handshake_config,
    plugin_map,
)
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.sandbox import generate_args
from sigil_actors.tiers.process import running_plugin
from sigil_actors.tiers.process.group_guard import GroupGuard
from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import children, descriptors, eventually, is_alive

Go = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("own_temporary_folder")

HANDSHAKE = HandshakeConfig(
    protocol_version=2,
    magic_cookie_key="COUNTER_PLUGIN",
    magic_cookie_value="one two three",
)


@pytest.fixture
def config(go_program: Go) -> ClientConfig:
    """Give how the counter is run."""
    return ClientConfig(command=(str(go_program("counter")),), handshake=HANDSHAKE)


async def add(client: GoPluginClient, by: int) -> int:
    answer = await client.channel_call(
        "counter.Counter/Add", Int64Value(value=by).SerializeToString()
    )
    return Int64Value.FromString(answer).value


def text(value: str) -> bytes:
    return StringValue(value=value).SerializeToString()


def test_this_projects_own_contract_is_a_configuration_like_any_other() -> None:
    handshake = handshake_config()
    assert handshake.protocol_version == 1
    assert handshake.magic_cookie_key == "SIGIL_PLUGIN"
    assert handshake.magic_cookie_value == "aGFzaGljb3JwLWdvLXBsdWdpbg=="
    assert sorted(plugin_map()) == ["channel", "lifecycle", "provider", "tool"]
    assert client_config("/opt/plugin").command == ("/opt/plugin",)
    line = ["bwrap", "--ro-bind", "/usr", "/usr", "--", "/opt/plugin"]
    sandboxed = client_config("/opt/plugin", sandbox=line)
    assert sandboxed.command == tuple(line)
    assert sandboxed.name == "plugin"


async def test_a_plugin_is_called_and_nothing_of_it_is_left(config: ClientConfig) -> None:
    before = descriptors(), children()
    async with GoPluginClient(config) as client:
        assert await add(client, 5) == 5
        assert await add(client, 6) == 11
        assert is_alive(client.pid)
        upto = client.channel.unary_stream("/counter.Counter/Upto")
        numbers = [
            Int64Value.FromString(piece).value
            async for piece in upto(Int64Value(value=100).SerializeToString())
        ]
        assert numbers == list(range(1, 101))
        with pytest.raises(RpcError) as caught:
            await client.channel_call("counter.Counter/Nothing", b"")
        assert caught.value.code() is StatusCode.UNIMPLEMENTED
    assert not is_alive(client.pid)
    assert (descriptors(), children()) == before


@pytest.mark.parametrize(("versions", "spoken"), [((2,), 2), ((2, 3), 3), ((3, 4), 3)])
async def test_both_sides_speak_the_highest_version_that_both_know(
    config: ClientConfig, versions: tuple[int, ...], spoken: int
) -> None:
    async with GoPluginClient(attrs.evolve(config, versions=versions)) as client:
        assert client.version == spoken
        answer = await client.channel_call("counter.Counter/Version", b"")
        assert Int64Value.FromString(answer).value == spoken


async def test_a_version_that_only_one_side_knows_is_refused(config: ClientConfig) -> None:
    with pytest.raises(HandshakeError, match="this host offers 4"):
        async with GoPluginClient(attrs.evolve(config, versions=(4,))):
            pass


async def test_a_wrong_cookie_is_told_in_the_plugins_own_words(config: ClientConfig) -> None:
    wrong = attrs.evolve(HANDSHAKE, magic_cookie_value="four")
    before = descriptors(), children()
    with pytest.raises(HandshakeError, match=r"exited with status 1.*This binary is a plugin"):
        async with GoPluginClient(attrs.evolve(config, handshake=wrong)):
            pass
    assert (descriptors(), children()) == before


async def test_both_sides_check_the_others_certificate(config: ClientConfig) -> None:
    async with GoPluginClient(attrs.evolve(config, auto_mtls=True)) as client:
        assert await add(client, 5) == 5


@pytest.mark.parametrize("auto_mtls", [False, True])
async def test_the_broker_works_both_ways(config: ClientConfig, *, auto_mtls: bool) -> None:
    async with GoPluginClient(attrs.evolve(config, auto_mtls=auto_mtls)) as client:
        server = client.server()

        async def answer(request: bytes, _context: object) -> bytes:
            return text(f"{StringValue.FromString(request).value} Well!")

        handler = grpc.unary_unary_rpc_method_handler(answer)
        server.add_registered_method_handlers("counter.Callback", {"Answer": handler})
        async with trio.open_nursery() as nursery:
            number = client.broker.next_id()
            nursery.start_soon(client.broker.serve, number, server)
            said = await client.channel_call(
                "counter.Counter/Ask", UInt32Value(value=number).SerializeToString()
            )
            assert StringValue.FromString(said).value == "how are you? Well!"
            served = await client.channel_call("counter.Counter/Serve", b"")
            async with client.broker.dial(UInt32Value.FromString(served).value) as channel:
                add_there = channel.unary_unary("/counter.Counter/Add")
                total = await add_there(Int64Value(value=7).SerializeToString())
                assert Int64Value.FromString(total).value == 7
            nursery.cancel_scope.cancel()


async def test_a_pin_is_held_against_the_program(config: ClientConfig) -> None:
    program = Path(config.command[0])
    pin = hashlib.sha256(program.read_bytes()).hexdigest()
    async with GoPluginClient(attrs.evolve(config, sha256=pin)) as client:
        assert await add(client, 1) == 1
    with pytest.raises(PluginRefusedError, match="its pin says"):
        async with GoPluginClient(attrs.evolve(config, sha256="0" * 64)):
            pass


async def test_all_that_a_plugin_writes_reaches_the_log(config: ClientConfig) -> None:
    log: list[tuple[str, str]] = []
    logged = attrs.evolve(config, log=lambda level, line: log.append((str(level), line)))
    wanted = {
        ("warn", "counter: hello: through=hclog"),
        ("debug", "out: hello"),
        ("debug", "err: hello"),
    }
    async with GoPluginClient(logged) as client:
        await client.channel_call("counter.Counter/Say", text("hello"))
        await eventually(lambda: wanted <= set(log))


async def test_a_plugin_that_crashes_says_why(config: ClientConfig) -> None:
    async with GoPluginClient(config) as client:
        with pytest.raises(RpcError) as caught:
            await client.channel_call("counter.Counter/Crash", text("out of luck"))
        assert caught.value.code() is StatusCode.UNAVAILABLE
        with trio.fail_after(5):
            error = await client.wait_ended()
        assert isinstance(error, PluginCrashedError)
        assert error.exit_status == 2
        assert any("out of luck" in word for word in error.last_words)


async def test_an_error_of_the_block_leaves_it_bare_and_the_plugin_dead(
    config: ClientConfig,
) -> None:
    with pytest.raises(ZeroDivisionError):
        async with GoPluginClient(config) as client:
            raise ZeroDivisionError
    assert not is_alive(client.pid)


async def test_cancelled_at_any_moment_of_its_start_it_leaves_nothing(config: ClientConfig) -> None:
    before = descriptors(), children()
    for number in range(25):
        with trio.move_on_after(number * 0.001):
            async with GoPluginClient(config):
                await trio.sleep_forever()
        assert (descriptors(), children()) == before


HOST = """
import sys, trio
from sigil_actors.goplugin import ClientConfig, GoPluginClient, HandshakeConfig
async def main():
    handshake = HandshakeConfig(
        protocol_version=2, magic_cookie_key="COUNTER_PLUGIN", magic_cookie_value="one two three")
    async with GoPluginClient(ClientConfig(command=(sys.argv[1],), handshake=handshake)) as client:
        print(client.pid, flush=True)
        await trio.sleep_forever()
trio.run(main)
"""


async def test_a_host_that_is_killed_takes_its_plugin_along(config: ClientConfig) -> None:
    argv = (sys.executable, "-c", HOST, config.command[0])
    env = {
        "PYTHONPATH": str(Path(__file__).parents[3]),
        "PATH": os.environ["PATH"],
        "TMPDIR": tempfile.gettempdir(),
    }
    async with Spawner() as spawner, await spawner.spawn(argv, env=env) as host:
        plugin = int(await host.stdout.receive_some(100))
        assert is_alive(plugin)
        host.send_signal(signal.SIGKILL)
        await eventually(lambda: not is_alive(plugin))


async def test_a_client_is_for_one_start() -> None:
    client = GoPluginClient(ClientConfig(command=("/no/such/program",)))
    with pytest.raises(RuntimeError, match="open it first"):
        _ = client.channel
    with pytest.raises(PluginRefusedError, match="No such file"):
        await client.__aenter__()
    with pytest.raises(RuntimeError, match="opened once"):
        await client.__aenter__()


LISTENING = """#!/bin/sh
echo '1|2|{network}|{address}|grpc'
sleep 1000
"""


@pytest.mark.parametrize(
    ("network", "address", "why"),
    [
        ("unix", "$PLUGIN_UNIX_SOCKET_DIR/none", "No such file"),
        ("tcp", "127.0.0.1:9", "every process of this machine can connect"),
    ],
)
async def test_a_plugin_that_isnt_where_it_says_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, address: str, why: str
) -> None:
    program = tmp_path / "plugin"
    script = LISTENING.format(network=network, address=address).replace("'", '"')
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setattr(running_plugin, "LEAVE_S", 0.05)
    before = descriptors(), children()
    with pytest.raises(PluginStartError, match=why):
        async with GoPluginClient(ClientConfig(command=(str(program),), handshake=HANDSHAKE)):
            pass
    assert (descriptors(), children()) == before


async def test_a_client_runs_a_plugin_in_the_generated_sandbox(
    go_program: Go, require: Callable[[str], None]
) -> None:
    require("bwrap")
    binary = go_program("counter")
    manifest = Manifest(
        name="counter", version="1.0.0", type=PluginType.TOOL, execution=ProcessExecution()
    )
    line = generate_args(manifest, binary)
    assert line is not None
    config = attrs.evolve(client_config(binary, sandbox=line), handshake=HANDSHAKE, versions=(2,))
    before = descriptors(), children()
    async with GoPluginClient(config) as client:
        assert await add(client, 5) == 5
    assert (descriptors(), children()) == before


async def test_no_plugin_runs_where_what_it_starts_cant_be_guarded(
    config: ClientConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(_: GroupGuard) -> None:
        await trio.lowlevel.checkpoint()
        raise FileNotFoundError(2, "No such file or directory", "/bin/sh")

    monkeypatch.setattr(GroupGuard, "wait_started", refuse)
    before = descriptors(), children()
    with pytest.raises(PluginStartError, match="can't be guarded"):
        async with GoPluginClient(config):
            pass
    assert (descriptors(), children()) == before
