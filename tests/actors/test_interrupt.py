"""SIGINT at many moments: a real process of supervised actors stops in order, whenever it comes."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, trio
# Whoever runs the tests in the background has it ignored, which is inherited.
signal.signal(signal.SIGINT, signal.default_int_handler)
from sigil_actors.actors.mailbox import Mailbox
from sigil_actors.actors.supervisor import ChildSpec, Supervisor
from sigil_actors.actors.nested_supervisor import supervisor_spec
from sigil_actors.core.restart import RestartPolicy, Strategy

POLICY = RestartPolicy(max_restarts=1000, period=0.001, backoff=0, backoff_max=0)
log = []
inside = set()

def actor(name, crashes):
    async def run(context):
        inside.add(name)
        try:
            context.ready()
            box = Mailbox(name, capacity=4)
            context.call_on_stop(lambda: box.finish("stopped"))
            box.tell_nowait(1)
            while batch := await box.receive_batch():
                for _ in batch:
                    sum(range(20_000))  # so that the signal often comes in here
                await trio.sleep(0)
                if crashes:
                    await trio.sleep(0.002)
                    raise ValueError("crashed")
                if not context.is_stopping:
                    await box.tell(1)
            await trio.sleep(0.01)
            log.append(name)
        finally:
            inside.discard(name)
    return ChildSpec(id=name, run=run, restart=POLICY, cancel_grace_s=5)

def inner():
    specs = [actor("b", crashes=False), actor("c", crashes=False)]
    return Supervisor(specs, strategy=Strategy.ONE_FOR_ALL)

async def main():
    specs = [
        actor("a", crashes=False),
        supervisor_spec("inner", inner, POLICY),
        actor("d", crashes=True),
    ]
    async with trio.open_nursery() as nursery:
        await nursery.start(Supervisor(specs).run)
        print("running", flush=True)

try:
    trio.run(main, strict_exception_groups=True)
except* KeyboardInterrupt:
    pass
print(sorted(inside), "".join(log), flush=True)
"""


@pytest.mark.parametrize("moment", range(24))
def test_an_interrupt_ends_in_an_orderly_stop(moment: int) -> None:
    """The one it hits may end without a word; those around it are stopped in order, not cut off."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "running\n"
        # What comes between, the program's own steps, differs from run to run and from moment to
        # moment; there is nothing to wait for that would be more exact.
        sum(range(moment * 100_000))
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert errors == ""
    inside, _, stopped = output.strip().partition(" ")
    assert inside == "[]"
    stopped = stopped.replace("d", "")
    assert stopped in ("cba", "ba", "ca", "cb"), stopped
