"""A plugin's log: its lines go to the host's log, escaped, and the last ones are kept."""

import logging
from collections import deque

from sigil_actors.core.text import escape_text

LINE_CHARACTERS_MAX = 2000
"""Of one line; longer ones are cut."""

LAST_WORDS_MAX = 20
"""Lines kept, to be shown when the plugin crashes."""

LINES_AT_ONCE_MAX = 100
"""Lines taken out of one text; the rest is dropped."""

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

    def __call__(self, level: str, text: str) -> None:
        """Log a text; each of its lines by itself."""
        number = _LEVELS.get(level.lower(), logging.INFO)
        for line in text.splitlines()[:LINES_AT_ONCE_MAX] or [""]:
            safe = escape_text(line, limit=LINE_CHARACTERS_MAX)
            self._last.append(safe)
            # As an argument, so that a % in a plugin's text is just a character.
            self._logger.log(number, "%s: %s", self._plugin, safe)

    @property
    def last_words(self) -> tuple[str, ...]:
        """Return the last lines, oldest first, escaped."""
        return tuple(self._last)
