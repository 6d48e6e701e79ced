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
        self._operations: set[trio.CancelScope] = set()

    @property
    def ended_by(self) -> SigilError | None:
        """Return why the instance ended under the caller, or None while it lives."""
        return self._gate.ended_by

    @contextmanager
    def operation(self) -> Generator[None]:
        """Run the block inside the instance: it is interrupted at once when the instance ends.

        Only the runtime's own awaits stand in such a block, never a caller's code.

        Raises:
            SigilError: what `Gate.end` was given; the instance ended before or during the block.
        """
        if self._gate.ended_by is not None:
            raise self._gate.ended_by
        scope = trio.CancelScope()
        self._operations.add(scope)
        try:
            with scope:
                yield
        finally:
            self._operations.discard(scope)
        if scope.cancelled_caught and self._gate.ended_by is not None:
            raise self._gate.ended_by

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

    @property
    def in_flight(self) -> int:
        """How many callers are inside."""
        return len(self._leases)

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

    async def wait_idle(self) -> None:
        """Wait until nobody is inside."""
        while self._leases:
            await self._idle.wait()
        await trio.lowlevel.checkpoint()
