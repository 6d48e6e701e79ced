"""The process tier: a program of its own in a sandbox, spoken to as go-plugin does it."""

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.handshake import HandshakeOffer
from sigil_actors.core.sandbox_proof import AttackResult, SandboxProof
from sigil_actors.ports.tier import Launch
from sigil_actors.tiers.process.connected_plugin import open_connected_plugin
from sigil_actors.tiers.process.host_socket import open_listening
from sigil_actors.tiers.process.plugin_uids import PluginUids
from sigil_actors.tiers.process.program import RunningProgram
from sigil_actors.tiers.process.program_launch import (
    ProgramLaunch,
    open_plainly,
    open_sandboxed,
    program_launch,
)
from sigil_actors.tiers.process.proof.keeper import ProofKeeper, Told
from sigil_actors.tiers.process.running_plugin import RunningPlugin, open_running_plugin
from sigil_actors.tiers.process.sandbox.write_bound import WRITE_BYTES_MAX
from sigil_actors.tiers.process.spawner import Identity
from sigil_actors.tiers.process.workshop import Workshop, WorkshopKeeper
from sigil_actors.tiers.remote.certificates import make_certificate
from sigil_actors.tiers.remote.ending import Ending
from sigil_actors.tiers.remote.host_service import HOST_SERVICE_ID, HostService
from sigil_actors.tiers.remote.session import RemoteSession

logger = logging.getLogger(__name__)

HOST_SOCKET = "host.sock"
HOST_ADDRESS = "SIGIL_HOST_ADDRESS"


class ProcessTier:
    """Runs plugins as programs. Open as a context manager for as long as it is used.

    Args:
        uids: As whom they run, where the host is root.
        unsafe_no_sandbox: Whether they run without a sandbox, as whoever runs the host.
        auto_mtls: Whether host and plugin check each other's one-off certificates.
        write_bytes_max: What the write folders of a plugin may hold together.
        host_folders: What no plugin may be shown or write, whatever its manifest says: the
            runtime's own state.
        told_of_proof: Has it recorded what came of trying a sandbox, before its plugin is started.
        proofs_folder: Where it is remembered which sandboxes hold; without one, while this lives.
    """

    def __init__(
        self,
        *,
        uids: PluginUids,
        unsafe_no_sandbox: bool = False,
        auto_mtls: bool = False,
        write_bytes_max: int = WRITE_BYTES_MAX,
        host_folders: Collection[str] = (),
        told_of_proof: Told | None = None,
        proofs_folder: Path | None = None,
    ) -> None:
        self._uids = uids
        self._proofs = ProofKeeper(told_of_proof or _log_proof, proofs_folder)
        self._is_sandboxed = not unsafe_no_sandbox
        self._auto_mtls = auto_mtls
        self._write_bytes_max = write_bytes_max
        self._host_folders = tuple(host_folders)
        self._keeper = WorkshopKeeper(
            with_sandbox=self._is_sandboxed,
            identity=uids.tried_identity() if self._is_sandboxed else None,
        )
        self._stack = AsyncExitStack()

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it in `execution.tier`."""
        return "process"

    async def __aenter__(self) -> Self:
        """Make ready; the machine is looked at when the first plugin is started."""
        nursery = await self._stack.enter_async_context(open_bare_nursery())
        self._stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(self._keeper.run)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Leave nothing of it."""
        return await self._stack.__aexit__(exc_type, exc, traceback)

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[RemoteSession, None]:
        """Run one plugin for as long as the block lasts; nothing of it is left afterwards.

        Raises:
            PluginStartError: on entering; it couldn't be brought up.
            SandboxUnavailableError: on entering; this machine can't make a sandbox.
            SandboxRequestError: on entering; its manifest asks for what no sandbox may give.
        """
        workshop = await self._keeper.get()
        async with AsyncExitStack() as stack:
            identity: Identity | None = None
            if self._is_sandboxed:
                identity = stack.enter_context(self._uids.identity_of(launch.plugin))
            folder = await stack.enter_async_context(workshop.socket_dirs.open(identity))
            certificate = await run_in_worker(make_certificate) if self._auto_mtls else None
            offer = HandshakeOffer(
                socket_dir=folder.path,
                client_certificate="" if certificate is None else certificate.pem,
            )
            # Before the plugin is started, which may ask for it at once.
            listening = await stack.enter_async_context(open_listening(folder, HOST_SOCKET))
            wanted = program_launch(
                launch,
                socket_dir=folder.path,
                environment={**offer.environment(), HOST_ADDRESS: f"unix:{listening.address}"},
                identity=identity,
            )
            program = await self._open_program(stack, wanted, workshop)
            running = await stack.enter_async_context(
                open_running_plugin(
                    launch.plugin,
                    program,
                    launch.log,
                    start_timeout_s=wanted.execution.start_timeout,
                )
            )
            connected = await stack.enter_async_context(
                open_connected_plugin(
                    running,
                    offer,
                    folder=folder,
                    certificate=certificate,
                    has_own_network=self._is_sandboxed,
                )
            )
            ending = Ending(launch.plugin, running.crash)
            nursery = await stack.enter_async_context(open_bare_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            nursery.start_soon(_tell_end, running, ending)
            nursery.start_soon(HostService(launch.host).server.serve, listening.socket)
            over_broker = HostService(launch.host, connected.server_tls)
            nursery.start_soon(
                partial(
                    connected.broker.serve,
                    HOST_SERVICE_ID,
                    over_broker.server,
                    reached=over_broker.reached,
                )
            )
            # First of all on leaving, so that calls under way learn why they end.
            stack.callback(ending.close)
            yield RemoteSession(
                launch.plugin, connected.channel, ending, usage=running.program.usage
            )

    async def _open_program(
        self, stack: AsyncExitStack, wanted: ProgramLaunch, workshop: Workshop
    ) -> RunningProgram:
        if workshop.sandbox is None:
            return await stack.enter_async_context(
                open_plainly(wanted, spawner=workshop.spawner, guard=workshop.guard)
            )
        return await stack.enter_async_context(
            open_sandboxed(
                wanted,
                host=workshop.sandbox,
                host_folders=self._host_folders,
                proofs=self._proofs,
                write_bytes_max=self._write_bytes_max,
            )
        )


async def _log_proof(plugin: str, proof: SandboxProof) -> None:
    logger.info(
        "the sandbox of plugin %s was tried: %d attacks held, %d got through",
        plugin,
        proof.count(AttackResult.HELD),
        len(proof.failures),
    )


@trio.lowlevel.enable_ki_protection
async def _tell_end(running: RunningPlugin, ending: Ending) -> None:
    await running.wait_ended()
    ending.end()
