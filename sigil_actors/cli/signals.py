"""Runs a command under signals: the first one cancels it."""

import signal
from collections.abc import Awaitable, Callable

import trio

from sigil_actors.cli.exit_codes import INTERRUPTED

ENDING = (signal.SIGINT, signal.SIGTERM)
"""Ctrl-C, and what a service manager sends."""


async def run_until_signal(command: Callable[[], Awaitable[int]]) -> int:
    """Run a command; return its exit code, or that of the signal that ended it.

    A second signal has the effect that it has in any program.
    """
    caught: list[int] = []
    code = 0
    async with trio.open_nursery() as nursery:

        async def cancel_at_signal(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(*ENDING) as signals:
                task_status.started()
                async for number in signals:
                    caught.append(number)
                    nursery.cancel_scope.cancel()
                    return

        await nursery.start(cancel_at_signal)
        code = await command()
        nursery.cancel_scope.cancel()
    return INTERRUPTED + caught[0] if caught else code
