"""The services of go-plugin's own that every plugin's server has, but for the broker."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Final

import trio

from sigil_actors._proto.grpc.health.v1 import health_pb2
from sigil_actors._proto.plugin import controller_pb2, stdio_pb2
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.sdk.captured_output import CapturedOutput

HEALTH_SERVICES: Final = ("plugin", "")
"""The name that go-plugin's server tells its health by, and gRPC's own for a server as a whole."""

_SERVING: Final = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


@asynccontextmanager
async def unless(stopping: trio.Event) -> AsyncGenerator[None]:
    """Run the block, and leave it when the plugin is stopping."""
    async with open_bare_nursery() as nursery:

        async def leave() -> None:
            await stopping.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(leave)
        yield
        nursery.cancel_scope.cancel()


class Health:
    """The servicer `grpc.health.v1.Health`."""

    def __init__(self, stopping: trio.Event) -> None:
        self._stopping = stopping

    # The names of the methods are the contract's, here and below.
    async def Check(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: object
    ) -> health_pb2.HealthCheckResponse:
        """Answer that it serves."""
        if request.service not in HEALTH_SERVICES:
            raise RpcError(StatusCode.NOT_FOUND, "unknown service")
        return _SERVING

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, _context: object
    ) -> AsyncGenerator[health_pb2.HealthCheckResponse]:
        """Answer once, since it serves until it ends."""
        yield (
            _SERVING
            if request.service in HEALTH_SERVICES
            else health_pb2.HealthCheckResponse(
                status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
            )
        )
        await self._stopping.wait()


class Controller:
    """The servicer `plugin.GRPCController`."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    async def Shutdown(  # noqa: N802
        self, _request: controller_pb2.Empty, _context: object
    ) -> controller_pb2.Empty:
        """Stop, once this is answered."""
        self._stop()
        return controller_pb2.Empty()


class Stdio:
    """The servicer `plugin.GRPCStdio`: what the plugin prints. Its standard error stays its own."""

    def __init__(self, output: CapturedOutput) -> None:
        self._output = output

    async def StreamStdio(  # noqa: N802
        self, _request: object, _context: object
    ) -> AsyncGenerator[stdio_pb2.StdioData]:
        """Stream it until its end."""
        while piece := await self._output.take():
            yield stdio_pb2.StdioData(channel=stdio_pb2.StdioData.STDOUT, data=piece)
