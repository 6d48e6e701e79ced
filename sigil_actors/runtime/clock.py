"""The time of day, from the machine."""

from datetime import UTC, datetime


class SystemClock:
    """A `WallClock` that tells the machine's time."""

    def now(self) -> datetime:
        """Return the present moment in UTC."""
        return datetime.now(UTC)
