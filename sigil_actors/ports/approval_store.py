"""Where it is kept what each plugin was allowed."""

from typing import Protocol

from sigil_actors.core.approvals import PluginApprovals


class ApprovalStore(Protocol):
    """A record for each plugin, by its name. A write that returned stays."""

    async def read(self, plugin: str) -> PluginApprovals:
        """Return the record; an empty one where nothing was ever written.

        Raises:
            ApprovalsUnavailableError: it can't be read, or isn't what was written. Never taken for
                an empty one.
        """

    async def write(self, plugin: str, approvals: PluginApprovals) -> None:
        """Keep the record in the place of the one before, or change nothing.

        Raises:
            ApprovalsUnavailableError: it can't be kept.
        """
