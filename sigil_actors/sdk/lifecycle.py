"""What every plugin is asked: to take its configuration, to tell how it is, to finish."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from google.protobuf.json_format import MessageToDict

from sigil_actors._proto.plugin.v1 import lifecycle_pb2


class ConfigurationError(Exception):
    """Raised by whatever takes the configuration: its text is why the plugin won't run."""


Configure = Callable[[Mapping[str, Any]], Awaitable[None] | None]


class Lifecycle:
    """The servicer `plugin.v1.PluginLifecycle`; override what matters to the plugin."""

    def __init__(self, configure: Configure | None = None) -> None:
        self._configure = configure
        self._was_finished = False

    async def configure(self, config: Mapping[str, Any]) -> None:
        """Take the configuration, once, first.

        Raises:
            ConfigurationError: the plugin can't run with it.
        """
        if self._configure is not None:
            done = self._configure(config)
            if inspect.isawaitable(done):
                await done

    async def is_healthy(self) -> bool:
        """Tell whether the plugin can do its work."""
        return True

    async def finish(self, timeout_s: int) -> None:
        """Bring things to an end; the process ends afterwards, at the latest after that time."""

    async def finish_once(self, timeout_s: int) -> None:
        """Finish, unless that has been begun: the host asks for it, or the program is ended."""
        if not self._was_finished:
            self._was_finished = True
            await self.finish(timeout_s)

    # The names of the methods are the contract's.
    async def Init(  # noqa: N802
        self,
        request: lifecycle_pb2.InitRequest,
        context: object,  # noqa: ARG002
    ) -> lifecycle_pb2.InitResponse:
        """Hand the configuration on."""
        try:
            await self.configure(MessageToDict(request.config))
        except ConfigurationError as error:
            return lifecycle_pb2.InitResponse(ok=False, error=str(error))
        return lifecycle_pb2.InitResponse(ok=True)

    async def Health(  # noqa: N802
        self,
        request: lifecycle_pb2.HealthRequest,  # noqa: ARG002
        context: object,  # noqa: ARG002
    ) -> lifecycle_pb2.HealthResponse:
        """Answer how the plugin is."""
        if await self.is_healthy():
            return lifecycle_pb2.HealthResponse(status=lifecycle_pb2.HEALTH_STATUS_HEALTHY)
        return lifecycle_pb2.HealthResponse(status=lifecycle_pb2.HEALTH_STATUS_UNHEALTHY)

    async def Shutdown(  # noqa: N802
        self,
        request: lifecycle_pb2.ShutdownRequest,
        context: object,  # noqa: ARG002
    ) -> lifecycle_pb2.ShutdownResponse:
        """Finish."""
        await self.finish_once(request.timeout_seconds)
        return lifecycle_pb2.ShutdownResponse(clean=True)
