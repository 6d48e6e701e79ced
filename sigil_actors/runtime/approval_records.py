"""Reads and changes what plugins were allowed, so that no change gets lost.

Owns that a change is made to the record as it is, one after another for each plugin. Knows nothing
of what a change means.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

import attrs
import trio

from sigil_actors.core.approvals import PluginApprovals
from sigil_actors.ports.approval_store import ApprovalStore


@attrs.define
class _Turn:
    """The lock of one plugin, and how many hold it or wait for it."""

    lock: trio.Lock = attrs.field(factory=trio.Lock)
    users: int = 0


class ApprovalRecords:
    """The records of all plugins. Used by any number of tasks; the store is written by it alone."""

    def __init__(self, store: ApprovalStore) -> None:
        self._store = store
        self._turns: dict[str, _Turn] = {}
        """Of the plugins whose record is being changed, so that no name stays for ever."""

    async def read(self, plugin: str) -> PluginApprovals:
        """Return the record, from before or after a change that is under way.

        Raises:
            ApprovalsUnavailableError: it can't be read.
        """
        return await self._store.read(plugin)

    async def update(
        self, plugin: str, change: Callable[[PluginApprovals], PluginApprovals]
    ) -> PluginApprovals:
        """Replace the record by what `change` makes of it, and return that.

        It isn't written where it stays as it is. Whatever ends it early, be it a cancel or an error
        of `change`, leaves the record whole and lets the next one have its turn.

        Raises:
            ApprovalsUnavailableError: it can't be read or kept.
        """
        async with self._turn(plugin):
            before = await self._store.read(plugin)
            after = change(before)
            if after != before:
                await self._store.write(plugin, after)
            return after

    @asynccontextmanager
    async def _turn(self, plugin: str) -> AsyncGenerator[None]:
        turn = self._turns.setdefault(plugin, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if turn.users == 0:
                del self._turns[plugin]
