"""A plugin's log: its lines go to the host's log, escaped, and the last ones are kept."""

import logging
import time
from collections import deque

from sigil_actors.core.text import escape_text

LINE_CHARACTERS_MAX = 2000
"""Of one line; longer ones are cut."""

LAST_WORDS_MAX = 20
"""Lines kept, to be shown when the plugin crashes."""

LINES_AT_ONCE_MAX = 100
"""Lines taken out of one text; the rest is dropped."""

LINES_BURST_MAX = 500
LINES_PER_S = 100.0
"""Lines that a plugin may log at once, and then a second: the host's log is written on the loop."""

TEXT_CHARACTERS_MAX = LINES_AT_ONCE_MAX * LINE_CHARACTERS_MAX
"""Of one text that are looked at."""

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}


class PluginLog:
    """Takes the raw lines of one plugin, from any thread; never blocks."""

    def __init__(self, plugin: str) -> None:
        self._logger = logging.getLogger(f"sigil_actors.plugin.{plugin}")
        self._plugin = plugin
        self._last: deque[str] = deque(maxlen=LAST_WORDS_MAX)
        self._room = float(LINES_BURST_MAX)
        self._room_at = time.monotonic()
        self._dropped = 0

    def __call__(self, level: str, text: str) -> None:
        """Log a text; each of its lines by itself."""
        number = _LEVELS.get(level.lower(), logging.INFO)
        for line in text[:TEXT_CHARACTERS_MAX].splitlines()[:LINES_AT_ONCE_MAX] or [""]:
            if not self._has_room():
                self._dropped += 1
                continue
            safe = escape_text(line, limit=LINE_CHARACTERS_MAX)
            self._last.append(safe)
            # As an argument, so that a % in a plugin's text is just a character.
            self._logger.log(number, "%s: %s", self._plugin, safe)

    def _has_room(self) -> bool:
        """Tell whether one more line may be logged now; a plugin that floods loses lines."""
        now = time.monotonic()
        grown = self._room + (now - self._room_at) * LINES_PER_S
        self._room, self._room_at = min(grown, float(LINES_BURST_MAX)), now
        if self._room < 1:
            return False
        self._room -= 1
        if self._dropped:
            self._logger.warning("%s: %d lines were dropped", self._plugin, self._dropped)
            self._dropped = 0
        return True

    @property
    def last_words(self) -> tuple[str, ...]:
        """Return the last lines, oldest first, escaped."""
        return tuple(self._last)
