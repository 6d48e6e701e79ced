"""Everything that a plugin writes, on its way into its log; and the last of it, for an obituary.

Reads for the plugin's whole life, also while it is stopped: a plugin whose pipe is full can't end.
"""

from collections import deque
from typing import Protocol

import attrs
import trio

from sigil_actors.core.handshake import LINE_BYTES_MAX
from sigil_actors.core.plugin_log_line import LogLines
from sigil_actors.core.text import escape_text
from sigil_actors.ports.tier import PluginLog

LAST_WORDS_MAX = 20
"""Lines that are kept."""

LAST_WORD_CHARACTERS_MAX = 500
"""Of a line that is kept: 20 of them are a screen."""

PIECE_BYTES = 64 * 1024
"""What a pipe holds, so that one read empties it."""

ROUND_S = 0.1
ROUND_BYTES_MAX = 1 << 20
"""Bytes that are read in a round: 10 MiB a second. A plugin that writes faster waits in between, so
that it can't keep the host busy with reading."""

ROUND_LINES_MAX = 100
"""Lines that are looked at in a round: ten times as many as a plugin's log takes in the long run,
and some 10 ms of work. What is more is counted and dropped, but for the last words."""


class Source(Protocol):
    """What can be read from: a stream, or what is left of one after the handshake."""

    async def receive_some(self, most: int, /) -> bytes | bytearray:
        """Return some bytes; empty at the end."""


class Lines:
    """Cuts what comes in pieces into lines."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def take(self, piece: bytes | bytearray) -> list[bytes]:
        """Return the lines that are whole now."""
        self._rest += piece
        *lines, rest = bytes(self._rest).split(b"\n")
        while len(rest) > LINE_BYTES_MAX:
            lines.append(rest[:LINE_BYTES_MAX])
            rest = rest[LINE_BYTES_MAX:]
        self._rest = bytearray(rest)
        return lines

    def end(self) -> list[bytes]:
        """Return the last line, if it had no end."""
        rest, self._rest = bytes(self._rest), bytearray()
        return [rest] if rest else []


@attrs.define
class _Round:
    """What was read lately."""

    began: float
    bytes_read: int = 0
    lines: int = 0
    dropped: int = 0


class OutputLog:
    """Where all that a plugin writes comes together."""

    def __init__(self, log: PluginLog) -> None:
        self._log = log
        self._last: deque[bytes] = deque(maxlen=LAST_WORDS_MAX)
        self._readers: set[object] = set()
        self._all_read = trio.Event()

    @property
    def last_words(self) -> tuple[str, ...]:
        """Return the last lines, oldest first, escaped."""
        classify = LogLines()
        return tuple(
            escape_text(classify.take(_text(line)).text, limit=LAST_WORD_CHARACTERS_MAX)
            for line in self._last
        )

    async def wait_all_read(self) -> None:
        """Wait until the end of all that is read now."""
        while self._readers:
            await self._all_read.wait()

    async def read(self, source: Source) -> None:
        """Log what comes out of it, to its end."""
        lines, classify = Lines(), LogLines()
        current = _Round(trio.current_time())
        reader = object()
        self._readers.add(reader)
        try:
            while piece := await _piece_of(source):
                self._take(lines.take(piece), classify, current)
                current.bytes_read += len(piece)
                current = await self._next_round(current)
            self._take(lines.end(), classify, current)
        finally:
            self._tell_dropped(current)
            self._readers.remove(reader)
            if not self._readers:
                self._all_read.set()
                self._all_read = trio.Event()

    def _take(self, lines: list[bytes], classify: LogLines, current: _Round) -> None:
        self._last.extend(line for line in lines[-LAST_WORDS_MAX:] if line.strip())
        room = max(ROUND_LINES_MAX - current.lines, 0)
        for line in lines[:room]:
            said = classify.take(_text(line))
            self._log(said.level, said.text)
        current.lines += len(lines)
        current.dropped += max(len(lines) - room, 0)

    async def _next_round(self, current: _Round) -> _Round:
        left_s = current.began + ROUND_S - trio.current_time()
        if left_s > 0 and current.bytes_read < ROUND_BYTES_MAX:
            return current
        if left_s > 0:
            await trio.sleep(left_s)
        self._tell_dropped(current)
        return _Round(trio.current_time())

    def _tell_dropped(self, current: _Round) -> None:
        if current.dropped:
            self._log("warn", f"{current.dropped} lines came too fast, and were dropped")
            current.dropped = 0


async def _piece_of(source: Source) -> bytes | bytearray:
    try:
        return await source.receive_some(PIECE_BYTES)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        # Its other end is gone in a way that a pipe's seldom is: there is nothing more to read.
        return b""


def _text(line: bytes) -> str:
    return line.removesuffix(b"\r").decode(errors="backslashreplace")
