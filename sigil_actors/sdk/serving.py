"""Serves a plugin: from the handshake to the end, whichever way its host brings that about."""

import base64
import logging
import os
import signal
from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

import attrs
import trio

from sigil_actors._proto.grpc.health.v1 import health_pb2
from sigil_actors._proto.plugin import broker_pb2, controller_pb2, stdio_pb2
from sigil_actors._proto.plugin.v1 import lifecycle_pb2
from sigil_actors.core.handshake import COOKIE_KEY, COOKIE_VALUE, PROTOCOL_VERSIONS
from sigil_actors.rpc.server import Server, ServerBounds, open_server
from sigil_actors.sdk.broker import Broker
from sigil_actors.sdk.captured_output import STDOUT, CapturedOutput, capturing
from sigil_actors.sdk.errors import NotLaunchedError
from sigil_actors.sdk.go_services import Controller, Health, Stdio
from sigil_actors.sdk.hclog_handler import HclogHandler
from sigil_actors.sdk.host import Host, HostAddress, HostConnection
from sigil_actors.sdk.launch import Launch, handshake_line, read_launch
from sigil_actors.sdk.lifecycle import Lifecycle
from sigil_actors.sdk.listening import listening, write_handshake
from sigil_actors.sdk.registry import Registry
from sigil_actors.sdk.stopping import stop_at_signals, stop_without_host

_LOG = logging.getLogger(__name__)

HOST_SERVICE_ID: Final = 1
"""Under which the host's functions are always announced."""

FINISH_S: Final = 1
"""Seconds that a lifecycle gets to finish where its host didn't ask for it: hosts kill two seconds
after they asked the process to go."""

DRAIN_S: Final = 0.25
"""Seconds that calls in flight get then. A host that wants more of them ends them first."""

MESSAGE_BYTES_MAX: Final = 16 * 1024 * 1024
"""Of a request: as much as this project's host takes of an answer."""

ServicerPair: TypeAlias = tuple[Callable[[Any, Any], None], object]
"""A function `add_…Servicer_to_server` that grpcio-tools generated, and a servicer for it."""


def serve(
    lifecycle: object = None,
    tool: object = None,
    channel: object = None,
    provider: object = None,
    *,
    host: Host | None = None,
    services: Sequence[ServicerPair] = (),
    cookie_key: str = COOKIE_KEY,
    cookie_value: str = COOKIE_VALUE,
    versions: Collection[int] = PROTOCOL_VERSIONS,
    log_level: int = logging.INFO,
) -> None:
    """Be a plugin: serve until the host ends it, then return.

    Started by hand, the program says what it is and exits with status 1. `logging` is set up so
    that the host gets each record with its level, unless the program has set it up already.

    Args:
        lifecycle: A `Lifecycle`, or a servicer of its service.
        tool: `Tools`, or a servicer of its service; likewise `channel` and `provider`.
        channel: A `Channel`.
        provider: A `Provider`.
        host: Through which the plugin asks things of its host.
        services: Servicers of another protocol than this project's own.
        cookie_key: The variable by which the host shows that it means this plugin.
        cookie_value: What it has to hold.
        versions: The versions of the protocol that the plugin speaks.
        log_level: From which on records are logged.
    """
    try:
        launch = read_launch(
            os.environ, cookie_key=cookie_key, cookie_value=cookie_value, versions=versions
        )
    except NotLaunchedError as error:
        raise SystemExit(str(error)) from None
    logging.basicConfig(handlers=[HclogHandler()], level=log_level)
    plugin = Plugin(
        lifecycle=lifecycle,
        tool=tool,
        channel=channel,
        provider=provider,
        host=host,
        services=services,
    )
    trio.run(partial(serve_async, plugin, launch))


@attrs.frozen(kw_only=True)
class Plugin:
    """What a plugin consists of; each part as `serve` takes it."""

    lifecycle: object = None
    tool: object = None
    channel: object = None
    provider: object = None
    host: Host | None = None
    services: Sequence[ServicerPair] = ()

    def register(self, registry: Registry) -> None:
        """Have it served."""
        parts = (self.lifecycle, self.tool, self.channel, self.provider)
        if not self.services or any(part is not None for part in parts):
            service = lifecycle_pb2.DESCRIPTOR.services_by_name["PluginLifecycle"]
            registry.add(service, self.lifecycle or Lifecycle())
        # Loaded on use: each takes milliseconds of a plugin's start.
        if self.tool is not None:
            from sigil_actors._proto.plugin.v1 import tool_pb2

            registry.add(tool_pb2.DESCRIPTOR.services_by_name["Tool"], self.tool)
        if self.channel is not None:
            from sigil_actors._proto.plugin.v1 import channel_pb2

            registry.add(channel_pb2.DESCRIPTOR.services_by_name["Channel"], self.channel)
        if self.provider is not None:
            from sigil_actors._proto.plugin.v1 import provider_pb2

            registry.add(provider_pb2.DESCRIPTOR.services_by_name["Provider"], self.provider)
        for add, servicer in self.services:
            add(servicer, registry)


async def serve_async(plugin: Plugin, launch: Launch) -> None:
    """Serve in a program that runs trio itself, in its main thread; return at the end.

    Takes over SIGTERM, SIGINT and the standard output until then.
    """
    tls = _Tls.of(launch)
    stopping = trio.Event()
    output = CapturedOutput()
    broker = Broker(stopping)
    server = Server(tls=tls.server, bounds=ServerBounds(message_max=MESSAGE_BYTES_MAX))
    registry = Registry(server)
    registry.add(health_pb2.DESCRIPTOR.services_by_name["Health"], Health(stopping))
    registry.add(
        controller_pb2.DESCRIPTOR.services_by_name["GRPCController"], Controller(stopping.set)
    )
    registry.add(stdio_pb2.DESCRIPTOR.services_by_name["GRPCStdio"], Stdio(output))
    registry.add(broker_pb2.DESCRIPTOR.services_by_name["GRPCBroker"], broker)
    plugin.register(registry)

    async def find_host() -> HostAddress:
        if launch.host_address is not None:
            return HostAddress(address=launch.host_address)
        return HostAddress(address=await broker.address_of(HOST_SERVICE_ID), tls=tls.client)

    with (
        listening(launch.socket_dir) as place,
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals,
    ):
        async with open_server(server, place.socket), trio.open_nursery() as nursery:
            nursery.start_soon(stop_at_signals, signals, stopping.set)
            nursery.start_soon(stop_without_host, server, stopping.set)
            if plugin.host is not None:
                plugin.host.connect_by(HostConnection(nursery, find_host))
            line = handshake_line(
                version=launch.version,
                network=place.network,
                address=place.address,
                certificate=tls.handshake_field,
                answers_multiplexing=launch.asks_for_multiplexing,
            )
            write_handshake(line, STDOUT)
            with capturing(output):
                await stopping.wait()
                await _finish(plugin.lifecycle)
            await server.drain(DRAIN_S)
            if plugin.host is not None:
                plugin.host.connect_by(None)
            nursery.cancel_scope.cancel()


async def _finish(lifecycle: object) -> None:
    if not isinstance(lifecycle, Lifecycle):
        return
    with trio.move_on_after(FINISH_S):
        try:
            await lifecycle.finish_once(FINISH_S)
        except Exception:  # noqa: BLE001 - the author's; the end comes all the same
            _LOG.exception("finishing failed")


@attrs.frozen(kw_only=True)
class _Tls:
    """How this plugin and its host know each other; all of it empty without AutoMTLS."""

    server: Any = None
    client: Any = None
    handshake_field: str = ""

    @classmethod
    def of(cls, launch: Launch) -> "_Tls":
        """Return it for what the host asks for.

        Raises:
            CertificateError: the host's certificate is none.
        """
        if launch.client_certificate is None:
            return cls()
        # Loaded on use: it takes longer than all the rest.
        from sigil_actors.rpc.auto_mtls import make_certificate

        own = make_certificate()
        theirs = launch.client_certificate.encode()
        return cls(
            server=own.server_context(theirs),
            client=own.client_context(theirs),
            handshake_field=base64.b64encode(own.der).decode().rstrip("="),
        )
