"""An order to end an instance: it may be given again, only ever more urgently."""

from enum import IntEnum

import trio


class StopKind(IntEnum):
    """How an instance is to end, from the gentlest to the hardest."""

    DRAIN = 1
    """Finish the accepted work, refuse new work, then stop."""
    STOP = 2
    """The same road, in the shorter time of a stop."""
    KILL = 3
    """Wait for nothing."""


class StopOrder:
    """Whether an instance was told to end, and how."""

    def __init__(self) -> None:
        self._given = {kind: trio.Event() for kind in StopKind}

    @property
    def kind(self) -> StopKind | None:
        """Return the most urgent order so far; None where there is none."""
        return max((kind for kind, event in self._given.items() if event.is_set()), default=None)

    def give(self, kind: StopKind) -> None:
        """Order it. A gentler order after a harder one changes nothing."""
        for lower in StopKind:
            if lower <= kind:
                self._given[lower].set()

    async def wait(self, kind: StopKind = StopKind.DRAIN) -> None:
        """Wait for an order at least as urgent as `kind`."""
        await self._given[kind].wait()
