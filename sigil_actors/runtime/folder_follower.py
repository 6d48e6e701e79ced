"""Takes up what changes in the plugins folder, for as long as the runtime runs.

When a change has settled is the watch's to say, what follows from it the rescan's.
"""

import logging

import trio

from sigil_actors.core.text import escape_text
from sigil_actors.runtime.folder_watch import FolderWatch
from sigil_actors.runtime.rescan import Rescan, RescanWord

logger = logging.getLogger(__name__)

RESCANS_MAX = 16
"""Changes that are taken up at once; more wait for one of them."""

CHANGED_CHARACTERS_MAX = 500
"""Of the names of changed folders in a line of the log."""


class FolderFollower:
    """Has a rescan follow each change that a watch reports."""

    def __init__(self, watch: FolderWatch, rescan: Rescan) -> None:
        self._watch = watch
        self._rescan = rescan
        self._at_once = trio.Semaphore(RESCANS_MAX)

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Follow until cancelled; the watch has had its first look."""
        # Beside one another: a plugin that takes its time to drain holds up no other one.
        async with trio.open_nursery() as nursery:
            while True:
                changed = await self._watch.wait_changed()
                names = escape_text(", ".join(sorted(changed)), limit=CHANGED_CHARACTERS_MAX)
                logger.info("the plugins folder has changed: %s", names)
                await self._at_once.acquire()
                nursery.start_soon(self._take_up, changed)

    @trio.lowlevel.enable_ki_protection
    async def _take_up(self, changed: frozenset[str]) -> None:
        try:
            for result in await self._rescan.run(only_hot=True, changed=changed):
                if result.what is not RescanWord.UNCHANGED:
                    why = f": {result.reason}" if result.reason else ""
                    logger.info("plugin %s: %s%s", result.plugin, result.what, why)
        finally:
            self._at_once.release()
