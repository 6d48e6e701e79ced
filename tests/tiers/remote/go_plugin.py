"""Opens the plugin of `tests/go/cmd/plugin` with all that the tiers share, and no tier."""

import signal
import socket
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.handshake import HandshakeOffer, parse_handshake
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import PluginCrashedError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.server import listen_unix
from sigil_actors.tiers.remote.broker import Broker, Listening, open_broker
from sigil_actors.tiers.remote.certificates import make_certificate
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
class GoPlugin:
    """A plugin that runs."""

    process: trio.Process
    session: RemoteSession
    channel: Channel
    broker: Broker
    stdio: Stdio
    logged: list[tuple[str, str]]


@asynccontextmanager
async def open_go_plugin(
    program: Path,
    folder: Path,
    *,
    host: HostFunctions | None = None,
    uses_tls: bool = False,
    reads_stdio: bool = True,
    serves: str = "",
    config: JsonObject | None = None,
) -> AsyncGenerator[GoPlugin]:
    """Run it for as long as the block lasts; `serves` is its type, empty for all of them."""
    certificate = make_certificate() if uses_tls else None
    offer = HandshakeOffer(
        socket_dir=folder, client_certificate=certificate.pem if certificate else ""
    )
    process = await trio.lowlevel.open_process(
        [program],
        env={**offer.environment(), "SERVES": serves},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    logged: list[tuple[str, str]] = []
    listened = iter(range(1000))

    @asynccontextmanager
    async def listen() -> AsyncGenerator[Listening]:
        path = folder / f"host{next(listened)}"
        with listen_unix(path) as listener:
            yield Listening(socket=listener, network="unix", address=str(path))

    def crash() -> PluginCrashedError:
        status = process.returncode
        what = "closed its connection" if status is None else f"exited with status {status}"
        return PluginCrashedError("go", what, exit_status=status)

    try:
        with trio.fail_after(10):
            assert process.stdout is not None
            line = b""
            while not line.endswith(b"\n"):
                line += await process.stdout.receive_some()
        handshake = parse_handshake(line[:-1], offer, plugin="go")
        client = server = None
        if certificate is not None:
            client = certificate.client_context("go", handshake.server_certificate)
            server = certificate.server_context("go", handshake.server_certificate)
        ending, stdio = Ending("go", crash), Stdio()
        async with (
            open_channel(await _dial(handshake.network, handshake.address), tls=client) as channel,
            open_bare_nursery() as nursery,
            open_broker(
                "go",
                channel,
                dial=_dial,
                listen=listen,
                log=lambda level, text: logged.append((level, text)),
                tls=client,
            ) as broker,
        ):
            await check_health("go", channel)
            if host is not None:
                service = HostService(host, server)
                nursery.start_soon(
                    partial(broker.serve, HOST_SERVICE_ID, service.server, reached=service.reached)
                )
            if reads_stdio:
                nursery.start_soon(stdio.read, channel)
                for name, output in (("stdout", stdio.stdout), ("stderr", stdio.stderr)):
                    nursery.start_soon(_gather, output, name, logged)

            async def watch() -> None:
                await process.wait()
                ending.end()

            nursery.start_soon(watch)
            session = RemoteSession("go", channel, ending)
            await session.init(config or {})
            try:
                yield GoPlugin(process, session, channel, broker, stdio, logged)
            finally:
                ending.close()
            with trio.move_on_after(2):
                await shut_down(channel)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True), trio.move_on_after(5):
            if process.returncode is None:
                process.send_signal(signal.SIGKILL)
            await process.wait()


async def _dial(network: str, address: str) -> socket.socket:
    assert network == "unix"
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(address)
    connection.setblocking(False)
    return connection


async def _gather(output: Output, name: str, logged: list[tuple[str, str]]) -> None:
    while piece := await output.receive_some(100):
        logged.append((name, piece.decode()))
