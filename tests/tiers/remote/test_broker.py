"""Announcements go both ways, within bounds, and a broker that closes tells whoever waits."""

import math
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from sigil_actors._proto.plugin import broker_pb2, broker_pb2_grpc
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.errors import PluginCallError
from sigil_actors.rpc.channel import Channel
from sigil_actors.rpc.server import Server
from sigil_actors.tiers.remote import broker as broker_module
from sigil_actors.tiers.remote.broker import ANNOUNCED_MAX, Broker, Listen, Listening, open_broker
from tests.tiers.remote.in_process import Scripted, open_peer

INFO = broker_pb2.ConnInfo


class PluginSide:
    """The plugin's end of the conversation."""

    def __init__(self) -> None:
        self.says, self._to_say = trio.open_memory_channel[broker_pb2.ConnInfo](1000)
        self._heard, self.heard = trio.open_memory_channel[broker_pb2.ConnInfo](1000)

    async def stream(self, requests: AsyncIterator[Any], _context: object) -> AsyncIterator[object]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._hear, requests)
            async for info in self._to_say:
                yield info
            nursery.cancel_scope.cancel()

    async def _hear(self, requests: AsyncIterator[Any]) -> None:
        async for info in requests:
            await self._heard.send(info)


@asynccontextmanager
async def open_sides() -> AsyncGenerator[tuple[Broker, PluginSide]]:
    """Give a broker, and its plugin's side of it."""
    plugin = PluginSide()
    add = broker_pb2_grpc.add_GRPCBrokerServicer_to_server
    async with (
        open_peer((add, Scripted(StartStream=plugin.stream))) as channel,
        _open(channel) as broker,
    ):
        yield broker, plugin


@asynccontextmanager
async def _listen() -> AsyncGenerator[Listening]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        yield Listening(socket=listener, network="tcp", address=address)


def _open(channel: Channel, listen: Listen = _listen) -> AbstractAsyncContextManager[Broker]:
    async def dial(network: str, address: str) -> socket.socket:
        await trio.lowlevel.checkpoint()
        raise ConnectionRefusedError(f"{network} {address}")

    return open_broker("peer", channel, dial=dial, listen=listen, log=lambda *_: None)


async def test_what_the_plugin_announced_is_what_is_dialled() -> None:
    async with open_sides() as (broker, plugin):
        async with open_bare_nursery() as nursery:

            async def dial() -> None:
                with pytest.raises(ConnectionRefusedError, match="unix /a/7"):
                    async with broker.dial(7):
                        pass

            nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked(0.01)
            await plugin.says.send(INFO(service_id=8, network="unix", address="/a/8"))
            await plugin.says.send(INFO(service_id=7, network="unix", address="/a/7"))


async def test_what_is_announced_anew_counts() -> None:
    async with open_sides() as (broker, plugin):
        for address in ("/old", "/new"):
            await plugin.says.send(INFO(service_id=7, network="unix", address=address))
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(ConnectionRefusedError, match="/new"):
            async with broker.dial(7):
                pass


async def test_no_more_than_some_announcements_are_kept_and_the_newest_of_them() -> None:
    async with open_sides() as (broker, plugin):
        for number in range(ANNOUNCED_MAX + 10):
            await plugin.says.send(INFO(service_id=number, network="unix", address=f"/{number}"))
        with pytest.raises(ConnectionRefusedError), trio.fail_after(5):
            async with broker.dial(ANNOUNCED_MAX + 9):
                pass
        assert len(broker._announced) == ANNOUNCED_MAX
        assert min(broker._announced) == 10


async def test_a_broker_that_closes_tells_whoever_waits_for_an_announcement() -> None:
    async with open_sides() as (broker, plugin):
        async with open_bare_nursery() as nursery:

            async def dial() -> None:
                with pytest.raises(PluginCallError, match="its broker is closed"):
                    async with broker.dial(7):
                        pass

            nursery.start_soon(dial)
            await trio.testing.wait_all_tasks_blocked(0.01)
            plugin.says.close()
        with pytest.raises(PluginCallError, match="its broker is closed"):
            async with broker.dial(7):
                pass


async def test_a_plugin_without_a_broker_is_no_error_until_one_is_wanted() -> None:
    async with open_peer() as channel, _open(channel) as broker:
        with trio.fail_after(5):
            await broker.serve(1, Server())
            with pytest.raises(PluginCallError, match="GRPCBroker"):
                async with broker.dial(7):
                    pass


async def test_a_lost_connection_closes_the_broker_however_early() -> None:
    async with open_peer() as channel:
        channel.close()
        async with _open(channel) as broker:
            with trio.fail_after(5):
                await broker.serve(1, Server(), reached=trio.Event())


async def test_a_knock_is_refused_since_nothing_is_multiplexed() -> None:
    async with open_sides() as (_, plugin):
        await plugin.says.send(INFO(service_id=7, knock=INFO.Knock(knock=True)))
        await plugin.says.send(INFO(service_id=8, knock=INFO.Knock(knock=True, ack=True)))
        answer = await plugin.heard.receive()
        assert (answer.service_id, answer.knock.ack) == (7, True)
        assert "multiplex" in answer.knock.error
        await trio.testing.wait_all_tasks_blocked(0.01)
        with pytest.raises(trio.WouldBlock):
            plugin.heard.receive_nowait()


async def test_a_host_is_announced_until_it_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "ANNOUNCE_AGAIN_S", 0.01)
    reached = trio.Event()
    async with open_sides() as (broker, plugin), trio.open_nursery() as nursery:

        async def serve() -> None:
            await broker.serve(1, Server(), reached=reached)

        nursery.start_soon(serve)
        said = [await plugin.heard.receive() for _ in range(3)]
        assert {info.service_id for info in said} == {1}
        assert len({info.address for info in said}) == 1
        reached.set()
        await trio.testing.wait_all_tasks_blocked(0.02)
        while plugin.heard.statistics().current_buffer_used:
            await plugin.heard.receive()
        with trio.move_on_after(0.05) as scope:
            await plugin.heard.receive()
        assert scope.cancelled_caught
        nursery.cancel_scope.cancel()


async def test_each_number_of_the_hosts_is_new_and_none_is_the_host_services() -> None:
    async with open_sides() as (broker, _):
        numbers = [broker.next_id() for _ in range(100)]
        assert len(set(numbers)) == 100
        assert min(numbers) > 1


async def test_announcements_of_many_servers_at_a_time_all_arrive() -> None:
    async with open_sides() as (broker, plugin), trio.open_nursery() as nursery:
        numbers = [broker.next_id() for _ in range(20)]
        for number in numbers:
            nursery.start_soon(broker.serve, number, Server())
        heard = [await plugin.heard.receive() for _ in numbers]
        assert sorted(info.service_id for info in heard) == numbers
        nursery.cancel_scope.cancel()


async def test_a_plugin_that_reads_no_announcements_makes_them_wait_and_breaks_nothing() -> None:
    async def never_read(_requests: object, _context: object) -> AsyncIterator[object]:
        await trio.sleep(math.inf)
        yield INFO()

    @asynccontextmanager
    async def listen() -> AsyncGenerator[Listening]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield Listening(socket=listener, network="tcp", address="x" * 100_000)

    add = broker_pb2_grpc.add_GRPCBrokerServicer_to_server
    async with (
        open_peer((add, Scripted(StartStream=never_read))) as channel,
        _open(channel, listen) as broker,
        trio.open_nursery() as nursery,
    ):
        for _ in range(30):  # far more than the window holds
            nursery.start_soon(broker.serve, broker.next_id(), Server())
        await trio.testing.wait_all_tasks_blocked(0.02)
        nursery.cancel_scope.cancel()
