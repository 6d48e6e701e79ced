"""Runs an attack inside the sandbox that a plugin with the same manifest gets."""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import attrs
import trio

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.execution import (
    FilesystemPolicy,
    Limits,
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_plan import PROXY_PORT, SandboxPlan, paths_to_look_at, plan_sandbox
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.ports.egress import EgressAttempt, EgressEnd
from sigil_actors.tiers.process.group_guard import open_group_guard
from sigil_actors.tiers.process.path_facts import read_path_facts
from sigil_actors.tiers.process.sandbox.launch import (
    SandboxHost,
    open_sandbox_host,
    open_sandboxed_program,
)
from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking
from sigil_actors.tiers.process.sandbox.sandboxed_program import SandboxedProgram
from sigil_actors.tiers.process.spawner import Identity, Spawner
from tests.escape.bare import clean_up, command_of, judged
from tests.escape.world import CPU, MEMORY, OPEN_FILES, PIDS, WRITE_BYTES, World

PATIENCE_S = 40
OUTPUT_BYTES_MAX = 1 << 20

IDENTITY = Identity(uid=1_902_000_001, gid=1_902_000_001) if os.geteuid() == 0 else None
"""As whom the attacked plugin runs: somebody of its own where the host is root."""


class Willing:
    """A gate that leaves every decision to the rule: the weakest host that there can be."""

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        """Allow what the rule allows."""
        return attempt.reason

    def record_end(self, end: EgressEnd) -> None:
        """Forget it."""


@attrs.frozen
class Box:
    """The plan of the attacked plugin, and the host that runs it."""

    world: World
    plan: SandboxPlan
    host: SandboxHost
    rule: EgressRule

    async def run(self, name: str) -> dict[str, str]:
        """Run one attack; return `{"through": …}` or `{"held": …}`."""
        command = command_of(name, self.world, proxy=f"127.0.0.1:{PROXY_PORT}")
        plan = attrs.evolve(self.plan, command=tuple(command))
        try:
            async with open_sandboxed_program(
                plan, host=self.host, identity=IDENTITY, write_bytes_max=WRITE_BYTES
            ) as program:
                status, output, errors = await self._watch(program)
            return judged(status, output, errors, self.world)
        finally:
            clean_up(self.world)

    async def _watch(self, program: SandboxedProgram) -> tuple[int, bytes, bytes]:
        said = {"out": b"", "err": b""}

        async def gather(name: str, stream: trio.abc.ReceiveStream) -> None:
            async for piece in stream:
                said[name] = (said[name] + piece)[:OUTPUT_BYTES_MAX]

        async with trio.open_nursery() as nursery:
            listener = program.proxy_listener
            if listener is not None:
                nursery.start_soon(self._serve_proxy, listener)
            with trio.move_on_after(PATIENCE_S) as scope:
                async with trio.open_nursery() as readers:
                    readers.start_soon(gather, "out", program.stdout)
                    readers.start_soon(gather, "err", program.stderr)
                    end = await program.wait()
            nursery.cancel_scope.cancel()
        if scope.cancelled_caught:
            raise AssertionError(f"the attack goes on and on: {said['err']!r}")
        if end.signal is not None or end.out_of_memory:
            return -(end.signal or 9), said["out"], said["err"] + str(end).encode()
        return end.exit_status or 0, said["out"], said["err"]

    async def _serve_proxy(self, listener: trio.SocketListener) -> None:
        await serve_egress(listener, plugin="attacker", rule=self.rule, gate=Willing())


@asynccontextmanager
async def open_box(world: World) -> AsyncGenerator[Box]:
    """Make ready to run attacks on the world from inside a sandbox."""
    facts = probe_host_blocking(IDENTITY)
    sockets = world.root / "sockets"
    sockets.mkdir(mode=0o755)
    if IDENTITY is not None:
        for folder in (sockets, world.writable):
            os.chown(folder, IDENTITY.uid, IDENTITY.gid)
    allow = (f"127.0.0.1:{world.servers['allowed_port']}",)
    manifest = manifest_of(world, allow)
    plan = plan_sandbox(
        manifest,
        facts,
        folder=str(world.plugin),
        socket_dir=str(sockets),
        environment={},
        paths=read_path_facts(paths_to_look_at(manifest, home=facts.home)),
    )
    async with (
        Spawner() as spawner,
        open_group_guard(spawner) as guard,
        open_sandbox_host(facts, spawner=spawner, guard=guard) as host,
    ):
        yield Box(world, plan, host, EgressRule.from_entries(allow))


def manifest_of(world: World, allow: tuple[str, ...]) -> Manifest:
    """Return the manifest of the attacked plugin: it uses all that a manifest can ask for."""
    return Manifest(
        name="attacker",
        version="1.0.0",
        type=PluginType.TOOL,
        execution=ProcessExecution(
            command=("/usr/bin/python3",),
            sandbox=SandboxPolicy(
                filesystem=FilesystemPolicy(
                    write_allow=(str(world.writable),),
                    read_allow=(str(world.readable),),
                    read_deny=(
                        str(world.readable / "folder" / "denied"),
                        str(world.readable / "denied-folder"),
                    ),
                ),
                network=NetworkPolicy(allow=allow),
                limits=Limits(memory=MEMORY, pids=PIDS, open_files=OPEN_FILES, cpu=CPU),
            ),
        ),
    )


def all_attacks() -> tuple[str, ...]:
    """Return the names of all attacks."""
    import tests.escape.attacks  # noqa: F401 - registers them
    from tests.escape.attacks.harness import ATTACKS

    return tuple(ATTACKS)
