"""What a plugin asks of its host: where the host is, for whom it asks, and how it fails."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from sigil_actors._proto.plugin import broker_pb2
from sigil_actors._proto.sigil.host.v1 import host_pb2
from sigil_actors.rpc.channel import open_channel
from sigil_actors.rpc.server import Server, listen_unix, open_server
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.sdk import host as host_module
from sigil_actors.sdk.broker import ANNOUNCED_MAX, Broker
from sigil_actors.sdk.errors import HostCallError, HostDeniedError, HostUnreachableError
from sigil_actors.sdk.host import Host, HostAddress, HostConnection
from sigil_actors.sdk.registry import Registry
from tests.tiers.process.machine import eventually


@attrs.define
class FakeHost:
    """The servicer `sigil.host.v1.Host`."""

    fails_with: StatusCode | None = None
    sessions: list[str] = attrs.field(factory=list)
    connections: set[object] = attrs.field(factory=set)

    async def Call(  # noqa: N802
        self, request: host_pb2.CallRequest, _context: object
    ) -> host_pb2.CallResponse:
        self.sessions.append(request.session_id)
        if self.fails_with is not None:
            raise RpcError(self.fails_with, "so it is")
        return host_pb2.CallResponse(payload=request.payload * 2)

    async def Check(  # noqa: N802
        self, request: host_pb2.CheckRequest, _context: object
    ) -> host_pb2.CheckResponse:
        return host_pb2.CheckResponse(allowed=request.capability == "kv.get")


@asynccontextmanager
async def serving(path: Path, fake: FakeHost) -> AsyncGenerator[Server]:
    server = Server()
    Registry(server).add(host_pb2.DESCRIPTOR.services_by_name["Host"], fake)
    async with open_server(server, listen_unix(path)):
        yield server
    path.unlink()


@asynccontextmanager
async def connected(path: Path) -> AsyncGenerator[Host]:
    async def find() -> HostAddress:
        return HostAddress(address=f"unix:{path}")

    host = Host()
    async with trio.open_nursery() as nursery:
        host.connect_by(HostConnection(nursery, find))
        yield host
        nursery.cancel_scope.cancel()


async def test_a_host_answers_calls_and_checks_over_one_connection(tmp_path: Path) -> None:
    async with serving(tmp_path / "host", FakeHost()) as server:
        async with connected(tmp_path / "host") as host:
            async with trio.open_nursery() as nursery:
                for _ in range(10):
                    nursery.start_soon(host.call, "kv.get", b"a")
            assert await host.call("kv.get", b"ab") == b"abab"
            assert await host.check("kv.get")
            assert not await host.check("kv.set")
            assert len(server.connections) == 1


@pytest.mark.parametrize(
    ("code", "kind", "told"),
    [
        (StatusCode.PERMISSION_DENIED, HostDeniedError, "kv.get: denied: so it is"),
        (StatusCode.UNIMPLEMENTED, HostCallError, "kv.get: the host has no such function"),
        (StatusCode.UNAVAILABLE, HostCallError, "kv.get: UNAVAILABLE: so it is"),
        (StatusCode.INTERNAL, HostCallError, "kv.get: INTERNAL: so it is"),
    ],
)
async def test_each_refusal_is_an_error_of_its_own(
    tmp_path: Path, code: StatusCode, kind: type[HostCallError], told: str
) -> None:
    async with serving(tmp_path / "host", FakeHost(fails_with=code)):
        async with connected(tmp_path / "host") as host:
            with pytest.raises(HostCallError) as caught:
                await host.call("kv.get")
    assert type(caught.value) is kind
    assert (caught.value.what, caught.value.capability) == (told, "kv.get")


async def test_the_callers_token_goes_along_unless_another_is_given(tmp_path: Path) -> None:
    fake = FakeHost()

    class Plugin:
        async def Call(  # noqa: N802
            self, _request: host_pb2.CallRequest, _context: object
        ) -> host_pb2.CallResponse:
            await host.call("x")
            await host.call("x", session_id="")
            await host.call("x", session_id="other")
            async with trio.open_nursery() as nursery:  # a task of the call's is for it too
                nursery.start_soon(host.call, "x")
            return host_pb2.CallResponse()

    plugin = Server()
    Registry(plugin).add(host_pb2.DESCRIPTOR.services_by_name["Host"], Plugin())
    async with serving(tmp_path / "host", fake), connected(tmp_path / "host") as host:
        async with open_server(plugin, listen_unix(tmp_path / "plugin")):
            async with open_channel(f"unix:{tmp_path / 'plugin'}") as channel:
                call = channel.unary_unary("/sigil.host.v1.Host/Call")
                await call(b"", metadata=(("sigil-call", "token"),))
                assert fake.sessions == ["token", "", "other", "token"]
                # The next call of the same task has nothing of it.
                await call(b"")
                assert fake.sessions[4:] == ["", "", "other", ""]
        await host.call("x")
    assert fake.sessions[-1] == ""


async def test_a_lost_connection_is_told_and_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "host"
    async with connected(path) as host:
        with pytest.raises(HostUnreachableError, match="can't be connected to"):
            await host.call("x")
        async with serving(path, FakeHost()):
            await host.call("x")
        with pytest.raises(HostUnreachableError):
            await host.call("x")
        async with serving(path, FakeHost()):
            assert await host.call("x", b"a") == b"aa"


async def test_a_connection_lost_during_a_call_is_no_answer(tmp_path: Path) -> None:
    class Gone(FakeHost):
        async def Call(self, *_: object) -> Any:  # noqa: N802
            nursery.cancel_scope.cancel()
            await trio.sleep_forever()

    path = tmp_path / "host"
    async with connected(path) as host:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                async with serving(path, Gone()):
                    await trio.sleep_forever()

            nursery.start_soon(serve)
            await eventually(path.exists)
            with trio.CancelScope(shield=True), pytest.raises(HostUnreachableError, match="gone"):
                await host.call("x")


async def test_a_plugin_that_isnt_served_has_no_host() -> None:
    with pytest.raises(HostUnreachableError, match="isn't served"):
        await Host().call("x")


async def test_a_host_that_announces_nothing_is_waited_for_within_bounds(
    autojump_clock: trio.testing.MockClock,
) -> None:
    broker = Broker(trio.Event())

    async def find() -> HostAddress:
        return HostAddress(address=await broker.address_of(1))

    async with trio.open_nursery() as nursery:
        host = Host()
        host.connect_by(HostConnection(nursery, find))
        with pytest.raises(HostUnreachableError, match="announced nothing within 5 s"):
            await host.call("x")
        assert trio.current_time() == host_module.FIND_S
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def announcing(folder: Path) -> AsyncGenerator[tuple[Broker, Any, trio.Event]]:
    """Give a broker, the host's end of its stream, and what stops the plugin."""
    stopping = trio.Event()
    broker = Broker(stopping)
    server = Server()
    Registry(server).add(broker_pb2.DESCRIPTOR.services_by_name["GRPCBroker"], broker)
    path = folder / "plugin"
    async with open_server(server, listen_unix(path)), open_channel(f"unix:{path}") as channel:
        start = channel.stream_stream(
            "/plugin.GRPCBroker/StartStream",
            broker_pb2.ConnInfo.SerializeToString,
            broker_pb2.ConnInfo.FromString,
        )
        async with start() as stream:
            yield broker, stream, stopping


async def test_the_broker_learns_where_the_host_is(tmp_path: Path) -> None:
    async with announcing(tmp_path) as (broker, stream, _):
        for network, address, known_as in (
            ("unix", "/run/a", "unix:/run/a"),
            ("tcp", "127.0.0.1:9", "127.0.0.1:9"),
        ):
            number = len(address)
            await stream.write(
                broker_pb2.ConnInfo(service_id=number, network=network, address=address)
            )
            with trio.fail_after(5):
                assert await broker.address_of(number) == known_as


async def test_the_broker_keeps_so_many_announcements(tmp_path: Path) -> None:
    async with announcing(tmp_path) as (broker, stream, _):
        for number in range(ANNOUNCED_MAX + 1):
            await stream.write(broker_pb2.ConnInfo(service_id=number, network="tcp", address="a:1"))
        with trio.fail_after(5):
            assert await broker.address_of(ANNOUNCED_MAX) == "a:1"
        with trio.move_on_after(0):
            await broker.address_of(0)
            pytest.fail("the oldest is still kept")


async def test_a_host_that_wants_to_multiplex_is_refused(tmp_path: Path) -> None:
    async with announcing(tmp_path) as (_, stream, _):
        await stream.write(
            broker_pb2.ConnInfo(service_id=3, knock=broker_pb2.ConnInfo.Knock(knock=True))
        )
        with trio.fail_after(5):
            answer = await stream.read()
        assert (answer.service_id, answer.knock.ack) == (3, True)
        assert "doesn't multiplex" in answer.knock.error


async def test_the_brokers_stream_ends_with_the_plugin(tmp_path: Path) -> None:
    async with announcing(tmp_path) as (_, stream, stopping):
        stopping.set()
        with trio.fail_after(5):
            assert await stream.read() is None
