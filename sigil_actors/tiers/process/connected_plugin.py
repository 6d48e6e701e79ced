"""From a running program to a plugin that can be called: handshake, connection, health."""

import socket
import ssl
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count

import attrs
import trio

from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.handshake import Handshake, HandshakeOffer, Network
from sigil_actors.errors import HandshakeError, PluginCallError, PluginStartError
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.tiers.process.host_socket import open_listening
from sigil_actors.tiers.process.plugin_socket import PluginAddressError, dial
from sigil_actors.tiers.process.running_plugin import RunningPlugin
from sigil_actors.tiers.process.socket_dir import SocketDir
from sigil_actors.tiers.remote.broker import Broker, open_broker
from sigil_actors.tiers.remote.certificates import HostCertificate
from sigil_actors.tiers.remote.go_services import Stdio, check_health, shut_down

ASK_S = 1.0
"""Seconds that a plugin gets to answer that it will go."""

MESSAGE_BYTES_MAX = 16 * 1024 * 1024
"""Of one message from a plugin: four times gRPC's default, for tools that answer with a file."""


@attrs.frozen(kw_only=True)
class ConnectedPlugin:
    """A plugin that serves."""

    running: RunningPlugin
    handshake: Handshake
    channel: Channel
    broker: Broker
    server_tls: ssl.SSLContext | None
    """With which the host serves it over the broker; None where AutoMTLS is off."""


@asynccontextmanager
async def open_connected_plugin(
    running: RunningPlugin,
    offer: HandshakeOffer,
    *,
    folder: SocketDir,
    certificate: HostCertificate | None,
    has_own_network: bool,
) -> AsyncGenerator[ConnectedPlugin, None]:
    """Be connected to a plugin that was made the offer, for as long as the block lasts.

    Raises:
        PluginStartError: on entering; it gave no handshake, can't be reached, or isn't serving.
    """
    async with AsyncExitStack() as stack:
        handshake = await running.shake_hands(offer)
        nursery = await stack.enter_async_context(open_bare_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        nursery.start_soon(running.read_output)
        _check_tls(running.plugin, handshake, certificate, has_own_network=has_own_network)
        client_tls, server_tls = _contexts(running.plugin, handshake, certificate)
        channel = await _open_channel(stack, running, handshake, client_tls)
        await _check_health(running, channel)
        stdio = Stdio()
        nursery.start_soon(stdio.read, channel)
        nursery.start_soon(running.output.read, stdio.stdout)
        nursery.start_soon(running.output.read, stdio.stderr)
        names = count(1)
        broker = await stack.enter_async_context(
            open_broker(
                running.plugin,
                channel,
                dial=partial(_dial_announced, running),
                listen=lambda: open_listening(folder, f"broker{next(names)}.sock"),
                log=running.log,
                tls=client_tls,
            )
        )
        yield ConnectedPlugin(
            running=running,
            handshake=handshake,
            channel=channel,
            broker=broker,
            server_tls=server_tls,
        )
        await _stop(running, channel)


async def _stop(running: RunningPlugin, channel: Channel) -> None:
    """Ask it to go, and give it time; not shielded: cancelled, it is killed at once."""
    was_asked = False
    if running.end is None:
        with trio.move_on_after(ASK_S):
            await shut_down(channel)
            was_asked = True
    await running.stop(was_asked=was_asked)


def _check_tls(
    plugin: str,
    handshake: Handshake,
    certificate: HostCertificate | None,
    *,
    has_own_network: bool,
) -> None:
    if handshake.network is Network.TCP and certificate is None and not has_own_network:
        raise HandshakeError(
            plugin,
            f"listens at {handshake.address}, where every process of this machine can connect,"
            " and without TLS",
            remedy="Turn auto_mtls on, or let it listen at a unix socket",
        )


def _contexts(
    plugin: str, handshake: Handshake, certificate: HostCertificate | None
) -> tuple[ssl.SSLContext | None, ssl.SSLContext | None]:
    """Return with which TLS the host connects, and serves."""
    if certificate is None:
        return None, None
    theirs = handshake.server_certificate
    return certificate.client_context(plugin, theirs), certificate.server_context(plugin, theirs)


async def _dial_announced(running: RunningPlugin, network: str, address: str) -> socket.socket:
    """Connect to what the plugin announced over its broker."""
    try:
        return await dial(running.program, network, address)
    except PluginAddressError as error:
        raise PluginCallError(
            running.plugin,
            f"it announced what can't be connected to: {error}",
            remedy="It may listen in its socket folder, or at a port of its loopback interface",
        ) from error


async def _open_channel(
    stack: AsyncExitStack,
    running: RunningPlugin,
    handshake: Handshake,
    tls: ssl.SSLContext | None,
) -> Channel:
    try:
        async with running.starting("couldn't be connected to"):
            connection = await dial(running.program, handshake.network, handshake.address)
        # Closes the socket, whatever happens.
        return await stack.enter_async_context(
            open_channel(connection, tls=tls, message_max=MESSAGE_BYTES_MAX)
        )
    except (PluginAddressError, OSError) as error:
        raise await running.start_error(f"can't be connected to: {error}") from error


async def _check_health(running: RunningPlugin, channel: Channel) -> None:
    try:
        async with running.starting("didn't answer a health check"):
            await check_health(running.plugin, channel)
    except PluginStartError as error:
        if channel.is_usable:
            raise
        raise await running.start_error("closed its connection") from error
