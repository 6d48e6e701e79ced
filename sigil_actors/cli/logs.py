"""The host's log on standard error: a line each, for people or as JSON."""

import json
import logging
import sys
import traceback
from datetime import UTC, datetime

from sigil_actors.cli.output import one_line

_COLOURS = {
    logging.DEBUG: "2",
    logging.INFO: "32",
    logging.WARNING: "33",
    logging.ERROR: "31",
    logging.CRITICAL: "1;31",
}
"""SGR parameters; see ECMA-48, 8.3.117."""


class PersonFormatter(logging.Formatter):
    """Time, level, message; a traceback of our own follows on its lines."""

    def __init__(self, *, coloured: bool) -> None:
        self._coloured = coloured
        super().__init__()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        at = datetime.fromtimestamp(record.created).astimezone()
        level = f"{record.levelname.lower():<7}"
        if self._coloured:
            level = f"\x1b[{_COLOURS.get(record.levelno, '0')}m{level}\x1b[0m"
        line = f"{at:%H:%M:%S} {level} {one_line(record.getMessage())}"
        if record.exc_info and record.exc_info[1] is not None:
            told = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
            line += "\n" + "\n".join(one_line(each) for each in told.split("\n"))
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            fields["traceback"] = "".join(traceback.format_exception(record.exc_info[1]))
        return json.dumps(fields)


def set_up_logging(*, as_json: bool, level: int) -> None:
    """Send the log of this package to standard error."""
    from sigil_actors.cli.output import is_coloured

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter() if as_json else PersonFormatter(coloured=is_coloured(sys.stderr))
    )
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("sigil_actors").setLevel(level)
