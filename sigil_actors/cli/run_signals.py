"""What signals tell a supervisor: to look again, to end in order, to end at once."""

import logging
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

import trio

from sigil_actors.cli.signals import ENDING

logger = logging.getLogger(__name__)


class Told:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.to_end = trio.Event()
        self.killed_by: int | None = None
        # One that waits stands for all that come meanwhile: the look that it asks for is still to
        # come.
        self._hung_up, self.hangups = trio.open_memory_channel[None](1)

    def hang_up(self) -> None:
        """Ask for a look into the plugins folder, unless it is too late for one."""
        if self.to_end.is_set():
            logger.info("SIGHUP is ignored: draining")
            return
        logger.info("SIGHUP")
        with suppress(trio.WouldBlock):
            self._hung_up.send_nowait(None)


@asynccontextmanager
async def told_by_signals() -> AsyncGenerator[Told]:
    """Tell what signals say: the first one to end; a second one cancels the block."""
    told = Told()
    async with trio.open_nursery() as nursery:

        async def listen(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(*ENDING, signal.SIGHUP) as signals:
                task_status.started()
                async for number in signals:
                    if number == signal.SIGHUP:
                        told.hang_up()
                    elif told.to_end.is_set():
                        told.killed_by = number
                        logger.warning("%s again: killing", signal.Signals(number).name)
                        nursery.cancel_scope.cancel()
                    else:
                        logger.info("%s", signal.Signals(number).name)
                        told.to_end.set()

        await nursery.start(listen)
        yield told
        nursery.cancel_scope.cancel()
