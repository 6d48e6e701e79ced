"""A channel to a server in this very process, for peers that no honest plugin would be."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import grpc

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import Server


@asynccontextmanager
async def open_peer(*services: tuple[Any, object]) -> AsyncGenerator[Channel]:
    """Be connected to a server that has these; each a function that adds, and a servicer."""
    ours, theirs = socket.socketpair()
    server = Server()
    for add, servicer in services:
        add(servicer, server)
    async with open_bare_nursery() as nursery:
        nursery.start_soon(server.serve_connection, theirs)
        async with open_channel(ours) as channel:
            yield channel
        nursery.cancel_scope.cancel()


class Scripted:
    """A servicer whose methods are given by name; a generated `add` function wants all of them."""

    def __init__(self, **methods: Any) -> None:
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        return self._methods.get(name, _unserved)


async def _unserved(_request: object, context: Any) -> None:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "not served")
