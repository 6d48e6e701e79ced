"""The mailbox: bounds, order, asks that may be cancelled at any moment, and its end."""

from collections.abc import Callable
from typing import cast

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sigil_actors.actors.mailbox import (
    BATCH_MAX,
    ActorDownError,
    Envelope,
    Mailbox,
    MailboxFullError,
    Request,
)


@attrs.frozen
class Double(Request[int]):
    number: int


def double(envelope: Envelope) -> None:
    message = envelope.message
    assert isinstance(message, Double)
    envelope.reply(2 * message.number)


async def serve(mailbox: Mailbox, answer: Callable[[Envelope], None] = double) -> None:
    while batch := await mailbox.receive_batch():
        for envelope in batch:
            answer(envelope)


async def test_an_ask_gets_the_reply_to_its_own_message() -> None:
    mailbox = Mailbox("doubler", capacity=4)
    replies: dict[int, int] = {}

    async def ask(number: int) -> None:
        replies[number] = await mailbox.ask(Double(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox)
        async with trio.open_nursery() as askers:
            for number in range(200):  # far more than there is room for
                askers.start_soon(ask, number)
        mailbox.finish("done")
    assert replies == {number: 2 * number for number in range(200)}


async def test_a_message_waits_for_room_and_is_told_in_order() -> None:
    mailbox = Mailbox("slow", capacity=2)
    seen: list[object] = []
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(mailbox.tell, number)
            await wait_all_tasks_blocked()
        assert mailbox.statistics().waiting == 2
        while len(seen) < 5:
            seen.extend(envelope.message for envelope in await mailbox.receive_batch())
    assert seen == [0, 1, 2, 3, 4]


async def test_a_full_mailbox_refuses_what_may_not_wait() -> None:
    mailbox = Mailbox("full", capacity=1)
    mailbox.tell_nowait("first")
    with pytest.raises(MailboxFullError):
        mailbox.tell_nowait("second")
    assert [envelope.message for envelope in await mailbox.receive_batch()] == ["first"]


async def test_an_order_overtakes_work_and_a_full_mailbox_cant_delay_it() -> None:
    mailbox = Mailbox("busy", capacity=2)
    mailbox.tell_nowait("work 1")
    mailbox.tell_nowait("work 2")
    mailbox.tell_order_nowait("stop")
    batch = await mailbox.receive_batch()
    assert [envelope.message for envelope in batch] == ["stop", "work 1", "work 2"]


async def test_an_order_wakes_a_sleeping_actor() -> None:
    mailbox = Mailbox("asleep", capacity=2)
    got: list[object] = []

    async def receive() -> None:
        got.extend(envelope.message for envelope in await mailbox.receive_batch())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        mailbox.tell_order_nowait("stop")
    assert got == ["stop"]


async def test_a_batch_is_bounded() -> None:
    mailbox = Mailbox("bounded", capacity=1000)
    for number in range(200):
        mailbox.tell_nowait(number)
    sizes = [len(await mailbox.receive_batch()) for _ in range(4)]
    assert sizes == [BATCH_MAX, BATCH_MAX, BATCH_MAX, 200 - 3 * BATCH_MAX]


async def test_a_cancelled_ask_is_no_longer_wanted_and_a_late_reply_does_nothing() -> None:
    mailbox = Mailbox("late", capacity=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.ask, Double(1))
        await wait_all_tasks_blocked()
        (envelope,) = await mailbox.receive_batch()
        wanted_before = envelope.is_wanted
        nursery.cancel_scope.cancel()
    assert (wanted_before, envelope.is_wanted) == (True, False)
    envelope.reply(2)
    assert mailbox.statistics().asks == 0


async def test_an_ask_that_is_cancelled_while_it_waits_for_room_has_no_effect() -> None:
    mailbox = Mailbox("full", capacity=1)
    mailbox.tell_nowait("first")
    with trio.move_on_after(0):
        await mailbox.ask(Double(1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mailbox.ask, Double(2))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [envelope.message for envelope in await mailbox.receive_batch()] == ["first"]
    assert mailbox.statistics() == attrs.evolve(mailbox.statistics(), waiting=0, asks=0)


async def test_only_the_first_answer_counts() -> None:
    mailbox = Mailbox("twice", capacity=1)

    def twice(envelope: Envelope) -> None:
        envelope.reply("first")
        envelope.fail(ValueError("second"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox, twice)
        answer = cast("object", await mailbox.ask(Double(1)))
        assert answer == "first"
        mailbox.finish("done")


async def test_every_asker_learns_at_once_that_the_actor_is_down() -> None:
    """Those in the queue, those whose message was taken, and those who wait for room."""
    mailbox = Mailbox("doomed", capacity=1)
    errors: list[str] = []

    async def ask() -> None:
        with pytest.raises(ActorDownError) as caught:
            await mailbox.ask(Double(1))
        errors.append(caught.value.why)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        taken = await mailbox.receive_batch()
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert len(taken) == 1
        mailbox.close("it crashed")
    assert errors == ["it crashed"] * 3
    with pytest.raises(ActorDownError):
        await mailbox.ask(Double(1))
    with pytest.raises(ActorDownError):
        await mailbox.tell("late")
    with pytest.raises(ActorDownError):
        mailbox.tell_order_nowait("late")


async def test_letters_to_a_dead_actor_are_counted() -> None:
    mailbox = Mailbox("dead", capacity=4)
    mailbox.tell_nowait("a")
    mailbox.tell_nowait("b")
    mailbox.tell_order_nowait("c")
    assert mailbox.close("it crashed") == 3
    assert mailbox.statistics().dead_letters == 3


async def test_what_was_accepted_before_the_finish_is_still_received() -> None:
    mailbox = Mailbox("finishing", capacity=4)
    mailbox.tell_nowait("a")
    mailbox.finish("it was stopped")
    with pytest.raises(ActorDownError):
        mailbox.tell_nowait("b")
    assert [envelope.message for envelope in await mailbox.receive_batch()] == ["a"]
    assert list(await mailbox.receive_batch()) == []


async def test_a_finish_wakes_a_sleeping_actor() -> None:
    mailbox = Mailbox("asleep", capacity=1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, mailbox)
        await wait_all_tasks_blocked()
        mailbox.finish("it was stopped")


@pytest.mark.parametrize("steps", range(1, 12))
async def test_cancelling_a_teller_after_any_number_of_steps_loses_or_doubles_nothing(
    steps: int,
) -> None:
    """A tell that raises Cancelled had no effect; one that returned did."""
    mailbox = Mailbox("counted", capacity=1)
    told: list[int] = []

    async def tell() -> None:
        for number in range(5):
            await mailbox.tell(number)
            told.append(number)

    received: list[object] = []

    async def receive() -> None:
        while batch := await mailbox.receive_batch(1):
            received.extend(envelope.message for envelope in batch)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        async with trio.open_nursery() as tellers:
            tellers.start_soon(tell)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            tellers.cancel_scope.cancel()
        mailbox.finish("done")
    assert received == told
