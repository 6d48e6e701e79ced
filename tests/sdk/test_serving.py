"""A plugin from its handshake to its end, under this project's own client and by hand."""

import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from google.protobuf.wrappers_pb2 import Int64Value

import sigil_actors.sdk
from sigil_actors._proto.grpc.health.v1 import health_pb2
from sigil_actors._proto.plugin.v1 import channel_pb2, lifecycle_pb2, tool_pb2
from sigil_actors.core.handshake import HandshakeOffer, parse_handshake
from sigil_actors.goplugin import ClientConfig, GoPluginClient, HandshakeConfig
from sigil_actors.rpc.auto_mtls import make_certificate
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.tiers.process.child_process import ChildProcess
from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import eventually, is_alive

PLUGIN = Path(__file__).with_name("example_plugin.py")
MARK = {"PATH": os.environ["PATH"]}


@attrs.define
class Started:
    """A plugin that a test started by itself."""

    process: ChildProcess
    channel: Channel
    socket: Path


@asynccontextmanager
async def started(folder: Path, **environment: str) -> AsyncGenerator[Started]:
    offer = HandshakeOffer(socket_dir=folder)
    env = {**offer.environment(), **environment}
    async with Spawner() as spawner:
        async with await spawner.spawn((sys.executable, str(PLUGIN)), env=env) as process:
            with trio.fail_after(20):
                line = await process.stdout.receive_some(4096)
            socket = Path(parse_handshake(bytes(line), offer, plugin="p").address)
            async with open_channel(f"unix:{socket}") as channel:
                yield Started(process, channel, socket)


async def execute(channel: Channel, tool: str, arguments: str = "{}") -> list[str]:
    call = channel.unary_stream(
        "/plugin.v1.Tool/Execute",
        tool_pb2.ExecuteRequest.SerializeToString,
        tool_pb2.ExecuteChunk.FromString,
    )(tool_pb2.ExecuteRequest(tool_name=tool, arguments=arguments))
    return [chunk.text or chunk.error async for chunk in call if not chunk.done]


@pytest.mark.parametrize("auto_mtls", [False, True], ids=["plain", "auto-mtls"])
async def test_it_runs_under_this_projects_client(auto_mtls: bool) -> None:  # noqa: FBT001
    log: list[tuple[str, str]] = []
    config = ClientConfig(
        command=(sys.executable, str(PLUGIN)),
        auto_mtls=auto_mtls,
        log=lambda level, line: log.append((level, line)),
    )
    async with GoPluginClient(config) as client:
        assert await execute(client.channel, "echo", '{"text": "hello"}') == ["hello"]
        config_ = lifecycle_pb2.InitRequest()
        config_.config.update({"a": 1})
        init = await client.channel_call(
            "plugin.v1.PluginLifecycle/Init", config_.SerializeToString()
        )
        assert lifecycle_pb2.InitResponse.FromString(init).ok
        listening = client.channel.unary_stream("/plugin.v1.Channel/Start")(b"")
        async with listening:
            await client.channel_call(
                "plugin.v1.Channel/Send", channel_pb2.SendRequest(content="hi").SerializeToString()
            )
            said = channel_pb2.InboundMessage.FromString(await listening.read() or b"")
        assert said.content == "hi"
        with pytest.raises(RpcError, match="Unexpected ZeroDivisionError"):
            await execute(client.channel, "fail")
        wanted = {
            ("debug", "printed: hello"),
            ("warn", "example: echoing: length=5"),
            ("info", "example: configured: ['a']"),
        }
        await eventually(lambda: wanted <= set(log))
        assert any(level == "error" and "ZeroDivisionError" in line for level, line in log)
    assert not is_alive(client.pid)


async def test_nobody_without_the_hosts_certificate_is_served(tmp_path: Path) -> None:
    host, stranger = make_certificate(), make_certificate()
    offer = HandshakeOffer(socket_dir=tmp_path, client_certificate=host.pem)
    async with Spawner() as spawner:
        argv = (sys.executable, str(PLUGIN))
        async with await spawner.spawn(argv, env=offer.environment()) as process:
            line = await process.stdout.receive_some(4096)
            handshake = parse_handshake(bytes(line), offer, plugin="p")
            address = f"unix:{handshake.address}"
            for certificate, is_served in ((host, True), (stranger, False)):
                tls = certificate.client_context(handshake.server_certificate)
                async with open_channel(address, tls=tls) as channel:
                    describe = channel.unary_unary("/plugin.v1.Tool/Describe")
                    if is_served:
                        assert await describe(b"")
                    else:
                        with pytest.raises(RpcError, match="UNAVAILABLE"):
                            await describe(b"")
            async with open_channel(address) as channel:
                with pytest.raises(RpcError, match="UNAVAILABLE"):
                    await channel.unary_unary("/plugin.v1.Tool/Describe")(b"")


async def test_its_health_is_told_as_go_plugin_tells_it(tmp_path: Path) -> None:
    async with started(tmp_path) as plugin:
        check = plugin.channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            health_pb2.HealthCheckRequest.SerializeToString,
            health_pb2.HealthCheckResponse.FromString,
        )
        answer = await check(health_pb2.HealthCheckRequest(service="plugin"))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(RpcError) as caught:
            await check(health_pb2.HealthCheckRequest(service="other"))
        assert caught.value.code() is StatusCode.NOT_FOUND
        watch = plugin.channel.unary_stream("/grpc.health.v1.Health/Watch")
        async with watch(health_pb2.HealthCheckRequest(service="plugin").SerializeToString()) as it:
            told = health_pb2.HealthCheckResponse.FromString(await it.read() or b"")
        assert told.status == health_pb2.HealthCheckResponse.SERVING


async def ask_to_go(plugin: Started) -> None:
    await plugin.channel.unary_unary("/plugin.GRPCController/Shutdown")(b"")


async def send_sigterm(plugin: Started) -> None:
    plugin.process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("end", [ask_to_go, send_sigterm])
async def test_it_finishes_and_ends_with_status_0(
    tmp_path: Path, end: Callable[[Started], Any]
) -> None:
    async with started(tmp_path, FINISHED=str(tmp_path)) as plugin:
        # Calls in flight, an endless one too, don't keep it.
        call = plugin.channel.unary_stream("/plugin.v1.Tool/Execute")
        request = tool_pb2.ExecuteRequest(tool_name="endless").SerializeToString()
        async with call(request) as endless:
            await endless.read()
            await end(plugin)
            with trio.fail_after(5):
                ended = await plugin.process.wait()
    assert ended.exit_status == 0
    assert [path.name.split("-")[0] for path in tmp_path.iterdir()] == ["finished"]  # no socket


async def test_a_lifecycle_finishes_once_with_the_time_that_its_host_gives(tmp_path: Path) -> None:
    async with started(tmp_path, FINISHED=str(tmp_path)) as plugin:
        shutdown = plugin.channel.unary_unary("/plugin.v1.PluginLifecycle/Shutdown")
        request = lifecycle_pb2.ShutdownRequest(timeout_seconds=7)
        answer = lifecycle_pb2.ShutdownResponse.FromString(
            await shutdown(request.SerializeToString())
        )
        assert answer.clean
        await ask_to_go(plugin)
        with trio.fail_after(5):
            assert (await plugin.process.wait()).exit_status == 0
    (finished,) = tmp_path.glob("finished-*")
    assert finished.name.endswith("-7")


async def test_ctrl_c_in_a_terminal_is_left_to_the_host(tmp_path: Path) -> None:
    async with started(tmp_path) as plugin:
        plugin.process.send_signal(signal.SIGINT)
        for _ in range(50):  # it would be gone before the last of them
            assert await execute(plugin.channel, "echo", '{"text": "here"}') == ["here"]


def test_started_by_hand_it_says_what_it_is() -> None:
    done = subprocess.run(
        [sys.executable, PLUGIN], capture_output=True, text=True, env=MARK, check=False
    )
    assert done.returncode == 1
    assert "this is a plugin: its host starts it" in done.stderr
    assert "Traceback" not in done.stderr


OTHER_PROTOCOL = """
import grpc
from google.protobuf.wrappers_pb2 import Int64Value
from sigil_actors.sdk import serve

class Counter:
    total = 0
    def Add(self, request, context):
        self.total += request.value
        return Int64Value(value=self.total)

def add_CounterServicer_to_server(servicer, server):
    handler = grpc.unary_unary_rpc_method_handler(
        servicer.Add, Int64Value.FromString, Int64Value.SerializeToString)
    server.add_registered_method_handlers("counter.Counter", {"Add": handler})

serve(services=[(add_CounterServicer_to_server, Counter())],
      cookie_key="COUNTER_PLUGIN", cookie_value="one two three", versions=(2, 3))
"""


async def test_a_plain_servicer_of_another_protocol_is_served(tmp_path: Path) -> None:
    program = tmp_path / "counter.py"
    program.write_text(OTHER_PROTOCOL)
    handshake = HandshakeConfig(
        protocol_version=2, magic_cookie_key="COUNTER_PLUGIN", magic_cookie_value="one two three"
    )
    config = ClientConfig(command=(sys.executable, str(program)), handshake=handshake)
    async with GoPluginClient(config) as client:
        for total in (5, 10):
            answer = await client.channel_call(
                "counter.Counter/Add", Int64Value(value=5).SerializeToString()
            )
            assert Int64Value.FromString(answer).value == total
        # It has nothing of the contract that it isn't written for.
        with pytest.raises(RpcError, match="UNIMPLEMENTED"):
            await client.channel_call("plugin.v1.PluginLifecycle/Health", b"")


def test_a_plugin_loads_neither_the_host_nor_what_takes_long() -> None:
    code = (
        "import sys; from sigil_actors.sdk import *; import sigil_actors.sdk.serving;"
        "print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"grpc", "cryptography", "wasmtime", "asyncio", "cattrs"}
    parts = {name.split(".")[1] for name in loaded if name.startswith("sigil_actors.")}
    assert parts == {"sdk", "rpc", "_proto", "core", "errors", "actors"}
    assert {name for name in loaded if name.startswith("sigil_actors.actors.")} == {
        "sigil_actors.actors.nursery"
    }


def test_every_public_name_is_there() -> None:
    for name in sigil_actors.sdk.__all__:
        assert getattr(sigil_actors.sdk, name) is not None
    assert set(sigil_actors.sdk.__all__) <= set(dir(sigil_actors.sdk))
    with pytest.raises(AttributeError, match="nothing"):
        _ = sigil_actors.sdk.nothing
