"""go-plugin's broker: further connections between a host and its plugin, in both directions.

A side that serves something listens at a new address and announces it under a number; the other
side connects there. All announcements go over one stream, which the host opens. Where to listen,
and whether an address of the plugin's may be connected to, is for the tier.

The form in which all of it goes over one connection (multiplexing) isn't spoken: a plugin uses it
only where its host asks for it.
"""

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from itertools import count
from socket import socket
from typing import Any, Final, TypeAlias

import attrs
import trio

from sigil_actors._proto.plugin import broker_pb2, broker_pb2_grpc
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginCallError
from sigil_actors.ports.tier import PluginLog
from sigil_actors.rpc.call import Call
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import Server
from sigil_actors.rpc.status import RpcError
from sigil_actors.tiers.remote.host_service import HOST_SERVICE_ID
from sigil_actors.tiers.remote.stubs import stub

ANNOUNCED_MAX: Final = 256
"""Announcements of a plugin that are kept; the oldest make room. go-plugin keeps each for 5 s."""

ANNOUNCE_AGAIN_S: Final = 4.0
"""go-plugin forgets after 5 seconds what was announced and not yet connected to, so that a plugin
that makes its first host call later would never reach its host."""


_DETAILS_CHARACTERS_MAX: Final = 200
"""Of the text of a plugin's status."""


@attrs.frozen(kw_only=True)
class Listening:
    """Where the host listens for one of its plugin's connections."""

    socket: socket
    """Bound and listening; whoever made it closes it."""
    network: str
    """`unix` or `tcp`."""
    address: str
    """As the plugin knows it."""


Dial: TypeAlias = Callable[[str, str], Awaitable[socket]]
"""Takes a network and an address from the plugin; checks that it may listen there, and returns a
connected socket. What it raises reaches whoever wanted the connection."""

Listen: TypeAlias = Callable[[], AbstractAsyncContextManager[Listening]]
"""Listens anew, where the plugin and nobody else can connect."""


class Broker:
    """One plugin's broker; see `open_broker`."""

    def __init__(
        self,
        plugin: str,
        stream: Call | None,
        *,
        dial: Dial,
        listen: Listen,
        log: PluginLog,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._plugin = plugin
        self._stream = stream
        self._dial = dial
        self._listen = listen
        self._log = log
        self._tls = tls
        self._ids = count(HOST_SERVICE_ID + 1)
        self._announced: dict[int, broker_pb2.ConnInfo] = {}
        self._sending = trio.Lock()
        self._changed = trio.Event()
        self._closed = trio.Event()

    def next_id(self) -> int:
        """Return a number that the host has announced nothing under."""
        return next(self._ids)

    async def serve(
        self, service_id: int, server: Server, *, reached: trio.Event | None = None
    ) -> None:
        """Announce a server under a number and serve it, until the broker closes.

        With `reached`, it is announced again and again until that is set.
        """
        async with self._listen() as listening, open_bare_nursery() as nursery:
            info = broker_pb2.ConnInfo(
                service_id=service_id, network=listening.network, address=listening.address
            )
            nursery.start_soon(server.serve, listening.socket)
            nursery.start_soon(self._announce, info, reached)
            await self._closed.wait()
            nursery.cancel_scope.cancel()

    @asynccontextmanager
    async def dial(self, service_id: int) -> AsyncGenerator[Channel]:
        """Be connected, for as long as the block lasts, to what the plugin serves under a number.

        Waits for the announcement; for how long is the caller's to say.

        Raises:
            PluginCallError: the broker is closed.
            OSError: nobody listens there, or TLS can't agree. And what `Dial` raises.
        """
        info = await self._announcement(service_id)
        connection = await self._dial(info.network, info.address)
        async with open_channel(connection, tls=self._tls) as channel:
            yield channel

    async def converse(self) -> None:
        """Take the plugin's announcements until its stream ends."""
        try:
            if self._stream is not None:
                async with self._stream as stream:
                    async for info in stream:
                        await self._take(info)
                        # A plugin that announces fast must not keep its host busy.
                        await trio.lowlevel.checkpoint()
        except RpcError as error:
            # A plugin without a broker is one that doesn't need it.
            said = escape_text(error.details(), limit=_DETAILS_CHARACTERS_MAX)
            self._log("debug", f"its broker is closed: {error.code().name}, {said}")
        finally:
            self._closed.set()
            self._tell()

    async def _take(self, info: broker_pb2.ConnInfo) -> None:
        if info.HasField("knock"):
            if info.knock.knock and not info.knock.ack:
                refusal = broker_pb2.ConnInfo.Knock(
                    knock=True, ack=True, error="this host doesn't multiplex its broker"
                )
                await self._send(broker_pb2.ConnInfo(service_id=info.service_id, knock=refusal))
            return
        self._announced.pop(info.service_id, None)
        if len(self._announced) >= ANNOUNCED_MAX:
            oldest = next(iter(self._announced))
            del self._announced[oldest]
            self._log("debug", f"its broker keeps {ANNOUNCED_MAX} services; {oldest} was dropped")
        self._announced[info.service_id] = info
        self._tell()

    async def _announcement(self, service_id: int) -> broker_pb2.ConnInfo:
        while (info := self._announced.get(service_id)) is None:
            if self._closed.is_set():
                raise PluginCallError(
                    self._plugin,
                    f"its broker is closed, and never announced the service {service_id}",
                    remedy="It must run, and serve go-plugin's GRPCBroker",
                )
            await self._changed.wait()
        return info

    async def _announce(self, info: broker_pb2.ConnInfo, reached: trio.Event | None) -> None:
        while True:
            await self._send(info)
            if reached is None:
                return
            with trio.move_on_after(ANNOUNCE_AGAIN_S):
                await reached.wait()
                return

    async def _send(self, info: broker_pb2.ConnInfo) -> None:
        if self._stream is None:
            return
        async with self._sending:
            # That the stream has ended is for `converse` to tell.
            with suppress(RpcError):
                await self._stream.write(info)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def open_broker(
    plugin: str,
    channel: Channel,
    *,
    dial: Dial,
    listen: Listen,
    log: PluginLog,
    tls: ssl.SSLContext | None = None,
) -> AsyncGenerator[Broker]:
    """Have a plugin's broker for as long as the block lasts.

    Args:
        plugin: Its name.
        channel: To its own connection.
        dial: Connects to where it listens.
        listen: Listens for it.
        log: Its log.
        tls: With which `dial` speaks to what it serves, where AutoMTLS is on. What the host serves
            has its own, in its `Server`.
    """
    broker_stub: Any = stub(broker_pb2_grpc.GRPCBrokerStub, channel)
    try:
        stream = broker_stub.StartStream()
    except RpcError:
        stream = None  # the connection is lost already; its owner is told elsewhere
    broker = Broker(plugin, stream, dial=dial, listen=listen, log=log, tls=tls)
    async with open_bare_nursery() as nursery:
        nursery.start_soon(broker.converse)
        yield broker
        nursery.cancel_scope.cancel()
