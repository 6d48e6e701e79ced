"""Log records as lines of hclog's JSON, which a go-plugin host reads from standard error."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import TextIO

LINE_CHARACTERS = 60_000
"""Below the 64 KiB that hosts read as one line."""

_LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warn"), (logging.INFO, "info"))
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every record has; whatever else is there came by `extra`."""


class HclogHandler(logging.Handler):
    """Writes each record as one line; fields given by `extra` are fields of the line."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = stream or sys.stderr

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a stream that can't be written loses it, as every handler does."""
        try:
            self._stream.write(hclog_line(record) + "\n")
            self._stream.flush()
        except Exception:  # noqa: BLE001 - logging never ends the program that logs
            self.handleError(record)


def hclog_line(record: logging.LogRecord) -> str:
    """Return a record as hclog writes it; cut where no host would read it whole."""
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + logging.Formatter().formatException(record.exc_info)
    fields: dict[str, object] = {
        "@level": next((word for level, word in _LEVELS if record.levelno >= level), "debug"),
        "@message": text[: LINE_CHARACTERS // 2],
        "@module": record.name,
        # Go parses it with exactly six digits after the second.
        "@timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(
            timespec="microseconds"
        ),
    }
    more = {name: value for name, value in vars(record).items() if name not in _OWN}
    line = json.dumps({**more, **fields}, default=str)
    return line if len(line) <= LINE_CHARACTERS else json.dumps(fields)
