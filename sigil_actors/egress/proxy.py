"""The proxy of one instance of a plugin: its only road to the network.

Whoever connects to the listener is that instance: it listens where nobody else can connect, inside
the instance's own network namespace. Knows nothing of how it got there.
"""

import logging
from functools import partial
from typing import Final

import trio

from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.egress.connection import Connection, Site
from sigil_actors.egress.dialer import Resolve, SystemResolver
from sigil_actors.ports.egress import EgressGate

logger = logging.getLogger(__name__)

_ACCEPT_PAUSE_S: Final = 0.1
"""After an error of accepting: mostly there are no descriptors left, and others give some back."""

_DEFAULT_BOUNDS: Final = EgressBounds()


async def serve_egress(
    listener: trio.SocketListener,
    *,
    plugin: str,
    rule: EgressRule,
    gate: EgressGate,
    resolve: Resolve | None = None,
    bounds: EgressBounds = _DEFAULT_BOUNDS,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve the plugin until cancelled; then the listener and all its connections are closed.

    Speaks HTTP CONNECT, plain HTTP and SOCKS5 on the one listener. What `rule` doesn't allow, or
    `gate` doesn't record and allow, isn't looked up and isn't dialled.
    """
    site = Site(
        plugin=plugin,
        rule=rule,
        gate=gate,
        resolve=resolve or SystemResolver(bounds.lookups),
        bounds=bounds,
    )
    async with listener:
        await _Proxy(listener, site).run(task_status)


class _Proxy:
    def __init__(self, listener: trio.SocketListener, site: Site) -> None:
        self._listener = listener
        self._site = site
        bounds = site.bounds
        self._places = trio.Semaphore(bounds.connections + bounds.refusals)
        self._open = 0

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery() as nursery:
            task_status.started()
            number = 0
            while True:
                # First, so that what has no place waits unaccepted.
                await self._places.acquire()
                client = await self._accept()
                number += 1
                nursery.start_soon(partial(self._serve, client, number))

    async def _accept(self) -> trio.SocketStream:
        while True:
            try:
                return await self._listener.accept()
            except OSError as error:
                logger.warning(
                    "the proxy of plugin %s can't take a connection: %s", self._site.plugin, error
                )
                await trio.sleep(_ACCEPT_PAUSE_S)

    @trio.lowlevel.enable_ki_protection
    async def _serve(self, client: trio.SocketStream, number: int) -> None:
        is_one_too_many = self._open >= self._site.bounds.connections
        self._open += not is_one_too_many
        try:
            await Connection(client, number, self._site).run(is_one_too_many=is_one_too_many)
        finally:
            self._open -= not is_one_too_many
            self._places.release()
