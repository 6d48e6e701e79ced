"""Whether a session is over, why, and what whoever was in it is told."""

from collections.abc import Callable
from typing import Final

import trio

from sigil_actors.core.calls import InstanceEnd
from sigil_actors.errors import PluginCrashedError, PluginError

TOLD_S: Final = 2.0
"""Seconds from a lost connection until it is told without knowing more: a program that ends closes
its connection first, and its exit status and last words come within milliseconds."""


class Ending:
    """The end of one instance. Its tier tells of it; the session's calls ask.

    `crash` makes an error of what is known of how the program ended, a fresh one each time: one
    that many tasks raised would grow with each of them.
    """

    def __init__(self, plugin: str, crash: Callable[[], PluginCrashedError]) -> None:
        self._plugin = plugin
        self._crash = crash
        self._over: Callable[[], PluginError] | None = None
        """Makes what calls get that come now; None while they get in."""
        self._told = trio.Event()
        self._ended = trio.Event()
        self._end: InstanceEnd | None = None

    def check(self) -> None:
        """Raise what a call gets now, if the session is over."""
        if self._over is not None:
            raise self._over()

    def end(self) -> None:
        """Take it that the program has ended, or is as good as that. The first word counts."""
        if self._over is not None:
            return
        error = self._crash()
        self._over = self._crash
        self._end = InstanceEnd(reason=error.what, error=error, last_words=error.last_words)
        self._ended.set()
        self._told.set()

    def close(self) -> None:
        """Take it that the host is stopping it: that is no end of its own."""
        if self._over is None:
            self._over = self._stopped
            self._told.set()

    async def lost(self) -> PluginError:
        """Take it that the connection is lost; return what a call gets that was in it.

        Waits a little for the tier to say how the program ended. One that lives on without its
        connection has ended for all that its host can do with it.
        """
        if self._over is None:
            with trio.move_on_after(TOLD_S):
                await self._told.wait()
            self.end()
        assert self._over is not None  # noqa: S101 - `end` sets it
        return self._over()

    async def wait(self) -> InstanceEnd:
        """Wait until it ended though nobody asked for it."""
        await self._ended.wait()
        assert self._end is not None  # noqa: S101 - set before the event
        return self._end

    def _stopped(self) -> PluginError:
        return PluginCrashedError(
            self._plugin,
            "is being stopped, and the call with it",
            remedy="Call again once the plugin runs",
        )
