"""Runs the attacks in a sandbox, and tells what they came to."""

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.proof_plan import proof_plan
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.sandbox_proof import SandboxProof, read_proof
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.errors import SandboxUnavailableError
from sigil_actors.ports.egress import EgressAttempt, EgressEnd
from sigil_actors.tiers.process.proof.decoys import open_decoys
from sigil_actors.tiers.process.sandbox.launch import SandboxHost, open_sandboxed_program
from sigil_actors.tiers.process.spawner import Identity

TRIAL_S: Final = 30.0
"""Seconds for all attacks: they take a tenth of one, and longer where a slow machine swaps."""
SAID_BYTES_MAX: Final = 64 * 1024
"""Of what they say, some 3 KiB."""
_SIGKILL: Final = 9


def attack_program(architecture: str) -> bytes:
    """Return the attacks' program for a kind of machine.

    Raises:
        SandboxUnavailableError: there is none, so no sandbox can be tried on it.
    """
    path = Path(__file__).with_name(f"attacks.{architecture}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SandboxUnavailableError(
            f"a sandbox can't be tried on this machine: {path.name} is missing",
            remedy="Build it with `python -m sigil_actors.tiers.process.static_programs`",
        ) from error


async def try_sandbox(
    plan: SandboxPlan, *, host: SandboxHost, identity: Identity | None, rule: EgressRule
) -> SandboxProof:
    """Run the attacks in exactly the plan's sandbox.

    Raises:
        PluginStartError: the sandbox couldn't be made.
        SandboxUnavailableError: the machine couldn't do it, or the attacks can't be run.
    """
    program = attack_program(host.facts.architecture)
    async with AsyncExitStack() as stack:
        try:
            decoys = stack.enter_context(open_decoys())
        except OSError as error:
            raise SandboxUnavailableError(
                f"a sandbox can't be tried: there is nothing to attack: {error}",
                remedy="The host needs a temporary folder and free descriptors",
            ) from error
        arguments = {
            **decoys,
            "plugin-file": f"{plan.folder}/.sigil-proof",
            "proxy-port": str(plan.proxy_port or 0),
            "pids": str(plan.limits.pids),
            "open-files": str(plan.limits.open_files),
            # Without groups of processes nothing counts what several of them take together.
            "memory": "0" if host.cgroups is None else str(plan.limits.memory_bytes),
        }
        running = await stack.enter_async_context(
            open_sandboxed_program(
                proof_plan(plan, program, arguments), host=host, identity=identity
            )
        )
        nursery = await stack.enter_async_context(open_bare_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        if running.proxy_listener is not None:
            serve = partial(
                serve_egress, running.proxy_listener, plugin=plan.plugin, rule=rule, gate=_Rule()
            )
            await nursery.start(serve)
        nursery.start_soon(_pass_over, running.stderr)
        with trio.move_on_after(TRIAL_S):
            said = await _said(running.stdout)
            end = await running.wait()
            return read_proof(
                said,
                memory_ran_out=end.out_of_memory,
                was_killed=end.signal == _SIGKILL or end.out_of_memory,
            )
    raise SandboxUnavailableError(
        f"the attacks that try a sandbox didn't end within {TRIAL_S:.0f} s",
        remedy="Look what keeps the machine busy, and start the plugin again",
    )


async def _said(stream: trio.abc.ReceiveStream) -> str:
    said = b""
    async for piece in stream:
        said += piece
        if len(said) > SAID_BYTES_MAX:
            break
    return said[:SAID_BYTES_MAX].decode(errors="replace")


async def _pass_over(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass


class _Rule:
    """A gate that leaves every decision to the plugin's rule: it is the rule that is tried."""

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        return attempt.reason

    def record_end(self, end: EgressEnd) -> None:
        pass
