"""Actors: asking one, against two trio channels written by hand and pykka; memory; restarts."""

import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from statistics import median
from types import ModuleType

import trio

from benchmarks.harness import (
    BenchmarkError,
    Budget,
    Compared,
    Goal,
    Measure,
    Row,
    Side,
    in_turn,
    ours_at_most,
    ratio_at_least,
    ratio_at_most,
    without_collection,
)
from sigil_actors.actors.mailbox import Mailbox, Request
from sigil_actors.actors.supervisor import ChildContext, ChildSpec, Supervisor
from sigil_actors.core.restart import RestartPolicy

ASKERS = 100
IDLE_ACTORS = 10_000
RESTARTS = 1_000
MICROSECONDS = 1e6
KILOBYTE = 1000

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


def _sample_trio(
    way: Callable[[], AbstractAsyncContextManager[NewAsker]],
    sample: Callable[[NewAsker, float], Awaitable[float]],
    sample_s: float,
) -> float:
    async def run() -> float:
        async with way() as new_asker:
            return await sample(new_asker, sample_s)

    return trio.run(run)


def _pykka_actor(pykka: ModuleType) -> Callable[[], Callable[[], object]]:
    """Return how to start an actor of pykka's; what that returns asks it."""

    class Answering(pykka.ThreadingActor):  # type: ignore[misc, name-defined] # pykka may be absent
        def on_receive(self, _message: object) -> int:
            return 1

    def start() -> Callable[[], object]:
        actor = Answering.start()
        return lambda: actor.ask(None)

    return start


def _pykka_latency_us(ask: Callable[[], object], sample_s: float) -> float:
    taken: list[float] = []
    end = time.perf_counter() + sample_s
    while not taken or time.perf_counter() < end:
        start = time.perf_counter()
        ask()
        taken.append(time.perf_counter() - start)
    return median(taken) * MICROSECONDS


def _pykka_rate(ask: Callable[[], object], sample_s: float) -> float:
    """Return the replies a second that threads get: an asker of pykka's is one."""
    answers: list[int] = []
    start = time.perf_counter()

    def keep_asking() -> None:
        count = 0
        while time.perf_counter() - start < sample_s or not count:
            ask()
            count += 1
        answers.append(count)

    threads = [threading.Thread(target=keep_asking) for _ in range(ASKERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answers) / (time.perf_counter() - start)


def _import_pykka() -> ModuleType:
    try:
        import pykka
    except ImportError as error:
        raise BenchmarkError(f"{error.name} isn't installed; pip install '.[bench]'") from error
    module: ModuleType = pykka
    return module


def _ask_rows(
    budget: Budget,
    name: str,
    what: str,
    unit: str,
    *,
    sample: Callable[[NewAsker, float], Awaitable[float]],
    pykka_sample: Callable[[Callable[[], object], float], float],
    compared: Compared,
    goal: Goal,
) -> Sequence[Row]:
    pykka = _import_pykka()
    start = _pykka_actor(pykka)
    ours, channels, peer = Side("sigil-actors"), Side("two channels"), Side("pykka")
    for side in in_turn(budget.rounds, ours, channels, peer):
        with without_collection():
            if side is peer:
                side.values.append(pykka_sample(start(), budget.sample_s))
                pykka.ActorRegistry.stop_all()
            else:
                way = _open_actor if side is ours else _open_channels
                side.values.append(_sample_trio(way, sample, budget.sample_s))
    return [
        Row(
            name=name,
            what=what,
            unit=unit,
            ours=ours,
            reference=channels,
            compared=compared,
            goal=goal,
        ),
        Row(
            name=f"{name}/pykka",
            what=what,
            unit=unit,
            ours=ours,
            reference=peer,
            compared=compared,
        ),
    ]


def _idle_row(budget: Budget) -> Row:
    ours = Side("sigil-actors")
    count = budget.of(IDLE_ACTORS)
    for _ in range(min(budget.rounds, 3)):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.idle_actors", str(count)],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise BenchmarkError(f"benchmarks.idle_actors failed: {done.stderr[-500:]}")
        ours.values.append(float(done.stdout) / KILOBYTE)
    return Row(
        name="actors/idle",
        what=f"memory of one of {count:,} idle supervised actors (own memory of the process)",
        unit="kB",
        ours=ours,
        goal=ours_at_most(7),
    )


async def _restart_us(times: int) -> float:
    """Return how long it takes from a crash until the next incarnation runs."""
    # A quiet period this short is over at once, so that it never gives up.
    policy = RestartPolicy(max_restarts=1000, period=1e-6, backoff=0, backoff_max=0)
    taken: list[float] = []
    crashed_at = 0.0
    is_done = trio.Event()

    async def crash(context: ChildContext) -> None:
        nonlocal crashed_at
        context.ready()
        if crashed_at:
            taken.append(time.perf_counter() - crashed_at)
        if len(taken) == times:
            is_done.set()
            await context.wait_stop()
            return
        # Not at once: an actor crashes at some message, with a supervisor that sleeps.
        await trio.lowlevel.checkpoint()
        crashed_at = time.perf_counter()
        raise ValueError("it crashed")

    supervisor = Supervisor([ChildSpec(id="crashing", run=crash, restart=policy)])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(supervisor.run)
        await is_done.wait()
        supervisor.stop()
    return median(taken) * MICROSECONDS


def _restart_row(budget: Budget) -> Row:
    ours = Side("sigil-actors")
    for _ in range(budget.rounds):
        with without_collection():
            ours.values.append(trio.run(_restart_us, budget.of(RESTARTS)))
    return Row(
        name="actors/restart",
        what="from a crash until the next incarnation runs, without backoff, median",
        unit="µs",
        ours=ours,
        goal=ours_at_most(100),
    )


def _run(budget: Budget) -> Sequence[Row]:
    return [
        *_ask_rows(
            budget,
            "actors/ask",
            "one asker's question and reply, median",
            "µs",
            sample=_latency_us,
            pykka_sample=_pykka_latency_us,
            compared=Compared.COST,
            goal=ratio_at_most(0.7),
        ),
        *_ask_rows(
            budget,
            f"actors/{ASKERS}",
            f"replies that {ASKERS} askers get",
            "1/s",
            sample=_rate,
            pykka_sample=_pykka_rate,
            compared=Compared.RATE,
            goal=ratio_at_least(4),
        ),
        _idle_row(budget),
        _restart_row(budget),
    ]


MEASURES = (
    Measure(
        name="actors",
        what="Asking an actor, against two trio channels and pykka; idle actors; restarts",
        run=_run,
        peers=("pykka",),
    ),
)
