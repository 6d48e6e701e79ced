"""Where audit entries are kept. Opened by whoever is given it, and usable again after closing."""

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from sigil_actors.core.audit_entry import AuditEntry, AuditFilter


class AuditStore(Protocol):
    """An append-only log with a hash chain. Used by one task at a time, except `query`."""

    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            AuditUnavailableError: it can't be opened; the remedy says what to do.
        """

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; what was appended stays."""

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """Store all of them or none.

        Returns them with `seq` and `hash` once they survive what the store promises.

        Raises:
            AuditUnavailableError: none of them counts as stored. The store has to be closed and
                opened again.
        """

    async def query(self, query: AuditFilter) -> Sequence[AuditEntry]:
        """Return the entries that fit, in order of `seq` (or newest first)."""
