"""An audit store that fails on purpose: raises, dawdles, hangs, is full or tears what it writes."""

from collections.abc import Collection, Sequence
from types import TracebackType
from typing import Self

import trio

from sigil_actors.core.audit_entry import AuditEntry, AuditFilter
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.ports.audit_store import AuditStore


class FaultyAuditStore:
    """Wraps `store`. Appends and openings are counted from 1 and go on counting over a reopening.

    As the port asks, nothing is taken after a failed append until the store was closed and opened
    again; `appends`, `openings` and `is_open` tell a test what happened.
    """

    def __init__(
        self,
        store: AuditStore,
        *,
        fail_appends: Collection[int] = (),
        fail_openings: Collection[int] = (),
        hang_appends: Collection[int] = (),
        tear_appends: Collection[int] = (),
        full_at: int | None = None,
        slow_s: float = 0.0,
        stores_before_failing: bool = False,
    ) -> None:
        """Say what goes wrong when.

        Args:
            store: Where entries go.
            fail_appends: Appends that raise.
            fail_openings: Openings that raise.
            hang_appends: Appends that hang until they are cancelled, or until `release` is called
                and they go on as if nothing had been.
            tear_appends: Appends that raise after the first half of their entries was stored, which
                no store should do and a broken one does.
            full_at: The append at which the disk is full: it and all later ones raise what a full
                disk gives, over any number of reopenings, until `free` is called.
            slow_s: How long each append takes.
            stores_before_failing: Whether an append of `fail_appends` has stored its entries all
                the same, as a commit can whose answer got lost.
        """
        self.appends = 0
        self.openings = 0
        self.is_open = False
        self.hanging = trio.Event()
        """Set once an append hangs."""
        self.is_full = False
        """Whether the disk is full."""
        self._store = store
        self._fail_appends = frozenset(fail_appends)
        self._fail_openings = frozenset(fail_openings)
        self._hang_appends = frozenset(hang_appends)
        self._tear_appends = frozenset(tear_appends)
        self._full_at = full_at
        self._slow_s = slow_s
        self._stores_before_failing = stores_before_failing
        self._released = trio.Event()
        self._is_broken = False

    def release(self) -> None:
        """Let hanging appends go on, the present one and those to come."""
        self._released.set()

    def fill(self) -> None:
        """Have the disk be full from now on."""
        self.is_full = True

    def free(self) -> None:
        """Make room on the disk; the store takes entries again once it was reopened."""
        self.is_full = False

    async def __aenter__(self) -> Self:
        """Open the wrapped store, or fail."""
        self.openings += 1
        if self.openings in self._fail_openings:
            await trio.lowlevel.checkpoint()
            raise AuditUnavailableError(
                f"opening {self.openings} fails, as the test asked", remedy="Open it again"
            )
        await self._store.__aenter__()
        self.is_open, self._is_broken = True, False
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the wrapped store."""
        self.is_open = False
        await self._store.__aexit__(exc_type, exc, traceback)

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """Append to the wrapped store, or fail."""
        self.appends += 1
        number = self.appends
        if self._is_broken:
            raise AuditUnavailableError(
                "the store takes nothing since an error", remedy="Close it and open it again"
            )
        await trio.sleep(self._slow_s)
        if number in self._hang_appends:
            self.hanging.set()
            await self._released.wait()
        if self._full_at is not None and number >= self._full_at:
            self._full_at = None  # once: after `free` it stays free
            self.fill()
        if self.is_full:
            self._is_broken = True
            raise _disk_full()
        if number in self._fail_appends:
            self._is_broken = True
            if self._stores_before_failing:
                await self._store.append(entries)
            raise AuditUnavailableError(
                f"append {number} fails, as the test asked", remedy="Close it and open it again"
            )
        if number in self._tear_appends:
            self._is_broken = True
            await self._store.append(entries[: len(entries) // 2])
            raise AuditUnavailableError(
                f"append {number} was torn, as the test asked", remedy="Close it and open it again"
            )
        return await self._store.append(entries)

    async def query(self, query: AuditFilter) -> Sequence[AuditEntry]:
        """Query the wrapped store."""
        return await self._store.query(query)


def _disk_full() -> AuditUnavailableError:
    # The words of the real store, so that what an application makes of them can be tested.
    return AuditUnavailableError(
        "the audit log audit has no room: the disk is full (database or disk is full)",
        remedy="Make room on that disk. Close the store and open it again once that is mended",
    )
