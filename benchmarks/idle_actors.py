"""`python -m benchmarks.idle_actors COUNT`: print what an idle supervised actor takes, in bytes.

A program of its own, since in a process that has freed memory new actors would seem to need none.
What is counted is the memory that the process has to itself, before and after.
"""

import gc
import sys

import psutil
import trio

from sigil_actors.actors.mailbox import Mailbox
from sigil_actors.actors.supervisor import ChildContext, ChildSpec, Supervisor
from sigil_actors.core.restart import RestartPolicy


async def _be_idle(context: ChildContext) -> None:
    mailbox = Mailbox("idle", capacity=64)
    context.call_on_stop(lambda: mailbox.finish("it was stopped"))
    context.ready()
    while await mailbox.receive_batch():
        pass


def _own_bytes() -> int:
    gc.collect()
    return int(psutil.Process().memory_full_info().uss)


async def _measure(count: int) -> float:
    policy = RestartPolicy()
    before = _own_bytes()
    supervisor = Supervisor(
        [ChildSpec(id=f"actor {number}", run=_be_idle, restart=policy) for number in range(count)]
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        after = _own_bytes()
        nursery.cancel_scope.cancel()
    return (after - before) / count


if __name__ == "__main__":
    sys.stdout.write(f"{trio.run(_measure, int(sys.argv[1]))}\n")
