"""An audit store that fails on purpose: raises, dawdles or hangs where a test says so."""

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
        slow_s: float = 0.0,
        stores_before_failing: bool = False,
    ) -> None:
        """Say which appends and openings raise, which appends hang, and how long each takes.

        With `stores_before_failing` a failing append has stored its entries all the same, as a
        commit can whose answer got lost. A hanging append ends when it is cancelled or when
        `release` is called, and then goes on as if nothing had been.
        """
        self.appends = 0
        self.openings = 0
        self.is_open = False
        self.hanging = trio.Event()
        """Set once an append hangs."""
        self._store = store
        self._fail_appends = frozenset(fail_appends)
        self._fail_openings = frozenset(fail_openings)
        self._hang_appends = frozenset(hang_appends)
        self._slow_s = slow_s
        self._stores_before_failing = stores_before_failing
        self._released = trio.Event()
        self._is_broken = False

    def release(self) -> None:
        """Let hanging appends go on, the present one and those to come."""
        self._released.set()

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
        if number in self._fail_appends:
            self._is_broken = True
            if self._stores_before_failing:
                await self._store.append(entries)
            raise AuditUnavailableError(
                f"append {number} fails, as the test asked", remedy="Close it and open it again"
            )
        return await self._store.append(entries)

    async def query(self, query: AuditFilter) -> Sequence[AuditEntry]:
        """Query the wrapped store."""
        return await self._store.query(query)
