# ruff: noqa: ARG002 - the parameters are the port's
"""The refusals of a tier that has neither channels nor providers, for its session to inherit."""

from typing import NoReturn

from sigil_actors.core.calls import Usage
from sigil_actors.core.channel_calls import PresenceStatus, SendRequest
from sigil_actors.core.provider_calls import ChatRequest
from sigil_actors.errors import PluginCallError


class ToolsOnly:
    """A part of a `TierSession`: refuses what isn't a tool's, and can't tell what it uses."""

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin

    def listen(self, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("channels")

    async def send(self, request: SendRequest, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("channels")

    async def update_presence(
        self,
        channel_id: str,
        status: PresenceStatus,
        *,
        session_id: str,
    ) -> NoReturn:
        """Refuse."""
        self._refuse("channels")

    async def get_identity(self, platform_user_id: str, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("channels")

    async def list_models(self, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("providers")

    def chat(self, request: ChatRequest, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("providers")

    async def provider_status(self, *, session_id: str) -> NoReturn:
        """Refuse."""
        self._refuse("providers")

    def usage(self) -> Usage | None:
        """Return nothing: what runs inside the host can't be told apart from it."""
        return None

    def _refuse(self, what: str) -> NoReturn:
        raise PluginCallError(
            self.plugin,
            f"not supported: its tier has no {what}",
            remedy="Run the plugin in the process tier, which has them",
        )
