"""An audit log in memory, for tests. It survives closing, not the process."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

import trio

from sigil_actors.core.audit_entry import GENESIS, AuditEntry, AuditFilter, seal_entry
from sigil_actors.errors import AuditUnavailableError

ENTRIES_MAX = 1_000_000
"""Some 600 MB. A test that gets here has lost its way; anything else wants `SqliteAuditStore`."""


class MemoryAuditStore:
    """Keeps entries in a list, with `seq` and hash chain as every store does."""

    def __init__(self, *, entries_max: int = ENTRIES_MAX) -> None:
        self._entries: list[AuditEntry] = []
        self._entries_max = entries_max
        self._is_open = False

    @property
    def entries(self) -> tuple[AuditEntry, ...]:
        """All that was stored, oldest first."""
        return tuple(self._entries)

    @property
    def last_seq(self) -> int:
        """The number of the last entry; 0 while there is none."""
        return len(self._entries)

    @property
    def head(self) -> bytes:
        """The hash of the last entry; `GENESIS` while there is none."""
        return self._entries[-1].hash if self._entries else GENESIS

    async def __aenter__(self) -> Self:
        """Open it, with what it held before."""
        await trio.lowlevel.checkpoint()
        if self._is_open:
            raise AuditUnavailableError(
                "this audit store is open already", remedy="Give each user of a log its own store"
            )
        self._is_open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; what was appended stays."""
        self._is_open = False

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """Store all of them or none. `Cancelled` means none.

        Raises:
            AuditUnavailableError: it isn't open, or it would hold too many.
        """
        await trio.lowlevel.checkpoint()
        if not self._is_open:
            raise AuditUnavailableError(
                "this audit store is not open", remedy="Open it with `async with`"
            )
        if len(self._entries) + len(entries) > self._entries_max:
            raise AuditUnavailableError(
                f"this audit store in memory is full ({self._entries_max} entries)",
                remedy="Use SqliteAuditStore for more than a test",
            )
        head, seq = self.head, self.last_seq
        stored: list[AuditEntry] = []
        for entry in entries:
            seq += 1
            sealed, _ = seal_entry(head, seq, entry)
            head = sealed.hash
            stored.append(sealed)
        self._entries += stored
        return tuple(stored)

    async def query(self, query: AuditFilter) -> Sequence[AuditEntry]:
        """Return the entries that fit, in order of `seq` (or newest first)."""
        await trio.lowlevel.checkpoint()
        found: list[AuditEntry] = []
        entries = reversed(self._entries) if query.newest_first else self._entries
        for entry in entries:
            if query.limit is not None and len(found) >= query.limit:
                break
            if query.takes(entry):
                found.append(entry)
        return tuple(found)
