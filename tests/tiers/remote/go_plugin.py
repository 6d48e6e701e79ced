"""Opens the plugin of `tests/go/cmd/plugin` with all that the tiers share, and no tier."""

import socket
import ssl
import subprocess
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.handshake import Handshake, HandshakeOffer, parse_handshake
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import PluginCrashedError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import listen_unix
from sigil_actors.tiers.remote.broker import Broker, Listening, open_broker
from sigil_actors.tiers.remote.certificates import HostCertificate, make_certificate
from sigil_actors.tiers.remote.ending import Ending
from sigil_actors.tiers.remote.go_services import Output, Stdio, check_health, shut_down
from sigil_actors.tiers.remote.host_service import HOST_SERVICE_ID, HostService
from sigil_actors.tiers.remote.session import RemoteSession


class EchoHost:
    """A host that answers what it is asked, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes | None, str]] = []

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        """Echo."""
        await trio.lowlevel.checkpoint()
        self.asked.append((capability, payload, session_id))
        return b"host says " + payload

    async def check(self, capability: str, session_id: str) -> DenyReason:
        """Allow what begins with `kv`."""
        await trio.lowlevel.checkpoint()
        self.asked.append((capability, None, session_id))
        return DenyReason.OK if capability.startswith("kv") else DenyReason.PLUGIN_ALLOW_MISSING


@attrs.define
class GoProgram:
    """A go-plugin plugin that runs, whatever it serves."""

    process: trio.Process
    channel: Channel
    broker: Broker
    server_tls: ssl.SSLContext | None
    logged: list[tuple[str, str]] = attrs.field(factory=list)
    _has_logged: trio.Event = attrs.field(factory=trio.Event, init=False)

    def log(self, level: str, text: str) -> None:
        """Take what it logs, or writes: then the level is the output's name."""
        self.logged.append((level, text))
        self._has_logged.set()
        self._has_logged = trio.Event()

    async def wait_logged(self, is_there: Callable[[], bool]) -> None:
        """Wait until what it logs is as wanted."""
        while not is_there():
            await self._has_logged.wait()


@attrs.define
class GoPlugin:
    """The plugin `plugin`, with its session."""

    program: GoProgram
    session: RemoteSession
    nursery: trio.Nursery


@asynccontextmanager
async def open_go_program(
    path: Path,
    offer: HandshakeOffer,
    certificate: HostCertificate | None = None,
    *,
    serves: str = "",
) -> AsyncGenerator[GoProgram]:
    """Run a program for as long as the block lasts."""
    folder = Path(offer.socket_dir)
    names = count(1)
    early: list[tuple[str, str]] = []

    @asynccontextmanager
    async def listen() -> AsyncGenerator[Listening]:
        path = folder / f"host{next(names)}"
        with listen_unix(path) as listener:
            yield Listening(socket=listener, network="unix", address=str(path))

    async with _open_process(path, {**offer.environment(), "SERVES": serves}) as process:
        handshake = await _shake_hands(process, offer)
        client = server = None
        if certificate is not None:
            client = certificate.client_context("go", handshake.server_certificate)
            server = certificate.server_context("go", handshake.server_certificate)
        async with (
            open_channel(await dial(handshake.network, handshake.address), tls=client) as channel,
            open_broker(
                "go",
                channel,
                dial=dial,
                listen=listen,
                log=lambda level, text: early.append((level, text)),
                tls=client,
            ) as broker,
        ):
            await check_health("go", channel)
            yield GoProgram(process, channel, broker, server, early)
            with trio.move_on_after(2):
                await shut_down(channel)


@asynccontextmanager
async def open_go_plugin(
    path: Path,
    folder: Path,
    *,
    host: HostFunctions | None = None,
    uses_tls: bool = False,
    serves: str = "",
    config: JsonObject | None = None,
) -> AsyncGenerator[GoPlugin]:
    """Run the plugin; `serves` is its type, empty for all of them."""
    certificate = make_certificate() if uses_tls else None
    offer = HandshakeOffer(
        socket_dir=folder, client_certificate=certificate.pem if certificate else ""
    )
    async with open_go_program(path, offer, certificate, serves=serves) as program:

        def crash() -> PluginCrashedError:
            status = program.process.returncode
            what = "closed its connection" if status is None else f"exited with status {status}"
            return PluginCrashedError("go", what, exit_status=status)

        async def watch() -> None:
            await program.process.wait()
            ending.end()

        ending, stdio = Ending("go", crash), Stdio()
        async with open_bare_nursery() as nursery:
            nursery.start_soon(watch)
            nursery.start_soon(stdio.read, program.channel)
            nursery.start_soon(_gather, stdio.stdout, "stdout", program)
            nursery.start_soon(_gather, stdio.stderr, "stderr", program)
            if host is not None:
                service = HostService(host, program.server_tls)
                serve = partial(program.broker.serve, reached=service.reached)
                nursery.start_soon(serve, HOST_SERVICE_ID, service.server)
            session = RemoteSession("go", program.channel, ending)
            await session.init(config or {})
            try:
                yield GoPlugin(program, session, nursery)
            finally:
                ending.close()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def _open_process(path: Path, environment: dict[str, str]) -> AsyncGenerator[trio.Process]:
    process = await trio.lowlevel.open_process(
        [path], env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            if process.returncode is None:
                process.kill()
            await process.wait()
            if process.stdout is not None:
                await process.stdout.aclose()


async def _shake_hands(process: trio.Process, offer: HandshakeOffer) -> Handshake:
    assert process.stdout is not None
    line = b""
    with trio.fail_after(10):
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
    return parse_handshake(line[:-1], offer, plugin="go")


async def dial(network: str, address: str) -> socket.socket:
    """Connect to where the plugin listens."""
    assert network == "unix"
    await trio.lowlevel.checkpoint()
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    connection.setblocking(False)
    return connection


async def _gather(output: Output, name: str, program: GoProgram) -> None:
    while piece := await output.receive_some(100):
        program.log(name, piece.decode())
