"""From a launch to its running program: in a sandbox, or, where somebody said so, without one."""

from collections.abc import AsyncGenerator, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.execution import ProcessExecution
from sigil_actors.core.sandbox_environment import sandbox_environment
from sigil_actors.core.sandbox_plan import SandboxPlan, paths_to_look_at, plan_sandbox
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.errors import PluginRefusedError
from sigil_actors.ports.tier import Launch
from sigil_actors.tiers.process.group_guard import GroupGuard
from sigil_actors.tiers.process.path_facts import read_path_facts
from sigil_actors.tiers.process.plain_program import open_plain_program
from sigil_actors.tiers.process.program import RunningProgram
from sigil_actors.tiers.process.program_file import check_program, command_in
from sigil_actors.tiers.process.proof.keeper import ProofKeeper
from sigil_actors.tiers.process.sandbox.launch import SandboxHost, open_sandboxed_program
from sigil_actors.tiers.process.spawner import Identity, Spawner


@attrs.frozen(kw_only=True)
class ProgramLaunch:
    """What is to be run for one instance."""

    launch: Launch
    execution: ProcessExecution
    folder: Path
    socket_dir: Path
    environment: Mapping[str, str]
    """What the protocol sets."""
    identity: Identity | None


def program_launch(
    launch: Launch, *, socket_dir: Path, environment: Mapping[str, str], identity: Identity | None
) -> ProgramLaunch:
    """Return it for a launch.

    Raises:
        PluginRefusedError: the plugin isn't one for this tier.
    """
    execution = launch.manifest.execution
    if not isinstance(execution, ProcessExecution):
        raise PluginRefusedError(
            launch.plugin,
            f"is for the tier {execution.tier!s}, not for process",
            remedy="Give execution.tier the value process",
        )
    if launch.folder is None:
        raise PluginRefusedError(
            launch.plugin,
            "has no folder, and so no program",
            remedy="Give the runtime its folder: manifests=[(manifest, folder)]",
        )
    return ProgramLaunch(
        launch=launch,
        execution=execution,
        folder=launch.folder,
        socket_dir=socket_dir,
        environment=environment,
        identity=identity,
    )


@asynccontextmanager
async def open_plainly(
    wanted: ProgramLaunch, *, spawner: Spawner, guard: GroupGuard
) -> AsyncGenerator[RunningProgram, None]:
    """Run the program as the host itself runs, for as long as the block lasts.

    Raises:
        PluginStartError: on entering; it can't be run.
    """
    plugin = wanted.launch.plugin
    command = command_in(plugin, wanted.execution, wanted.folder)
    await _check(plugin, command[0], wanted.execution)
    environment = sandbox_environment(
        plugin,
        wanted.execution.env,
        wanted.environment,
        # Where all that it leaves behind is removed with it.
        scratch=str(wanted.socket_dir),
        proxy_port=None,
    )
    async with open_plain_program(
        plugin,
        command,
        env=environment,
        cwd=wanted.folder,
        socket_dir=wanted.socket_dir,
        spawner=spawner,
        guard=guard,
    ) as program:
        yield program


@asynccontextmanager
async def open_sandboxed(
    wanted: ProgramLaunch,
    *,
    host: SandboxHost,
    host_folders: Collection[str],
    proofs: ProofKeeper,
    write_bytes_max: int,
) -> AsyncGenerator[RunningProgram, None]:
    """Run the program in the sandbox of its manifest, its proxy beside it, while the block lasts.

    Raises:
        PluginStartError: on entering; it can't be run.
        SandboxRequestError: on entering; its manifest asks for what no sandbox may give.
        SandboxUnavailableError: on entering; the machine couldn't make the sandbox.
        SandboxBrokenError: on entering; something got out of it when it was tried.
        AuditUnavailableError: on entering; that it was tried can't be recorded.
    """
    launch = wanted.launch
    plan = await _plan(wanted, host, host_folders)
    await _check(launch.plugin, plan.command[0], wanted.execution)
    rule = EgressRule.from_entries(wanted.execution.sandbox.network.allow)
    await proofs.ensure(plan, host=host, identity=wanted.identity, rule=rule)
    async with (
        open_sandboxed_program(
            plan, host=host, identity=wanted.identity, write_bytes_max=write_bytes_max
        ) as program,
        open_bare_nursery() as nursery,
    ):
        if program.proxy_listener is not None:
            serve = partial(
                serve_egress,
                program.proxy_listener,
                plugin=launch.plugin,
                rule=rule,
                gate=launch.egress,
            )
            await nursery.start(serve)
        yield program
        nursery.cancel_scope.cancel()


async def _plan(
    wanted: ProgramLaunch, host: SandboxHost, host_folders: Collection[str]
) -> SandboxPlan:
    manifest = wanted.launch.manifest
    looked_at = paths_to_look_at(manifest, home=host.facts.home)
    return plan_sandbox(
        manifest,
        host.facts,
        folder=str(wanted.folder),
        socket_dir=str(wanted.socket_dir),
        environment=wanted.environment,
        paths=await run_in_worker(partial(read_path_facts, looked_at)) if looked_at else {},
        host_folders=host_folders,
    )


async def _check(plugin: str, program: str, execution: ProcessExecution) -> None:
    check = partial(check_program, plugin, Path(program), sha256=execution.sha256)
    if execution.sha256 is None:
        check()  # a look at one file, less than a thread costs
    else:
        await run_in_worker(check)
