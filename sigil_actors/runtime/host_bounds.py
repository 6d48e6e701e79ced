"""The bounds on what one plugin asks of its host: so many at once, so many a second."""

import trio

from sigil_actors.runtime.settings import RuntimeSettings


class TokenBucket:
    """Lets so many through a second, and as many at once after a pause."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._level = per_s
        self._filled_at = -1.0
        self._turn = trio.Lock()

    async def take(self) -> None:
        """Wait until one more may pass; in order."""
        async with self._turn:
            now = trio.current_time()
            if self._filled_at >= 0:
                grown = self._level + (now - self._filled_at) * self._per_s
                self._level = min(self._per_s, grown)
            self._filled_at = now
            if self._level < 1:
                await trio.sleep((1 - self._level) / self._per_s)
                now = trio.current_time()
                self._level += (now - self._filled_at) * self._per_s
                self._filled_at = now
            self._level -= 1


class HostBounds:
    """The bounds on one plugin's host calls, over all of its instances."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.in_flight = trio.Semaphore(settings.host_calls_in_flight)
        self.rate = TokenBucket(settings.host_calls_per_s)
