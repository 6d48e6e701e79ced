"""A host for any plugin that is written for HashiCorp's go-plugin and speaks gRPC.

For programs that want just that, with cookies, versions and services of their own, and no runtime
around it:

    config = ClientConfig(
        command=("./kv",),
        handshake=HandshakeConfig(
            protocol_version=1, magic_cookie_key="BASIC_PLUGIN", magic_cookie_value="hello"
        ),
    )
    async with GoPluginClient(config) as client:
        answer = await KVStub(client.channel).Get(GetRequest(key="hello"))

`handshake_config`, `plugin_map` and `client_config` are this project's own contract in the same
form. A sandbox as a runtime gives one takes a runtime; a client has at most the weaker one of
`sandbox.generate_args`.
"""

import logging
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Self

import attrs

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.bwrap_args import with_handshake
from sigil_actors.core.execution import texts
from sigil_actors.core.handshake import (
    COOKIE_KEY,
    COOKIE_VALUE,
    PROTOCOL_VERSIONS,
    HandshakeOffer,
)
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginCrashedError, PluginStartError
from sigil_actors.rpc.channel import Channel
from sigil_actors.rpc.server import Server
from sigil_actors.tiers.process.connected_plugin import ConnectedPlugin, open_connected_plugin
from sigil_actors.tiers.process.group_guard import GroupGuard, open_group_guard
from sigil_actors.tiers.process.plain_program import open_plain_program
from sigil_actors.tiers.process.program_file import check_program
from sigil_actors.tiers.process.running_plugin import open_running_plugin
from sigil_actors.tiers.process.socket_dir import open_socket_dirs
from sigil_actors.tiers.process.spawner import Spawner
from sigil_actors.tiers.remote.broker import Broker
from sigil_actors.tiers.remote.certificates import make_certificate

logger = logging.getLogger(__name__)

PluginLog = Callable[[str, str], None]
"""Takes a level (debug, info, warn, error) and a line of the plugin's, unescaped."""


@attrs.frozen(kw_only=True)
class HandshakeConfig:
    """What host and plugin have agreed on, in go-plugin's words."""

    protocol_version: int
    magic_cookie_key: str
    magic_cookie_value: str


def handshake_config() -> HandshakeConfig:
    """Return what this project's own plugins are started with."""
    return HandshakeConfig(
        protocol_version=PROTOCOL_VERSIONS[0],
        magic_cookie_key=COOKIE_KEY,
        magic_cookie_value=COOKIE_VALUE,
    )


def plugin_map() -> Mapping[str, str]:
    """Return the kinds of plugins that the contract has, each with its gRPC service."""
    return MappingProxyType(
        {
            "lifecycle": "plugin.v1.PluginLifecycle",
            "channel": "plugin.v1.Channel",
            "tool": "plugin.v1.Tool",
            "provider": "plugin.v1.Provider",
        }
    )


def _versions(config: "ClientConfig") -> tuple[int, ...]:
    return (config.handshake.protocol_version,)


def _read_only(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


@attrs.frozen(kw_only=True)
class ClientConfig:
    """How one plugin is run."""

    command: tuple[str, ...] = attrs.field(converter=texts)
    """The program, by a path, and its arguments."""
    handshake: HandshakeConfig = attrs.field(factory=handshake_config)
    versions: tuple[int, ...] = attrs.Factory(_versions, takes_self=True)
    """The protocol versions that the host speaks; `client.version` is the one that was agreed on.
    By default just the handshake's."""
    environment: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)
    """Its variables, besides the protocol's. Nothing is inherited."""
    folder: Path | None = None
    """Its working directory; by default where its program is."""
    sha256: str | None = None
    """The program's hash in hex digits; another one isn't run."""
    start_timeout_s: float = 60.0
    """Seconds from the start until it serves; go-plugin's default."""
    auto_mtls: bool = False
    """Whether both sides check each other's one-off certificates."""
    log: PluginLog | None = None
    """Where its output goes; by default to the logger `sigil_actors.goplugin`."""
    is_sandboxed: bool = False
    """Whether the command is one that `sandbox.generate_args` made."""

    @property
    def name(self) -> str:
        """Return how it is called in errors: as its program is."""
        return Path(self.command[-1 if self.is_sandboxed else 0]).name


def client_config(
    binary: str | PathLike[str], sandbox: Sequence[str] | None = None
) -> ClientConfig:
    """Return how a plugin of this project's own contract is run.

    `sandbox` is what `sandbox.generate_args` returned for it; it ends in the binary already.
    """
    if sandbox is None:
        return ClientConfig(command=(fspath(binary),))
    return ClientConfig(command=tuple(sandbox), is_sandboxed=True)


class GoPluginClient:
    """A running plugin, for as long as the block lasts; nothing of it is left afterwards.

    Raises, on entering:
        PluginStartError: it couldn't be started; says why, with its last words.
        HandshakeError: what it answered isn't a handshake that this host takes.
    """

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self._opened: AbstractAsyncContextManager[ConnectedPlugin] | None = None
        self._plugin: ConnectedPlugin | None = None

    async def __aenter__(self) -> Self:
        """Start it."""
        if self._opened is not None:
            raise RuntimeError("a client is opened once; make another one")
        self._opened = _open_plugin(self.config)
        self._plugin = await self._opened.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        """Ask it to go, then see that it does. An error of the block doesn't wait for it."""
        if self._opened is None:
            raise AssertionError("it was never opened")
        return await self._opened.__aexit__(exc_type, exc, traceback)

    @property
    def channel(self) -> Channel:
        """Return what stubs that grpcio-tools generates are made of."""
        return self._connected.channel

    @property
    def version(self) -> int:
        """Return the protocol version that both sides speak."""
        return self._connected.handshake.version

    @property
    def broker(self) -> Broker:
        """Return go-plugin's broker, for services of the plugin's beside its own, and back."""
        return self._connected.broker

    def server(self) -> Server:
        """Return an empty server for `broker.serve`, with the TLS that the plugin expects."""
        return Server(tls=self._connected.server_tls)

    @property
    def pid(self) -> int:
        """Return the plugin's process."""
        return self._connected.running.program.pid

    @property
    def address(self) -> str:
        """Return where it listens: the path of a unix socket, or `HOST:PORT`."""
        return self._connected.handshake.address

    @property
    def last_words(self) -> tuple[str, ...]:
        """Return the last lines that it wrote, escaped."""
        return self._connected.running.output.last_words

    async def channel_call(self, service_method: str, request_bytes: bytes) -> bytes:
        """Call a method with one message, as bytes, and return its answer as bytes.

        Args:
            service_method: `package.Service/Method`.
            request_bytes: The message, serialised.

        Raises:
            RpcError: it ended with another status than OK.
        """
        method = self.channel.unary_unary(f"/{service_method.removeprefix('/')}")
        return bytes(await method(request_bytes))

    async def wait_ended(self) -> PluginCrashedError:
        """Wait until it is over though nobody stopped it; return how, with its last words."""
        await self._connected.running.wait_ended()
        return self._connected.running.crash()

    @property
    def _connected(self) -> ConnectedPlugin:
        if self._plugin is None:
            raise RuntimeError("open it first: async with GoPluginClient(config) as client")
        return self._plugin


@asynccontextmanager
async def _open_plugin(config: ClientConfig) -> AsyncGenerator[ConnectedPlugin, None]:
    name = config.name
    async with AsyncExitStack() as stack:
        spawner = await stack.enter_async_context(Spawner())
        guard = await stack.enter_async_context(open_group_guard(spawner))
        socket_dirs = await stack.enter_async_context(open_socket_dirs())
        folder = await stack.enter_async_context(socket_dirs.open(None))
        certificate = await run_in_worker(make_certificate) if config.auto_mtls else None
        offer = HandshakeOffer(
            socket_dir=folder.path,
            cookie_key=config.handshake.magic_cookie_key,
            cookie_value=config.handshake.magic_cookie_value,
            versions=config.versions,
            client_certificate="" if certificate is None else certificate.pem,
        )
        command, environment = _completed(config, offer)
        program = Path(config.command[-1]) if config.is_sandboxed else Path(command[0])
        check = partial(check_program, name, program, sha256=config.sha256)
        if config.sha256 is None:
            check()  # a look at one file, less than a thread costs
        else:
            await run_in_worker(check)
        running_program = await stack.enter_async_context(
            open_plain_program(
                name,
                command,
                env=environment,
                cwd=config.folder or program.parent,
                socket_dir=folder.path,
                spawner=spawner,
                guard=guard,
            )
        )
        await _must_be_guarded(name, guard)
        running = await stack.enter_async_context(
            open_running_plugin(
                name,
                running_program,
                config.log or partial(_log, name),
                start_timeout_s=config.start_timeout_s,
            )
        )
        yield await stack.enter_async_context(
            open_connected_plugin(
                running, offer, folder=folder, certificate=certificate, has_own_network=False
            )
        )


async def _must_be_guarded(name: str, guard: GroupGuard) -> None:
    """See that the guard is there: it was asked for before the plugin, and not waited for."""
    try:
        await guard.wait_started()
    except OSError as error:
        raise PluginStartError(
            name,
            f"what it starts can't be guarded: {error}",
            remedy="It takes a /bin/sh",
        ) from error


def _completed(
    config: ClientConfig, offer: HandshakeOffer
) -> tuple[Sequence[str], Mapping[str, str]]:
    """Return the command and the variables that it is started with."""
    variables = {**config.environment, **offer.environment()}
    if config.is_sandboxed:
        # bubblewrap starts it with these and no others, and has none of its own.
        line = with_handshake(
            config.command, environment=variables, socket_dir=str(offer.socket_dir)
        )
        return line, {}
    program, *arguments = config.command
    return (os.path.abspath(program), *arguments), variables  # noqa: PTH100 - no link is followed


def _log(name: str, level: str, line: str) -> None:
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logger.log(number, "%s: %s", name, escape_text(line))
