"""When a plugin ends: its host asks it to, sends a signal, or is gone."""

import os
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

import trio

from sigil_actors.rpc.server import Server

LOOK_S: Final = 1.0
"""Between two looks whether the host is still there; nothing tells a process that its parent ended,
on every system and in every thread."""


async def stop_at_signals(signals: AsyncIterator[int], stop: Callable[[], None]) -> None:
    """Stop at SIGTERM.

    SIGINT is for the host: Ctrl-C in a terminal reaches its plugins too, and it is the host that
    then ends them, in its order. So does go-plugin.
    """
    async for number in signals:
        if number == signal.SIGTERM:
            stop()


async def stop_without_host(server: Server, stop: Callable[[], None]) -> None:
    """Stop when the host has ended without a word: its process is gone, and its connections."""
    parent = os.getppid()
    while server.connections or os.getppid() == parent:  # noqa: ASYNC110 - nobody tells
        await trio.sleep(LOOK_S)
    stop()
