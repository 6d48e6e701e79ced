"""What a real plugin in Go is told, may ask, and is understood by, beyond the tiers' contract."""

import json
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
import trio
import trio.testing
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue, UInt32Value

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.calls import ExecuteRequest, HealthStatus
from sigil_actors.core.handshake import HandshakeOffer
from sigil_actors.errors import (
    LimitExceededError,
    PluginCallError,
    PluginCrashedError,
    PluginStartError,
)
from sigil_actors.ports.tier import TierSession
from sigil_actors.rpc.server import Server
from sigil_actors.tiers.remote.certificates import make_certificate
from tests.tiers.remote.go_plugin import EchoHost, open_go_plugin, open_go_program


@pytest.fixture
def program(go_program: Callable[[str], Path]) -> Path:
    return go_program("plugin")


async def call(
    session: TierSession, tool: str, *, timeout_seconds: int = 0, **arguments: object
) -> str:
    request = ExecuteRequest(
        tool_name=tool,
        arguments=json.dumps(arguments),
        session_id="a token",
        timeout_seconds=timeout_seconds,
    )
    async with session.execute(request) as chunks:
        return "".join([piece async for piece in chunks])


async def test_a_plugin_is_told_its_configuration_the_token_and_the_deadline(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path, config={"a": [1, {"b": None}]}) as plugin:
        told = json.loads(await call(plugin.session, "told"))
        assert told == {
            "session_id": "a token",
            "sigil_call": ["a token"],
            "timeout_seconds": 0,
            "config": {"a": [1, {"b": None}]},
        }
        with trio.fail_after(30):
            told = json.loads(await call(plugin.session, "told"))
        assert 25 < told["deadline_s"] < 31
        told = json.loads(await call(plugin.session, "told", timeout_seconds=60))
        assert told["timeout_seconds"] == 60
        assert 55 < told["deadline_s"] < 61


async def test_a_callers_own_time_is_told_by_his_scope_and_not_by_a_status(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path) as plugin:
        with trio.move_on_after(0.05) as scope:
            await call(plugin.session, "sleep", Ms=60_000)
        assert scope.cancelled_caught
        assert await call(plugin.session, "sleep", Ms=0) == "slept"


@pytest.mark.parametrize("uses_tls", [False, True], ids=["plain", "tls"])
async def test_a_plugin_reaches_its_host_over_the_broker(
    program: Path, tmp_path: Path, *, uses_tls: bool
) -> None:
    host = EchoHost()
    async with open_go_plugin(program, tmp_path, host=host, uses_tls=uses_tls) as plugin:
        said = await call(plugin.session, "hostcall", Capability="kv.get", Payload="hello")
        assert said == "host says hello"
        assert await call(plugin.session, "hostcheck", Capability="kv.get") == "true ok"
        assert (
            await call(plugin.session, "hostcheck", Capability="x.y", Session="")
            == "false plugin_allow_missing"
        )
        assert host.asked == [
            ("kv.get", b"hello", "a token"),
            ("kv.get", None, "a token"),
            ("x.y", None, ""),
        ]


@pytest.mark.parametrize("uses_tls", [False, True], ids=["plain", "tls"])
async def test_any_go_plugins_broker_works_both_ways(
    go_program: Callable[[str], Path], tmp_path: Path, *, uses_tls: bool
) -> None:
    async def answer(request: StringValue, _context: object) -> StringValue:
        await trio.lowlevel.checkpoint()
        return StringValue(value=f"you asked {request.value}")

    handler = grpc.unary_unary_rpc_method_handler(
        answer, StringValue.FromString, StringValue.SerializeToString
    )
    certificate = make_certificate() if uses_tls else None
    offer = HandshakeOffer(
        socket_dir=tmp_path,
        cookie_key="COUNTER_PLUGIN",
        cookie_value="one two three",
        versions=(2, 3),
        client_certificate=certificate.pem if certificate else "",
    )
    async with (
        open_go_program(go_program("counter"), offer, certificate) as running,
        trio.open_nursery() as nursery,
    ):
        server = Server(tls=running.server_tls)
        server.add_registered_method_handlers("counter.Callback", {"Answer": handler})
        number = running.broker.next_id()
        nursery.start_soon(running.broker.serve, number, server)
        ask = running.channel.unary_unary(
            "/counter.Counter/Ask", UInt32Value.SerializeToString, StringValue.FromString
        )
        assert (await ask(UInt32Value(value=number))).value == "you asked how are you?"

        serve = running.channel.unary_unary(
            "/counter.Counter/Serve", Empty.SerializeToString, UInt32Value.FromString
        )
        their_number = (await serve(Empty())).value
        with trio.fail_after(5):
            async with running.broker.dial(their_number) as channel:
                add = channel.unary_unary(
                    "/counter.Counter/Add", Int64Value.SerializeToString, Int64Value.FromString
                )
                assert (await add(Int64Value(value=42))).value == 42
        nursery.cancel_scope.cancel()


async def test_what_a_plugin_prints_comes_over_its_stdio_stream(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path) as plugin:
        await call(plugin.session, "stdout", Text="to out", Lines=100)
        await call(plugin.session, "stderr", Text="to err")
        with trio.fail_after(5):
            await plugin.program.wait_logged(
                lambda: (
                    _of(plugin.program.logged, "stdout") == "to out\n" * 100
                    and _of(plugin.program.logged, "stderr") == "to err\n"
                )
            )


def _of(logged: list[tuple[str, str]], name: str) -> str:
    return "".join(text for output, text in logged if output == name)


async def test_an_answer_may_end_without_done_and_a_status_is_an_error(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path) as plugin:
        assert await call(plugin.session, "undone") == "said"
        with pytest.raises(PluginCallError, match="UNKNOWN: no chunk, but a status"):
            await call(plugin.session, "status")
        with pytest.raises(PluginCallError, match="no such tool"):
            await call(plugin.session, "nothing")


async def test_a_message_over_the_bound_is_an_error_and_the_session_goes_on(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path) as plugin:
        assert len(await call(plugin.session, "big", Bytes=1_000_000, Chunks=8)) == 8_000_000
        with pytest.raises(PluginCallError, match="RESOURCE_EXHAUSTED"):
            await call(plugin.session, "big", Bytes=5_000_000)
        assert await call(plugin.session, "echo") == "{}"


async def test_a_description_over_its_bounds_is_named(program: Path, tmp_path: Path) -> None:
    for config, bound in (
        ({"more_tools": "x" * 256}, "tools"),
        ({"description": "x" * 100_000}, "bytes of its description"),
    ):
        async with open_go_plugin(program, tmp_path, config=config) as plugin:
            with pytest.raises(LimitExceededError) as caught:
                await plugin.session.describe()
            assert caught.value.bound == bound
            assert await call(plugin.session, "echo") == "{}"


async def test_a_plugin_that_refuses_its_configuration_says_why(
    program: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginStartError, match=r"refused its configuration: no\\x1b"):
        async with open_go_plugin(program, tmp_path, config={"refuse": "no\x1b"}):
            pass


@pytest.mark.parametrize(
    ("said", "status"),
    [
        ("DEGRADED", HealthStatus.DEGRADED),
        ("UNHEALTHY", HealthStatus.UNHEALTHY),
        ("UNSPECIFIED", HealthStatus.DEGRADED),
    ],
)
async def test_a_plugin_says_how_it_is(
    program: Path, tmp_path: Path, said: str, status: HealthStatus
) -> None:
    config = {"health": said, "health_message": "why"}
    async with open_go_plugin(program, tmp_path, config=config) as plugin:
        health = await plugin.session.health()
        assert (health.status, health.message) == (status, "why")


async def test_a_shutdown_is_never_waited_for_longer_than_its_grace(
    program: Path, tmp_path: Path
) -> None:
    async with open_go_plugin(program, tmp_path, config={"shutdown": "hang"}) as plugin:
        with trio.fail_after(5):
            assert await plugin.session.shutdown(grace_s=0.05) is False
    async with open_go_plugin(program, tmp_path, config={"shutdown": "unclean"}) as plugin:
        assert await plugin.session.shutdown(grace_s=5) is False


@pytest.mark.parametrize("way", ["panic", "kill"])
async def test_a_plugin_that_dies_is_told_with_how(program: Path, tmp_path: Path, way: str) -> None:
    async with open_go_plugin(program, tmp_path) as plugin:
        status = {"panic": 2, "kill": -9}[way]
        with pytest.raises(PluginCrashedError) as caught, trio.fail_after(5):
            async with open_bare_nursery() as nursery:
                if way == "kill":
                    nursery.start_soon(_kill_later, plugin.program.process)
                    await call(plugin.session, "sleep", Ms=60_000)
                await call(plugin.session, "panic", Text="at the disco")
        assert caught.value.exit_status == status
        end = await plugin.session.wait_ended()
        assert end.reason == f"plugin 'go' exited with status {status}"
        with pytest.raises(PluginCrashedError):
            await plugin.session.health()


async def _kill_later(process: trio.Process) -> None:
    await trio.testing.wait_all_tasks_blocked(0.01)
    process.kill()
