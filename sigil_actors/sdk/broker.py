"""go-plugin's broker, the plugin's side: further connections that the host announces.

The host's own functions are one of them. The form in which all goes over one connection
(multiplexing) isn't spoken, and refused where a host tries.
"""

from typing import Final

import trio

from sigil_actors._proto.plugin import broker_pb2
from sigil_actors.rpc.server_call import ServerCall
from sigil_actors.sdk.go_services import unless

ANNOUNCED_MAX: Final = 256
"""Announcements of a host that are kept; the oldest make room. go-plugin keeps each for 5 s."""


class Broker:
    """The servicer `plugin.GRPCBroker`."""

    def __init__(self, stopping: trio.Event) -> None:
        self._stopping = stopping
        self._announced: dict[int, str] = {}
        self._changed = trio.Event()

    async def address_of(self, service_id: int) -> str:
        """Return where the host serves what has this number, once it has said so.

        In the form that `open_channel` takes: `unix:PATH` or `HOST:PORT`.
        """
        while (address := self._announced.get(service_id)) is None:
            await self._changed.wait()
        return address

    # The name of the method is the contract's.
    async def StartStream(self, requests: ServerCall, context: ServerCall) -> None:  # noqa: N802
        """Take the host's announcements until it goes, or the plugin does."""
        async with unless(self._stopping):
            async for info in requests:
                refusal = self._take(info)
                if refusal is not None:
                    await context.write(refusal)

    def _take(self, info: broker_pb2.ConnInfo) -> broker_pb2.ConnInfo | None:
        """Keep an announcement; return what a knock is answered."""
        if info.HasField("knock"):
            if not info.knock.knock or info.knock.ack:
                return None
            return broker_pb2.ConnInfo(
                service_id=info.service_id,
                knock=broker_pb2.ConnInfo.Knock(
                    knock=True, ack=True, error="this plugin doesn't multiplex its broker"
                ),
            )
        self._announced.pop(info.service_id, None)
        if len(self._announced) >= ANNOUNCED_MAX:
            del self._announced[next(iter(self._announced))]
        prefix = "unix:" if info.network == "unix" else ""
        self._announced[info.service_id] = prefix + info.address
        self._changed.set()
        self._changed = trio.Event()
        return None
