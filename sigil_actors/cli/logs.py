"""The host's log on standard error: a line each, for people or as JSON."""

import json
import logging
import os
import queue
import select
import sys
import threading
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime

from sigil_actors.cli.output import is_coloured, one_line

_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
"""SGR parameters; see ECMA-48, 8.3.117."""

_PLUGIN, _GENERATION = "plugin %s", "generation %d"
"""How the text of a line begins that is about one."""

PLUGIN_LOGGER = "sigil_actors.plugin."
"""What the name of a logger begins with that is a plugin's own."""

LINES_WAITING_MAX = 4096
"""Lines that wait for a reader of the log that has stalled: minutes of a busy supervisor's, and
some MiB at most."""

FLUSH_S = 2.0
"""How long the end of a supervisor waits for the reader of its log."""


class PersonFormatter(logging.Formatter):
    """Time in UTC, as everywhere, level, message; a traceback of our own follows on its lines."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        at = datetime.fromtimestamp(record.created, UTC)
        level = f"{record.levelname.lower():<7}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        line = f"{at:%H:%M:%S}Z {level} {one_line(record.getMessage())}"
        if record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
            line += "\n" + "\n".join(one_line(each) for each in told.split("\n"))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a record, with `plugin` and `generation` where it is about one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        fields: dict[str, str | int] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_about(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(fields)


def _about(record: logging.LogRecord) -> dict[str, str | int]:
    """Return which plugin, and which generation of it, a record is about.

    Whoever logged it has given them as `extra`, or its text has the form that all of ours about a
    plugin have, or it is of the plugin's own log.
    """
    args = record.args if isinstance(record.args, tuple) else ()
    plugin, generation = getattr(record, "plugin", None), getattr(record, "generation", None)
    if record.name.startswith(PLUGIN_LOGGER):
        plugin = record.name.removeprefix(PLUGIN_LOGGER)
    elif str(record.msg).startswith(f"{_PLUGIN}, {_GENERATION}") and len(args) > 1:
        plugin, generation, *_ = args
    elif str(record.msg).startswith(_PLUGIN) and args:
        plugin = args[0]
    return {
        **({"plugin": plugin} if isinstance(plugin, str) else {}),
        **({"generation": generation} if isinstance(generation, int) else {}),
    }


class BackgroundHandler(logging.Handler):
    """Writes lines from a thread of its own, so that a reader that stalls blocks nobody else.

    What doesn't fit in the queue is counted instead, and the count is written once there is room.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[str | None] = queue.Queue(LINES_WAITING_MAX)
        self._lost = 0
        # A daemon, since it may be stuck in a write for as long as the reader likes.
        self._thread = threading.Thread(target=self._write_all, name="log writer", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Have the record's line written soon. Never waits."""
        try:
            self._put(self.format(record))
        except Exception:  # noqa: BLE001 - as each of logging's handlers
            self.handleError(record)

    def close(self) -> None:
        """Wait until what was logged is written, for a bounded time."""
        try:
            self._lines.put(None, timeout=FLUSH_S)
        except queue.Full:
            pass
        else:
            self._thread.join(FLUSH_S)
        super().close()

    def _put(self, line: str) -> None:
        if self._lost:
            told = f"{self._lost} lines of the log are lost: nobody took them"
            lost = logging.LogRecord(__name__, logging.ERROR, "", 0, told, None, None)
            try:
                self._lines.put_nowait(self.format(lost))
            except queue.Full:
                self._lost += 1
                return
            self._lost = 0
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def _write_all(self) -> None:
        while (line := self._lines.get()) is not None:
            content = f"{line}\n".encode(errors="backslashreplace")
            try:
                while content:
                    content = content[self._write(content) :]
            except OSError:
                # Nobody reads it any more. There is no other place to say so.
                continue

    def _write(self, content: bytes) -> int:
        try:
            return os.write(self._descriptor, content)
        except BlockingIOError:
            # Whoever shares the stream has made it so that a write doesn't wait.
            select.select((), (self._descriptor,), ())
            return 0


@contextmanager
def logging_in_background(*, as_json: bool, level: int) -> Generator[None]:
    """Send the log of this package to standard error from a thread, for as long as the block."""
    handler = BackgroundHandler(sys.stderr.fileno())
    _add(handler, as_json=as_json, level=level)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
        handler.close()


def set_up_logging(*, as_json: bool, level: int) -> None:
    """Send the log of this package to standard error."""
    _add(logging.StreamHandler(sys.stderr), as_json=as_json, level=level)


def _add(handler: logging.Handler, *, as_json: bool, level: int) -> None:
    handler.setFormatter(
        JsonFormatter() if as_json else PersonFormatter(coloured=is_coloured(sys.stderr))
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("sigil_actors").setLevel(level)
