"""The time of day, as the audit log wants it: a port, so that a simulation can hand in its own."""

from datetime import datetime
from typing import Protocol


class WallClock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment in UTC, to the microsecond."""
