"""Real sandboxes for the tests: a plugin's folders, its plan, and what runs in it."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.core.execution import (
    FilesystemPolicy,
    Limits,
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
)
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_plan import SandboxPlan, plan_sandbox
from sigil_actors.tiers.process.group_guard import open_group_guard
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.sandbox.launch import (
    SandboxHost,
    open_sandbox_host,
    open_sandboxed_program,
)
from sigil_actors.tiers.process.sandbox.sandboxed_program import SandboxedProgram
from sigil_actors.tiers.process.sandbox.write_bound import WRITE_BYTES_MAX
from sigil_actors.tiers.process.spawner import Identity, Spawner

IDENTITY = Identity(uid=1_901_000_001, gid=1_901_000_001) if os.geteuid() == 0 else None
"""As whom plugins run here: somebody of their own where the tests are root."""

NOBODY_ELSE = attrs.evolve(IDENTITY, uid=IDENTITY.uid + 1) if IDENTITY is not None else None
"""For tests that count a user's processes: those of the killed may be left zombies for a while."""

PROXY = NetworkPolicy(allow=("example.com:443",))


@attrs.frozen(kw_only=True)
class Folders:
    """What a plugin has on the host."""

    root: Path

    @classmethod
    def below(cls, root: Path) -> "Folders":
        """Make them, so that the plugin's uid gets at them too."""
        made = cls(root=root)
        root.chmod(0o755)
        for folder in (made.plugin, made.sockets, made.writable):
            folder.mkdir(exist_ok=True)
            folder.chmod(0o755)
        if IDENTITY is not None:
            for folder in (made.sockets, made.writable):
                os.chown(folder, IDENTITY.uid, IDENTITY.gid)
        return made

    @property
    def plugin(self) -> Path:
        return self.root / "plugin"

    @property
    def sockets(self) -> Path:
        return self.root / "sockets"

    @property
    def writable(self) -> Path:
        return self.root / "writable"


def plan_of(
    command: Sequence[str],
    facts: HostFacts,
    folders: Folders,
    *,
    filesystem: FilesystemPolicy | None = None,
    network: NetworkPolicy | None = None,
    limits: Limits | None = None,
    environment: Mapping[str, str] | None = None,
) -> SandboxPlan:
    manifest = Manifest(
        name="tried",
        version="1.0.0",
        type=PluginType.TOOL,
        execution=ProcessExecution(
            command=tuple(command),
            sandbox=SandboxPolicy(
                filesystem=filesystem or FilesystemPolicy(),
                network=network or NetworkPolicy(),
                limits=limits or Limits(),
            ),
        ),
    )
    return plan_sandbox(
        manifest,
        facts,
        folder=str(folders.plugin),
        socket_dir=str(folders.sockets),
        environment=environment or {},
        paths={},
    )


@asynccontextmanager
async def _bounded() -> AsyncGenerator[None, None]:
    with trio.fail_after(30):
        yield


@asynccontextmanager
async def open_host(facts: HostFacts) -> AsyncGenerator[SandboxHost, None]:
    async with (
        _bounded(),
        Spawner() as spawner,
        open_group_guard(spawner) as guard,
        open_sandbox_host(facts, spawner=spawner, guard=guard) as host,
    ):
        yield host


@asynccontextmanager
async def running(
    plan: SandboxPlan,
    facts: HostFacts,
    *,
    write_bytes_max: int = WRITE_BYTES_MAX,
    identity: Identity | None = IDENTITY,
) -> AsyncGenerator[SandboxedProgram, None]:
    async with (
        open_host(facts) as host,
        open_sandboxed_program(
            plan, host=host, identity=identity, write_bytes_max=write_bytes_max
        ) as program,
    ):
        yield program


async def said(program: SandboxedProgram) -> str:
    return b"".join([piece async for piece in program.stdout]).decode(errors="replace")


async def complained(program: SandboxedProgram) -> str:
    return b"".join([piece async for piece in program.stderr]).decode(errors="replace")


async def answer_of(plan: SandboxPlan, facts: HostFacts) -> tuple[str, ProgramEnd]:
    """Run a program to its end; return what it wrote to its standard output, and how it ended."""
    async with running(plan, facts) as program:
        return await said(program), await program.wait()


def shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


def python(script: str) -> tuple[str, ...]:
    return ("/usr/bin/python3", "-I", "-S", "-c", script)
