"""The services of go-plugin's own that every plugin's server has, as its host uses them."""

from contextlib import suppress
from typing import Final

import trio
from google.protobuf import empty_pb2

from sigil_actors._proto.grpc.health.v1 import health_pb2, health_pb2_grpc
from sigil_actors._proto.plugin import (
    controller_pb2,
    controller_pb2_grpc,
    stdio_pb2,
    stdio_pb2_grpc,
)
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginStartError
from sigil_actors.rpc.channel import Channel
from sigil_actors.rpc.status import RpcError
from sigil_actors.tiers.remote.stubs import stub

HEALTH_SERVICE: Final = "plugin"
"""The name that go-plugin's server tells its health by."""

_DETAILS_CHARACTERS_MAX: Final = 200
"""Of the text of a plugin's status."""


async def check_health(plugin: str, channel: Channel) -> None:
    """Ask whether its server serves.

    Raises:
        PluginStartError: it doesn't, or doesn't say.
    """
    health = stub(health_pb2_grpc.HealthStub, channel)
    try:
        answer = await health.Check(health_pb2.HealthCheckRequest(service=HEALTH_SERVICE))
    except RpcError as error:
        said = escape_text(error.details(), limit=_DETAILS_CHARACTERS_MAX)
        what = f"didn't answer a health check: {error.code().name}, {said}"
    else:
        if answer.status == health_pb2.HealthCheckResponse.SERVING:
            return
        what = f"says that it isn't serving (health status {answer.status})"
    raise PluginStartError(
        plugin,
        what,
        remedy=f"Its gRPC server must answer grpc.health.v1.Health/Check for {HEALTH_SERVICE!r}"
        " with SERVING, as go-plugin's does",
    )


async def shut_down(channel: Channel) -> None:
    """Ask its server to stop, as go-plugin does it; that its program ends is then waited for.

    Returns whatever it answers: many are gone before they have, and one that doesn't have the
    service is stopped by a signal.
    """
    controller = stub(controller_pb2_grpc.GRPCControllerStub, channel)
    with suppress(RpcError):
        await controller.Shutdown(controller_pb2.Empty())


class Stdio:
    """What a plugin writes once go-plugin has taken its standard output and error over.

    Its bytes come by gRPC then. `read` must run for the plugin's whole life, and both outputs be
    read: go-plugin makes the plugin wait where nobody does.
    """

    def __init__(self) -> None:
        self._into_stdout, self._from_stdout = trio.open_memory_channel[bytes](0)
        self._into_stderr, self._from_stderr = trio.open_memory_channel[bytes](0)
        self.stdout = Output(self._from_stdout)
        self.stderr = Output(self._from_stderr)

    async def read(self, channel: Channel) -> None:
        """Read until the plugin closes the stream or its connection ends; then so do both outputs.

        One that doesn't have the service ends them at once.
        """
        stdio = stub(stdio_pb2_grpc.GRPCStdioStub, channel)
        into = {
            stdio_pb2.StdioData.STDOUT: self._into_stdout,
            stdio_pb2.StdioData.STDERR: self._into_stderr,
        }
        with self._into_stdout, self._into_stderr:
            try:
                async with stdio.StreamStdio(empty_pb2.Empty()) as stream:
                    async for message in stream:
                        output = into.get(message.channel)
                        if output is not None and message.data:
                            await output.send(message.data)
                        else:
                            # A plugin that sends nothing fast must not keep its host busy.
                            await trio.lowlevel.checkpoint()
            except (RpcError, trio.BrokenResourceError):
                pass  # the plugin's end is told by its connection and its program


class Output:
    """One of a plugin's outputs, for one reader."""

    def __init__(self, pieces: trio.MemoryReceiveChannel[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""

    async def receive_some(self, most: int) -> bytes:
        """Return at most `most` bytes as they come; empty at the end."""
        if not self._rest:
            try:
                self._rest = await self._pieces.receive()
            except trio.EndOfChannel:
                return b""
        piece, self._rest = self._rest[:most], self._rest[most:]
        return piece
