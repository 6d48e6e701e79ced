"""A channel's messages on their way to a listener, who stays while the plugin is swapped.

A drain can't wait for a listener, who would stay for good: it ends the listening, and what takes
over in a swap is listened to next. A message that was received by then is still handed on.
"""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.channel_calls import InboundMessage, inbound_problem
from sigil_actors.core.execution import PluginType
from sigil_actors.errors import SigilError
from sigil_actors.runtime.admission import Lease
from sigil_actors.runtime.call import Calls
from sigil_actors.runtime.chunks import Pieces

logger = logging.getLogger(__name__)

LISTEN = "channel.listen"


class Messages(Pieces[InboundMessage]):
    """The messages that one instance receives. One that is out of bounds is dropped and counted.

    No error, since it was written by a stranger, who could end the listening by it.
    """

    def __init__(self, plugin: str, source: AsyncIterator[InboundMessage], lease: Lease) -> None:
        super().__init__(source, lease)
        self._plugin = plugin
        self.held: InboundMessage | None = None
        """What was received and not taken yet."""

    async def hand_on(self, listener: trio.MemorySendChannel[InboundMessage]) -> None:
        """Hand on what comes until the plugin ends it; the next is asked for once one is taken."""
        async for message in self:
            self.held = message
            try:
                with self._lease.operation():
                    await listener.send(message)
            except SigilError as error:
                self.failure = error
                raise
            self.held = None

    def _accept(self, piece: InboundMessage) -> int | None:
        wrong = inbound_problem(piece)
        if not wrong:
            return len(piece.content)
        if not self.dropped:  # once: whoever writes many of them must not fill the log
            logger.warning("plugin %s: a message was dropped: %s", self._plugin, wrong)
        return None


class Inbox:
    """The messages that a channel receives, as they come. Iterate within the block.

    All of it was written by strangers: not escaped, and nothing in it vouches for anybody.
    """

    def __init__(self, calls: Calls, plugin: str) -> None:
        self._calls = calls
        self._plugin = plugin
        # No room: what nobody waits for stays with the plugin.
        self._sender, self._receiver = trio.open_memory_channel[InboundMessage](0)
        self._failure: SigilError | None = None
        self._has_started = False

    def __aiter__(self) -> "Inbox":
        """Return itself."""
        return self

    async def __anext__(self) -> InboundMessage:
        """Return the next message.

        Raises:
            PluginCallError: the plugin ended the listening with an error.
            PluginCrashedError: its instance ended.
            PluginUnavailableError: it was stopped, or its new version doesn't come up.
            CapabilityDeniedError: its new version may no longer be listened to.
            SigilError: whatever else entering the block raises.
        """
        try:
            return await self._receiver.receive()
        except trio.EndOfChannel:
            if self._failure is not None:
                raise self._failure from None
            raise StopAsyncIteration from None

    @trio.lowlevel.enable_ki_protection
    async def fill(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Receive until the plugin ends it; an error before the start raises, later it is told."""
        with self._sender:
            try:
                while await self._receive(task_status):
                    pass
            except SigilError as error:
                if not self._has_started:
                    raise
                self._failure = error

    async def _receive(self, task_status: trio.TaskStatus[None]) -> bool:
        """Receive from the instance that runs; tell whether another may take over from it."""
        messages: Messages | None = None
        lease: Lease | None = None
        try:
            async with self._calls.open(
                self._plugin, PluginType.CHANNEL, LISTEN, stays=True
            ) as call:
                lease = call.lease
                async with call.session.listen(session_id=call.token) as source:
                    messages = call.follow(Messages(self._plugin, source, lease))
                    if not self._has_started:
                        self._has_started = True
                        task_status.started()
                    await messages.hand_on(self._sender)
        except SigilError as error:
            if messages is None or lease is None:
                raise
            if messages.held is not None:
                await self._sender.send(messages.held)
            if error is not lease.drained_by:
                raise
            return True
        return False


@asynccontextmanager
async def open_inbox(calls: Calls, plugin: str) -> AsyncGenerator[Inbox]:
    """Listen to a channel for as long as the block lasts; raises what `Calls.open` raises."""
    inbox = Inbox(calls, plugin)
    # In a task of its own: who iterates may do so in any task, and what is held for the listening
    # is left and entered again while nobody does.
    async with open_bare_nursery() as nursery:
        await nursery.start(inbox.fill)
        yield inbox
        nursery.cancel_scope.cancel()
