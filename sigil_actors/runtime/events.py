"""The stream of what happens to plugins: every step of every life, in order, bounded.

Publishing never waits and never fails: a reader that is too slow loses the oldest events, and the
next one that it gets says how many.
"""

from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from enum import StrEnum

import attrs
import trio

from sigil_actors.core.lifecycle import PluginState
from sigil_actors.ports.wall_clock import WallClock

EVENTS_MAX = 1024
"""Events that wait for one reader: a hundred plugins that start and stop at once make 700."""


class EventKind(StrEnum):
    """What happened."""

    LIFECYCLE = "lifecycle"
    """An instance entered `state`."""
    RESTART = "restart"
    """An instance ended by itself and is started again; `reason` says when and why."""
    QUARANTINED = "quarantined"
    """The supervisor gave up on the plugin."""
    HELD = "held"
    """A version waits to be approved, since it asks for more than the one before."""
    APPROVED = "approved"
    """Somebody approved the version that was held."""
    SWAPPED = "swapped"
    """New calls go to this generation from now on; the one before drains."""
    RELOAD_FAILED = "reload_failed"
    """A new version didn't come up; what ran before goes on."""
    HEALTH = "health"
    """What the plugin says of its health has changed."""
    ADDED = "added"
    """The plugin was found."""
    REMOVED = "removed"
    """The plugin is gone from the folder, and stopped."""


@attrs.frozen(kw_only=True)
class RuntimeEvent:
    """One thing that happened to one plugin. All text from the plugin is escaped."""

    seq: int
    """Counts up from 1 over the whole runtime."""
    at: datetime
    """When, in UTC."""
    plugin: str
    generation: int
    """Of the instance that it is about; 0 where it is about none."""
    kind: EventKind
    state: PluginState | None = None
    """What was entered, where `kind` is `LIFECYCLE`."""
    reason: str = ""
    missed: int = 0
    """How many events before this one the reader was too slow for."""


class EventStream:
    """One reader's view, an async iterator. Made by `Runtime.events`; ends with the runtime."""

    def __init__(self) -> None:
        self._waiting: deque[RuntimeEvent] = deque()
        self._missed = 0
        self._is_over = False
        self._arrived = trio.Event()

    def __aiter__(self) -> "EventStream":
        return self

    async def __anext__(self) -> RuntimeEvent:
        """Return the next event, waiting for it."""
        await trio.lowlevel.checkpoint()
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            await self._arrived.wait()
        # Nothing is awaited from here on, so that a cancel can't lose an event.
        event = self._waiting.popleft()
        missed, self._missed = self._missed, 0
        return attrs.evolve(event, missed=missed) if missed else event

    def put(self, event: RuntimeEvent) -> None:
        """Add an event; over the bound, the oldest one goes."""
        if len(self._waiting) >= EVENTS_MAX:
            self._waiting.popleft()
            self._missed += 1
        self._waiting.append(event)
        self._wake()

    def end(self) -> None:
        """Let the reader stop once it has read what waits."""
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        arrived, self._arrived = self._arrived, trio.Event()
        arrived.set()


class Events:
    """Where the runtime publishes, for any number of readers."""

    def __init__(self, clock: WallClock) -> None:
        self._clock = clock
        self._streams: dict[EventStream, None] = {}
        self._seq = 0
        self._is_over = False

    def publish(
        self,
        plugin: str,
        kind: EventKind,
        *,
        generation: int = 0,
        state: PluginState | None = None,
        reason: str = "",
    ) -> None:
        """Tell all readers. Never waits."""
        self._seq += 1
        event = RuntimeEvent(
            seq=self._seq,
            at=self._clock.now(),
            plugin=plugin,
            generation=generation,
            kind=kind,
            state=state,
            reason=reason,
        )
        for stream in self._streams:
            stream.put(event)

    @asynccontextmanager
    async def open_stream(self) -> AsyncGenerator[EventStream]:
        """Read along for as long as the block lasts, from its first event on."""
        stream = EventStream()
        if self._is_over:
            stream.end()
        self._streams[stream] = None
        try:
            yield stream
        finally:
            del self._streams[stream]
            stream.end()

    def end(self) -> None:
        """End all streams; nothing happens any more."""
        self._is_over = True
        for stream in self._streams:
            stream.end()
