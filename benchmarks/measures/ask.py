"""Asking an actor and getting its reply, against two trio channels written by hand."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median

import trio

from benchmarks.harness import Budget, Compared, Measure, Row, Side, in_turn, without_collection
from sigil_actors.actors.mailbox import Mailbox, Request

ASKERS = 64
MICROSECONDS = 1e6

NewAsker = Callable[[], Callable[[], Awaitable[object]]]
"""Gives each asker its own way of asking."""


class _Question(Request[int]):
    """What is asked; the reply is always the same."""


@asynccontextmanager
async def _open_actor() -> AsyncGenerator[NewAsker]:
    mailbox = Mailbox("the one that is asked", capacity=1024)

    async def answer() -> None:
        while batch := await mailbox.receive_batch():
            for envelope in batch:
                envelope.reply(1)

    question = _Question()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield lambda: lambda: mailbox.ask(question)
        mailbox.finish("it was stopped")


@asynccontextmanager
async def _open_channels() -> AsyncGenerator[NewAsker]:
    ask, asked = trio.open_memory_channel[tuple[object, trio.MemorySendChannel[int]]](1024)

    async def answer() -> None:
        async for _question, reply in asked:
            await reply.send(1)

    def new_asker() -> Callable[[], Awaitable[object]]:
        reply, replies = trio.open_memory_channel[int](1)
        question = _Question()

        async def ask_once() -> int:
            await ask.send((question, reply))
            return await replies.receive()

        return ask_once

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer)
        yield new_asker
        ask.close()


async def _latency_us(new_asker: NewAsker, sample_s: float) -> float:
    ask = new_asker()
    taken: list[float] = []
    end = time.perf_counter() + sample_s
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        await ask()
        taken.append(time.perf_counter() - start)
    return median(taken) * MICROSECONDS


async def _rate(new_asker: NewAsker, sample_s: float) -> float:
    answers = 0
    start = time.perf_counter()

    async def keep_asking() -> None:
        nonlocal answers
        ask = new_asker()
        while True:
            await ask()
            answers += 1
            if time.perf_counter() - start >= sample_s:
                return

    async with trio.open_nursery() as nursery:
        for _ in range(ASKERS):
            nursery.start_soon(keep_asking)
    return answers / (time.perf_counter() - start)


async def _compare(
    budget: Budget, sample: Callable[[NewAsker, float], Awaitable[float]]
) -> tuple[Side, Side]:
    ways: dict[str, Callable[[], AbstractAsyncContextManager[NewAsker]]] = {
        "sigil-actors": _open_actor,
        "two channels": _open_channels,
    }
    ours, reference = map(Side, ways)
    for side in in_turn(budget.rounds, ours, reference):
        async with ways[side.name]() as new_asker:
            with without_collection():
                side.values.append(await sample(new_asker, budget.sample_s))
    return ours, reference


def _run(budget: Budget) -> Sequence[Row]:
    latency = trio.run(_compare, budget, _latency_us)
    rate = trio.run(_compare, budget, _rate)
    return [
        Row(
            name="ask",
            what="one asker's question and reply, median",
            unit="µs",
            ours=latency[0],
            reference=latency[1],
            compared=Compared.FASTER,
        ),
        Row(
            name=f"ask/{ASKERS}",
            what=f"replies that {ASKERS} askers get",
            unit="1/s",
            ours=rate[0],
            reference=rate[1],
            compared=Compared.RATE,
        ),
    ]


MEASURES = (
    Measure(
        name="ask", what="Asking an actor, against two trio channels written by hand", run=_run
    ),
)
