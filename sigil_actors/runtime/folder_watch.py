"""Watches a plugins folder by looking again and again, and tells which sub-folders have changed.

By looking, and not by inotify: that sees nothing of what another machine writes to a network file
system, nor what is mounted or renamed above a folder; it needs a watch for each folder and has a
bound on them for the whole user, and loses events when its queue is full. A look misses nothing
that is still there, and costs what its pauses let it.

Owns when a change has settled. What is reported is a reason to look closer, and no proof: some file
systems change an inode's number by themselves. Whoever acts on it compares the snapshots' hashes.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.text import escape_text
from sigil_actors.runtime.folder_fingerprint import fingerprints

SETTLE_S_MAX: Final = 30.0
"""After so long a folder that doesn't come to rest is reported all the same."""

PAUSE_PER_LOOK: Final = 20.0
"""A pause lasts so many times what the look before it took: never more than 5 % of a processor."""

Look: TypeAlias = Callable[[], Awaitable[Mapping[str, bytes]]]
"""Returns a fingerprint of each sub-folder, by its name.

Raises:
    OSError: the folder can't be looked into, which says nothing of what it holds.
"""


class FolderWatch:
    """The watch of one folder, used by one task.

    Call `look` before the discovery that the first report is to follow on, so that no change falls
    between the two; without it everything that is there counts as added.
    """

    def __init__(
        self,
        folder: Path,
        *,
        interval_s: float,
        files_max: int,
        look: Look | None = None,
    ) -> None:
        """Make a watch; nothing is looked at yet.

        Args:
            folder: The plugins folder. It may be missing, and come and go.
            interval_s: Seconds between two looks, at least. A change is reported after two to
                three of them.
            files_max: Entries of one sub-folder that are looked at; one with more is no plugin's,
                and counts as the same until it has less.
            look: What looks instead of the file system.
        """
        self._folder = folder
        self._files_max = files_max
        self._look = self._look_at_folder if look is None else look
        self._limiter = trio.CapacityLimiter(1)
        self._interval_s = interval_s
        self._pause_s = interval_s
        self._reported: dict[str, bytes] = {}
        """What every sub-folder was like when it was last reported."""
        self._last: Mapping[str, bytes] | None = None
        """What the last look saw; None where it failed, or there was none."""
        self._restless_since: Mapping[str, float] = {}
        """When a sub-folder was first seen to differ from what was reported."""
        self._problem = ""

    @property
    def problem(self) -> str:
        """Return why the last look failed, safe to show; empty where it didn't.

        What was there before counts as unchanged until a look succeeds.
        """
        return self._problem

    async def look(self) -> None:
        """Take what is there now for known: only what changes from now on is reported.

        Where the folder can't be looked into nothing is known, so all is reported once it can.
        """
        seen = await self._look_timed()
        self._last = seen
        self._reported = {} if seen is None else dict(seen)
        self._restless_since = {}

    async def wait_changed(self) -> frozenset[str]:
        """Wait until some sub-folders have changed and come to rest; return their names.

        A sub-folder has changed when its fingerprint isn't the one last reported, when it is new,
        or gone; it has come to rest when two looks in a row saw the same, or after `SETTLE_S_MAX`.
        On cancellation no change is lost: the next call reports it.
        """
        while True:
            await trio.sleep(self._pause_s)
            seen = await self._look_timed()
            changed = frozenset() if seen is None else self._settled(seen)
            self._last = seen
            if changed:
                return changed

    def _settled(self, seen: Mapping[str, bytes]) -> frozenset[str]:
        now = trio.current_time()
        restless: dict[str, float] = {}
        settled: set[str] = set()
        for name in {*self._reported, *seen}:
            fingerprint = seen.get(name)
            if fingerprint == self._reported.get(name):
                continue
            since = self._restless_since.get(name, now)
            is_at_rest = self._last is not None and fingerprint == self._last.get(name)
            if is_at_rest or now - since >= SETTLE_S_MAX:
                settled.add(name)
            else:
                restless[name] = since
        self._restless_since = restless
        # Of the restless ones stays what was reported last, since they are still to come.
        kept = {name: one for name, one in self._reported.items() if name not in settled}
        self._reported = kept | {name: seen[name] for name in settled if name in seen}
        return frozenset(settled)

    async def _look_timed(self) -> Mapping[str, bytes] | None:
        started = trio.current_time()
        try:
            seen = await self._look()
        except OSError as error:
            self._problem = escape_text(error.strerror or str(error))
            seen = None
        else:
            self._problem = ""
        took_s = trio.current_time() - started
        self._pause_s = max(self._interval_s, PAUSE_PER_LOOK * took_s)
        return seen

    async def _look_at_folder(self) -> Mapping[str, bytes]:
        # Left to itself when cancelled: it only reads, and a file system that hangs must not keep
        # the runtime from stopping.
        return await run_in_worker(
            lambda: fingerprints(self._folder, files_max=self._files_max), limiter=self._limiter
        )
