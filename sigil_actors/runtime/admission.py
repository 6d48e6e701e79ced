"""Who may be in an instance: leases, held by a `with` block in the caller's own task.

Cancelling a caller is ordinary structured cancellation, and "no leases left" *is* "drained".
"""

from collections.abc import Generator
from contextlib import contextmanager

import trio

from sigil_actors.errors import SigilError


class Lease:
    """A caller's place in an instance. Ends with its block, or earlier with the instance."""

    def __init__(self, gate: "Gate") -> None:
        self._gate = gate
        self._stays = False
        self._operations: set[trio.CancelScope] = set()

    @property
    def ended_by(self) -> SigilError | None:
        """Return why the caller has to leave, or None while it needn't."""
        return self._gate.ended_by or self.drained_by

    @property
    def drained_by(self) -> SigilError | None:
        """Return what a drain ends the lease by, where it does."""
        return self._gate.drained_by if self._stays else None

    def stay(self) -> None:
        """Count as one that would stay for good: a drain ends it instead of waiting for it.

        Raises:
            SigilError: what `Gate.drain` or `Gate.end` was given already.
        """
        self._stays = True
        if self.ended_by is not None:
            raise self.ended_by.with_traceback(None)

    @contextmanager
    def operation(self) -> Generator[None]:
        """Run the block inside the instance: it is interrupted at once when the instance ends.

        Only the runtime's own awaits stand in such a block, never a caller's code.

        Raises:
            SigilError: what `Gate.end` was given, or `Gate.drain` for one that stays; it ended
                before or during the block.
        """
        if self.ended_by is not None:
            raise self.ended_by.with_traceback(None)
        scope = trio.CancelScope()
        self._operations.add(scope)
        try:
            with scope:
                yield
        finally:
            self._operations.discard(scope)
        if scope.cancelled_caught and self.ended_by is not None:
            raise self.ended_by.with_traceback(None)

    def interrupt(self) -> None:
        """Interrupt what the caller is doing in the instance."""
        for scope in self._operations:
            scope.cancel()


class Gate:
    """The door of one instance."""

    def __init__(self) -> None:
        # A dict for its order: what happens to leases happens in the order in which they came.
        self._leases: dict[Lease, None] = {}
        self._idle = trio.Event()
        self._idle.set()
        self.ended_by: SigilError | None = None
        self.drained_by: SigilError | None = None

    @property
    def in_flight(self) -> int:
        """How many callers are inside."""
        return len(self._leases)

    @property
    def finishing(self) -> int:
        """How many of them needn't leave yet."""
        return sum(lease.ended_by is None for lease in self._leases)

    @contextmanager
    def lease(self) -> Generator[Lease]:
        """Let a caller in for as long as the block lasts; whether it may is the plugin's to say."""
        lease = Lease(self)
        self._leases[lease] = None
        if self._idle.is_set():
            self._idle = trio.Event()
        try:
            yield lease
        finally:
            del self._leases[lease]
            if not self._leases:
                self._idle.set()

    def end(self, error: SigilError) -> None:
        """End the instance for all who are inside; they raise `error` where they wait for it."""
        if self.ended_by is None:
            self.ended_by = error
        for lease in tuple(self._leases):
            lease.interrupt()

    def drain(self, error: SigilError) -> None:
        """End it for those who would stay for good, as `end` does; the others may finish."""
        self.drained_by = error
        for lease in tuple(self._leases):
            if lease.drained_by is not None:
                lease.interrupt()

    async def wait_idle(self) -> None:
        """Wait until nobody is inside."""
        while self._leases:
            await self._idle.wait()
        await trio.lowlevel.checkpoint()
