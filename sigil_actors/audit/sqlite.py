"""The audit store on disk: a SQLite database in a folder, one commit for each batch.

Owns the waiting: every touch of the disk happens in a worker thread, and nobody waits for a hung
one longer than `timeout_s`. What is done there is `segment_writer.py` and `segment_reader.py`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.audit.segment_reader import query_segment
from sigil_actors.audit.segment_writer import SegmentWriter
from sigil_actors.core.audit_entry import GENESIS, AuditEntry, AuditFilter
from sigil_actors.errors import AuditUnavailableError

Result = TypeVar("Result")

TIMEOUT_S = 5.0
"""A commit takes 0.2 ms to some 50 ms on a loaded disk. Whoever waits 5 s is refused instead."""

# The share of the time-out that SQLite waits for another program's lock, so that the error which
# names the lock comes before the one that knows nothing.
_BUSY_SHARE = 0.8

QUERIES_MAX = 4  # at once and a store; each takes a thread and a connection, the others wait


class SqliteAuditStore:
    """An append-only log in the folder `path`, which is made if it isn't there.

    What `append` returned survives `kill -9` and a power cut. One store at a time writes a folder;
    `query` works from any number of stores in any process, open or not.

    After any error of `append` the store takes nothing more until it is closed and opened again,
    which reads from the disk what was stored. A cancelled `append` is never half done: a cancel
    that comes before the commit began means that nothing was stored, one that comes later waits
    for the commit (at most `timeout_s`), which then counts. A commit that hangs longer goes on in
    its thread; until it returns, the folder can't be opened again, so nothing else is written.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        timeout_s: float = TIMEOUT_S,
        connection_factory: type[sqlite3.Connection] = sqlite3.Connection,
    ) -> None:
        """Make a store for the folder `path`; nothing is touched before it is opened.

        `timeout_s` is how long anything waits for a locked or hung disk. `connection_factory` is
        there for tests that let SQLite fail.
        """
        self._folder = Path(path)
        self._timeout_s = timeout_s
        self._connection_factory = connection_factory
        self._writer: SegmentWriter | None = None
        self._broken = ""
        # One token: a thread that hangs keeps it, so no more than one ever does.
        self._write_limiter = trio.CapacityLimiter(1)
        self._query_limiter = trio.CapacityLimiter(QUERIES_MAX)

    @property
    def last_seq(self) -> int:
        """The number of the last entry stored; 0 while there is none, or while closed."""
        return self._writer.last_seq if self._writer else 0

    @property
    def head(self) -> bytes:
        """The hash of the last entry stored; `GENESIS` while there is none, or while closed."""
        return self._writer.head if self._writer else GENESIS

    async def __aenter__(self) -> Self:
        """Take the folder's lock, open the database, read the head.

        Raises:
            AuditUnavailableError: any of it failed; the remedy says what to do.
        """
        if self._writer is not None:
            raise AuditUnavailableError(
                f"the audit store {self._folder} is open already",
                remedy="Give each user of a log its own store",
            )
        await trio.lowlevel.checkpoint_if_cancelled()
        writer = SegmentWriter(
            self._folder,
            busy_timeout_s=self._timeout_s * _BUSY_SHARE,
            connection_factory=self._connection_factory,
        )
        try:
            await self._in_thread(writer.open, "opening")
        except BaseException:
            writer.close_when_idle()
            raise
        self._writer, self._broken = writer, ""
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; what was appended stays. A commit that hangs isn't waited for again."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        if self._write_limiter.borrowed_tokens:
            writer.close_when_idle()
            return
        try:
            await self._in_thread(writer.close_when_idle, "closing")
        except AuditUnavailableError:
            # Everything acknowledged is on the disk already; the thread closes when it can.
            return

    async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
        """Store all of `entries` in one commit; return them with `seq` and `hash`.

        Raises:
            AuditUnavailableError: they don't count as stored. Close the store and open it again; a
                query then tells whether a commit that had begun went through after all.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        writer = self._writer
        if writer is None:
            raise AuditUnavailableError(
                f"the audit store {self._folder} is not open", remedy="Open it with `async with`"
            )
        if self._broken:
            raise AuditUnavailableError(
                f"the audit store {self._folder} takes nothing since an error: {self._broken}",
                remedy="Close it and open it again",
            )
        if not entries:
            return ()
        # Said first and taken back at the end, so that nothing that gets us out of here is
        # forgotten.
        self._broken = "a commit is under way or was left behind"
        try:
            stored = await self._in_thread(lambda: writer.append(entries), "a commit")
        except AuditUnavailableError as error:
            self._broken = error.what
            raise
        self._broken = ""
        return stored

    async def query(self, query: AuditFilter) -> Sequence[AuditEntry]:
        """Return the entries that fit, in order of `seq` (or newest first).

        Waits at most `timeout_s` for another program's lock; a cancel ends it at once.

        Raises:
            AuditUnavailableError: there is no log, or it can't be read.
            AuditIntegrityError: an entry that fits isn't what was written.
        """
        return await run_in_worker(
            lambda: query_segment(
                self._folder,
                query,
                busy_timeout_s=self._timeout_s * _BUSY_SHARE,
                check_wanted=trio.from_thread.check_cancelled,
            ),
            limiter=self._query_limiter,
        )

    async def _in_thread(self, work: Callable[[], Result], what: str) -> Result:
        # Shielded, since a commit can't be cancelled and a caller that left it behind wouldn't
        # know what is stored. Bounded, since a disk may hang for ever; the thread is left to
        # itself then.
        with trio.move_on_after(self._timeout_s, shield=True):
            return await run_in_worker(work, limiter=self._write_limiter)
        raise AuditUnavailableError(
            f"{what} of the audit log {self._folder} didn't return within {self._timeout_s:g} s",
            remedy="Look for a disk that hangs or another program that holds the database; then "
            "open the store again",
        )
