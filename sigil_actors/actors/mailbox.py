"""An actor's mailbox: bounded, with a lane of its own for orders and a cancellable *ask*.

Two trio memory channels carry it: one for work, bounded, so that senders wait when the actor is
behind; one for orders (stop, drain), which a full work channel can't delay. An asker parks once, in
a slot of its own that the message carries, and the receiver takes what waits in batches: five times
the throughput of a channel each way.
"""

from collections.abc import Sequence
from typing import Any, Generic, TypeVar, cast

import attrs
import outcome
import trio

# By name: an ask looks each of them up once, and there are hundreds of thousands a second.
from trio.lowlevel import (
    checkpoint_if_cancelled,
    current_task,
    reschedule,
    wait_task_rescheduled,
)

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


_NO_ASKS: "dict[Envelope, None]" = {}
"""Where a message that was told is never found."""


_NO_ANSWER = object()


class Envelope:
    """A message under way, and, where it was asked, the place in which its asker waits."""

    __slots__ = ("_asks", "answer", "asker", "is_wanted", "message")

    def __init__(self, message: object, asks: "dict[Envelope, None] | None" = None) -> None:
        self.message = message
        self.is_wanted = asks is not None
        """Whether somebody still waits for the reply; then it is among the `asks`."""
        self._asks: dict[Envelope, None] = _NO_ASKS if asks is None else asks
        self.asker: trio.lowlevel.Task | None = None
        """The task that is parked here; belongs to the mailbox."""
        self.answer: Any = _NO_ANSWER
        """What was replied. It travels here, and not through trio, which would wrap it anew."""

    @property
    def is_asked(self) -> bool:
        """Whether it was sent by somebody who wanted a reply, be it that they still do or not."""
        return self._asks is not _NO_ASKS

    @trio.lowlevel.enable_ki_protection
    def reply(self, value: object) -> None:
        """Answer. Does nothing where nobody waits any more, and only the first answer counts."""
        if not self.is_wanted:
            return
        self.is_wanted = False
        del self._asks[self]
        # Cleared first: rescheduling a task twice is an internal error of trio.
        asker, self.asker = self.asker, None
        self.answer = value
        # One that waited for room was let in, and may not have got to its place yet.
        if asker is not None:
            reschedule(asker)

    @trio.lowlevel.enable_ki_protection
    def fail(self, error: BaseException) -> None:
        """Have the asker raise `error`; the same rules as for `reply`."""
        # Written out as in `reply`: a call more is what an ask can't afford.
        if not self.is_wanted:
            return
        self.is_wanted = False
        del self._asks[self]
        asker, self.asker = self.asker, None
        if asker is None:
            self.answer = outcome.Error(error)
        else:
            reschedule(asker, outcome.Error(error))

    @trio.lowlevel.enable_ki_protection
    async def wait_reply(self) -> object:
        """Wait for the answer; belongs to the asker."""
        if self.answer is not _NO_ANSWER:
            await trio.lowlevel.cancel_shielded_checkpoint()
            if isinstance(self.answer, outcome.Error):
                self.answer.unwrap()
            return self.answer
        self.asker = current_task()
        await wait_task_rescheduled(self.abandon)
        return self.answer

    def abandon(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        """Let go of an asker that was cancelled; a late reply then does nothing."""
        self.is_wanted = False
        del self._asks[self]
        self.asker = None
        return trio.lowlevel.Abort.SUCCEEDED


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
    """The mailbox of one actor. Anybody sends; one task, the actor's, receives.

    The receiver parks once, outside of both channels, and whoever puts something in wakes it:
    that costs one step for a batch, and an order needs no channel of work to get through.
    """

    __slots__ = (
        "_asks",
        "_capacity",
        "_closed",
        "_counted",
        "_dead_letters",
        "_orders",
        "_receive_order",
        "_receive_work",
        "_receiver",
        "_send_order",
        "_send_work",
        "owner",
    )

    def __init__(self, owner: str, *, capacity: int) -> None:
        self.owner = owner
        self._capacity = capacity
        self._send_work, self._receive_work = trio.open_memory_channel[Envelope](capacity)
        # Made with the first order: a channel is 2 KB, and most of ten thousand actors get none.
        self._send_order: trio.MemorySendChannel[Envelope] | None = None
        self._receive_order: trio.MemoryReceiveChannel[Envelope] | None = None
        self._counted = 0
        """Work that waits, but for what a sender that waited for room has not counted yet.

        So it never says more than there is, and asking the empty channel costs an exception.
        """
        self._orders = 0
        """Orders that wait; exact, since an order never waits for room."""
        self._asks: dict[Envelope, None] = {}
        self._receiver: trio.lowlevel.Task | None = None
        self._closed: ActorDownError | None = None
        self._dead_letters = 0

    @trio.lowlevel.enable_ki_protection
    async def ask(self, message: Request[Reply]) -> Reply:
        """Send a message and wait for its reply; waits for room as well.

        Cancelled while the message waits for room, it has no effect; later, the outcome is unknown.

        Raises:
            ActorDownError: the actor is gone, or went before it answered.
        """
        await checkpoint_if_cancelled()
        asks = self._asks
        envelope = Envelope(message, asks)
        asks[envelope] = None
        try:
            self._send_work.send_nowait(envelope)
        except trio.WouldBlock:
            await self._wait_for_room(envelope)
            self._counted += 1
            self._wake()
            return cast("Reply", await envelope.wait_reply())
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            del asks[envelope]
            raise self._down() from None
        self._counted += 1
        receiver = self._receiver
        if receiver is not None:
            self._receiver = None
            reschedule(receiver)
        # Nobody can have answered yet: no other task has had a turn.
        envelope.asker = current_task()
        await wait_task_rescheduled(envelope.abandon)
        reply: Reply = envelope.answer
        return reply

    @trio.lowlevel.enable_ki_protection
    async def order(self, message: Request[Reply]) -> Reply:
        """Send a message by the lane that work can't fill, and wait for its reply.

        Raises:
            ActorDownError: the actor is gone, or went before it answered.
        """
        await checkpoint_if_cancelled()
        envelope = Envelope(message, self._asks)
        self._send_order_nowait(envelope)
        self._asks[envelope] = None
        return cast("Reply", await envelope.wait_reply())

    @trio.lowlevel.enable_ki_protection
    async def tell(self, message: object) -> None:
        """Send a message without waiting for an answer; waits for room.

        Cancelled means that it has no effect.

        Raises:
            ActorDownError: the actor is gone.
        """
        await self._wait_for_room(Envelope(message))
        self._counted += 1
        self._wake()

    @trio.lowlevel.enable_ki_protection
    def tell_nowait(self, message: object) -> None:
        """Send a message if there is room.

        Raises:
            ActorDownError: the actor is gone.
            MailboxFullError: there is no room; nothing was sent.
        """
        try:
            self._send_work.send_nowait(Envelope(message))
        except trio.WouldBlock:
            raise MailboxFullError(f"the mailbox of {self.owner} is full") from None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise self._down() from None
        self._counted += 1
        self._wake()

    @trio.lowlevel.enable_ki_protection
    def tell_order_nowait(self, message: object) -> None:
        """Send a message by the lane of orders, without waiting for an answer.

        Raises:
            ActorDownError: the actor is gone.
            MailboxFullError: more orders wait than ever should.
        """
        self._send_order_nowait(Envelope(message))

    @trio.lowlevel.enable_ki_protection
    async def receive_batch(self, limit: int = BATCH_MAX) -> Sequence[Envelope]:
        """Wait for messages and take up to `limit` of them; orders come first.

        Returns an empty batch only after `finish`, when all that was accepted has been taken.
        Cancelled, it has taken nothing.
        """
        if self._counted or self._orders or self._closed is not None:
            await trio.lowlevel.checkpoint()
        else:
            if self._receiver is not None:
                raise trio.BusyResourceError(f"two tasks receive from {self.owner}")
            self._receiver = current_task()
            await wait_task_rescheduled(self._stop_waiting)
        # From here on nothing waits, so that what is taken is also returned.
        if self._closed is not None or self._orders:
            return self._take(limit)
        receive = self._receive_work.receive_nowait
        count = self._counted
        if count == 1:
            self._counted = 0
            return [receive()]
        count = min(count, limit)
        self._counted -= count
        return [receive() for _ in range(count)]

    @trio.lowlevel.enable_ki_protection
    def finish(self, why: str) -> None:
        """Take no more messages; what was accepted is still received."""
        if self._closed is None:
            self._closed = ActorDownError(self.owner, why)
            self._send_work.close()
            if self._send_order is not None:
                self._send_order.close()
            self._wake()

    @trio.lowlevel.enable_ki_protection
    def close(self, why: str) -> int:
        """End the mailbox with its actor: every asker learns it at once.

        Returns how many letters are dead.
        """
        self.finish(why)
        for envelope in self._take(self._capacity + ORDERS_MAX):
            if not envelope.is_asked:
                self._dead_letters += 1
        self._receive_work.close()
        if self._receive_order is not None:
            self._receive_order.close()
        for envelope in list(self._asks):
            envelope.fail(self._down())
        return self._dead_letters

    def statistics(self) -> MailboxStatistics:
        """Return a look at it as it is now."""
        return MailboxStatistics(
            waiting=self._send_work.statistics().current_buffer_used,
            orders=self._orders,
            capacity=self._capacity,
            asks=len(self._asks),
            dead_letters=self._dead_letters,
        )

    def _down(self) -> ActorDownError:
        # A fresh one each time: an exception that several tasks raise gathers all their tracebacks.
        return ActorDownError(self.owner, self._closed.why if self._closed else "it ended")

    def _send_order_nowait(self, envelope: Envelope) -> None:
        if self._closed is not None:
            raise self._down()
        if self._send_order is None:
            self._send_order, self._receive_order = trio.open_memory_channel[Envelope](ORDERS_MAX)
        try:
            self._send_order.send_nowait(envelope)
        except trio.WouldBlock:
            raise MailboxFullError(f"too many orders wait for {self.owner}") from None
        self._orders += 1
        self._wake()

    async def _wait_for_room(self, envelope: Envelope) -> None:
        try:
            await self._send_work.send(envelope)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._asks.pop(envelope, None)
            raise self._down() from None
        except BaseException:
            # Cancelled, so it was not sent: memory channels do either.
            self._asks.pop(envelope, None)
            raise

    def _wake(self) -> None:
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            reschedule(receiver)

    def _stop_waiting(self, _raise_cancel: object) -> trio.lowlevel.Abort:
        self._receiver = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _take(self, limit: int) -> list[Envelope]:
        """Take what there is, orders first."""
        taken: list[Envelope] = []
        if self._receive_order is not None:
            while self._orders and len(taken) < limit:
                self._orders -= 1
                taken.append(self._receive_order.receive_nowait())
        if self._closed is None:
            while self._counted and len(taken) < limit:
                self._counted -= 1
                taken.append(self._receive_work.receive_nowait())
            return taken
        # Nobody counts any more, and whoever still waited for room was sent away.
        try:
            while len(taken) < limit:
                taken.append(self._receive_work.receive_nowait())
        except (trio.EndOfChannel, trio.ClosedResourceError):
            self._counted = 0
        return taken
