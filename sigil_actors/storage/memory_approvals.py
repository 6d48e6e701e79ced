"""What plugins were allowed, in memory: for a runtime without a state folder, and for tests."""

import trio

from sigil_actors.core.approvals import PluginApprovals
from sigil_actors.storage.approval_names import check_plugin_name


class MemoryApprovalStore:
    """An `ApprovalStore` that lasts as long as the object."""

    def __init__(self) -> None:
        self._records: dict[str, PluginApprovals] = {}

    async def read(self, plugin: str) -> PluginApprovals:
        """Return the record; an empty one where nothing was ever written.

        Raises:
            ApprovalsUnavailableError: that is no plugin's name.
        """
        await trio.lowlevel.checkpoint()
        check_plugin_name(plugin)
        return self._records.get(plugin, PluginApprovals())

    async def write(self, plugin: str, approvals: PluginApprovals) -> None:
        """Keep the record in the place of the one before.

        Raises:
            ApprovalsUnavailableError: that is no plugin's name.
        """
        await trio.lowlevel.checkpoint()
        check_plugin_name(plugin)
        self._records[plugin] = approvals
