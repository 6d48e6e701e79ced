"""An actor's mailbox: bounded, with a lane of its own for orders and a cancellable *ask*.

Two trio memory channels carry it: one for work, bounded, so that senders wait when the actor is
behind; one for orders (stop, drain), which a full work channel can't delay. An asker parks once, in
a slot of its own that the message carries, and the receiver takes what waits in batches: five times
the throughput of a channel each way.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import attrs
import outcome
import trio

from sigil_actors.errors import SigilError

BATCH_MAX = 64
"""How many messages are taken at once.

More makes everybody else in the loop wait (64 costs them 0.2 ms).
"""

ORDERS_MAX = 64
"""Orders that wait.

They are few and cheap; a flood of them is a bug in the sender, and is told so.
"""

Reply = TypeVar("Reply")


class ActorDownError(SigilError):
    """The actor that was asked is gone, so there will be no answer.

    Whether it acted before is unknown.
    """

    def __init__(self, actor: str, why: str) -> None:
        self.actor = actor
        self.why = why
        super().__init__(f"{actor} is down: {why}")


class MailboxFullError(SigilError):
    """There is no room for a message that may not wait."""


class Request(Generic[Reply]):
    """The base of messages that are *asked*; the parameter is the type of the reply."""

    __slots__ = ()


class Envelope:
    """A message under way, and, where it was asked, the place in which its asker waits."""

    __slots__ = ("_mailbox", "_result", "_task", "is_wanted", "message")

    def __init__(self, message: object, mailbox: "Mailbox", *, is_asked: bool) -> None:
        self.message = message
        self.is_wanted = is_asked
        """Whether somebody still waits for the reply."""
        self._mailbox = mailbox
        self._task: trio.lowlevel.Task | None = None
        self._result: outcome.Outcome[object] | None = None

    def reply(self, value: object) -> None:
        """Answer. Does nothing where nobody waits any more, and only the first answer counts."""
        self._settle(outcome.Value(value))

    def fail(self, error: BaseException) -> None:
        """Have the asker raise `error`; the same rules as for `reply`."""
        self._settle(outcome.Error(error))

    def _settle(self, result: "outcome.Outcome[object]") -> None:
        if not self.is_wanted:
            return
        self._forget()
        task, self._task = self._task, None
        if task is None:
            # An asker that waited for room was let in, and has not got to its place yet.
            self._result = result
        else:
            # Cleared first: rescheduling a task twice is an internal error of trio.
            trio.lowlevel.reschedule(task, result)

    async def wait_reply(self) -> object:
        """Wait for the answer; belongs to the asker."""
        if self._result is not None:
            await trio.lowlevel.cancel_shielded_checkpoint()
            return self._result.unwrap()
        self._task = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self._abandon)

    def _abandon(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """Let go of an asker that was cancelled; a late reply then does nothing."""
        self._forget()
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _forget(self) -> None:
        self.is_wanted = False
        self._mailbox.forget(self)


@attrs.frozen(kw_only=True)
class MailboxStatistics:
    """A look at a mailbox."""

    waiting: int
    """Messages that wait in it."""
    orders: int
    """Orders that wait in it."""
    capacity: int
    asks: int
    """Askers that wait for a reply, whether their message was taken or not."""
    dead_letters: int
    """Messages that were told and that nobody took, because the actor ended."""


class Mailbox:
    """The mailbox of one actor. Anybody sends; one task, the actor's, receives."""

    def __init__(self, owner: str, *, capacity: int) -> None:
        self.owner = owner
        self._capacity = capacity
        self._send_work, self._receive_work = trio.open_memory_channel[Envelope](capacity)
        self._send_order, self._receive_order = trio.open_memory_channel[Envelope](ORDERS_MAX)
        self._asks: dict[Envelope, None] = {}
        self._sleep: trio.CancelScope | None = None
        self._closed: ActorDownError | None = None
        self._dead_letters = 0

    async def ask(self, message: Request[Reply]) -> Reply:
        """Send a message and wait for its reply; waits for room as well.

        Cancelled while the message waits for room, it has no effect; later, the outcome is unknown.

        Raises:
            ActorDownError: the actor is gone, or went before it answered.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        envelope = Envelope(message, self, is_asked=True)
        self._asks[envelope] = None
        try:
            self._send_work.send_nowait(envelope)
        except trio.WouldBlock:
            await self._send(self._send_work, envelope)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.forget(envelope)
            raise self._down() from None
        return cast("Reply", await envelope.wait_reply())

    async def order(self, message: Request[Reply]) -> Reply:
        """Send a message by the lane that work can't fill, and wait for its reply.

        Raises:
            ActorDownError: the actor is gone, or went before it answered.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        envelope = Envelope(message, self, is_asked=True)
        self._send_order_nowait(envelope)
        self._asks[envelope] = None
        return cast("Reply", await envelope.wait_reply())

    async def tell(self, message: object) -> None:
        """Send a message without waiting for an answer; waits for room.

        Cancelled means that it has no effect.

        Raises:
            ActorDownError: the actor is gone.
        """
        await self._send(self._send_work, Envelope(message, self, is_asked=False))

    def tell_nowait(self, message: object) -> None:
        """Send a message if there is room.

        Raises:
            ActorDownError: the actor is gone.
            MailboxFullError: there is no room; nothing was sent.
        """
        try:
            self._send_work.send_nowait(Envelope(message, self, is_asked=False))
        except trio.WouldBlock:
            raise MailboxFullError(f"the mailbox of {self.owner} is full") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._down() from None

    def tell_order_nowait(self, message: object) -> None:
        """Send a message by the lane of orders, without waiting for an answer.

        Raises:
            ActorDownError: the actor is gone.
            MailboxFullError: more orders wait than ever should.
        """
        self._send_order_nowait(Envelope(message, self, is_asked=False))

    async def receive_batch(self, limit: int = BATCH_MAX) -> Sequence[Envelope]:
        """Wait for messages and take up to `limit` of them; orders come first.

        Returns an empty batch only after `finish`, when all that was accepted has been taken.
        """
        await trio.lowlevel.checkpoint()
        while True:
            batch = self._take(limit)
            if batch or self._closed is not None:
                return batch
            # Only one channel can be waited for. An order ends this sleep, which can't lose a
            # message: a memory channel hands over before the cancellation or not at all.
            self._sleep = trio.CancelScope()
            with self._sleep:
                try:
                    first = await self._receive_work.receive()
                except trio.EndOfChannel:
                    continue
                finally:
                    self._sleep = None
                return [*self._take_orders(limit), first, *self._take_work(limit - 1)]

    def finish(self, why: str) -> None:
        """Take no more messages; what was accepted is still received."""
        if self._closed is None:
            self._closed = ActorDownError(self.owner, why)
            self._send_work.close()
            self._send_order.close()
            self._wake()

    def close(self, why: str) -> int:
        """End the mailbox with its actor: every asker learns it at once.

        Returns how many letters are dead.
        """
        self.finish(why)
        for envelope in self._take(self._capacity + ORDERS_MAX):
            if not envelope.is_wanted:
                self._dead_letters += 1
        self._receive_work.close()
        self._receive_order.close()
        for envelope in list(self._asks):
            envelope.fail(self._down())
        return self._dead_letters

    def statistics(self) -> MailboxStatistics:
        """Return a look at it as it is now."""
        return MailboxStatistics(
            waiting=self._send_work.statistics().current_buffer_used,
            orders=self._send_order.statistics().current_buffer_used,
            capacity=self._capacity,
            asks=len(self._asks),
            dead_letters=self._dead_letters,
        )

    def forget(self, envelope: Envelope) -> None:
        """Drop an asker that was answered or has gone."""
        self._asks.pop(envelope, None)

    def _down(self) -> ActorDownError:
        # A fresh one each time: an exception that several tasks raise gathers all their tracebacks.
        return ActorDownError(self.owner, self._closed.why if self._closed else "it ended")

    def _send_order_nowait(self, envelope: Envelope) -> None:
        try:
            self._send_order.send_nowait(envelope)
        except trio.WouldBlock:
            raise MailboxFullError(f"too many orders wait for {self.owner}") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._down() from None
        self._wake()

    async def _send(self, channel: trio.MemorySendChannel[Envelope], envelope: Envelope) -> None:
        try:
            await channel.send(envelope)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.forget(envelope)
            raise self._down() from None
        except BaseException:
            # Cancelled, so it was not sent: memory channels do either.
            self.forget(envelope)
            raise

    def _wake(self) -> None:
        if self._sleep is not None:
            self._sleep.cancel()

    def _take(self, limit: int) -> list[Envelope]:
        orders = self._take_orders(limit)
        return orders + self._take_work(limit - len(orders))

    def _take_orders(self, limit: int) -> list[Envelope]:
        return _drain(self._receive_order, limit)

    def _take_work(self, limit: int) -> list[Envelope]:
        return _drain(self._receive_work, limit)


def _drain(channel: trio.MemoryReceiveChannel[Envelope], limit: int) -> list[Envelope]:
    taken: list[Envelope] = []
    try:
        while len(taken) < limit:
            taken.append(channel.receive_nowait())
    except (trio.WouldBlock, trio.EndOfChannel, trio.ClosedResourceError):
        pass
    return taken
