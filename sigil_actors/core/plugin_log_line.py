"""What one line of a plugin's output says: how grave it is, its text, what is attached to it.

Owns the forms that go-plugin hosts know: hclog's JSON, `[LEVEL] text`, a Go panic, and besides
them a Python traceback. What it returns is a stranger's text, bounded but not escaped: that is done
once, where it is shown.
"""

import json
import re
from enum import StrEnum
from typing import Final, TypeAlias

import attrs

LINE_CHARACTERS_MAX: Final = 64 * 1024
"""Of a line that are looked at: as much as go-plugin's own reader takes."""

FIELDS_MAX: Final = 32
"""Fields of one line that are kept; hclog's own lines have a handful."""

FIELD_NAME_CHARACTERS_MAX: Final = 100
FIELD_CHARACTERS_MAX: Final = 500
"""Of one field's value: a path or an error; what is longer is a dump."""

CRASH_LINES_MAX: Final = 2000
"""Lines that a panic or a traceback raises to error. A dump of some hundred goroutines is that
long; a program that only printed the word gets its own levels back."""


class LogLevel(StrEnum):
    """How grave a line is, in the words of a `PluginLog`."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


Fields: TypeAlias = tuple[tuple[str, str], ...]


@attrs.frozen(kw_only=True)
class LogLine:
    """One line, taken apart. All of it is hostile text, and a message may hold line ends."""

    level: LogLevel
    message: str
    module: str = ""
    """Which of the plugin's loggers it comes from; empty where it doesn't say."""
    fields: Fields = ()
    """What is attached to it, each as it would be read: text bare, all else as JSON."""

    @property
    def text(self) -> str:
        """The whole line for a log: `module: message: name=value …`, as hclog writes it."""
        fields = " ".join(f"{name}={_quoted(value)}" for name, value in self.fields)
        return ": ".join(part for part in (self.module, self.message, fields) if part)


class LogLines:
    """The lines of one stream, one after another: a panic and a traceback are several."""

    def __init__(self) -> None:
        self._crash_lines_left = 0
        """How many more lines belong to a panic that has begun."""
        self._traceback_lines_left = 0
        """How many more lines at most belong to a traceback that has begun."""

    def take(self, line: str) -> LogLine:
        """Return what the next line says. Never raises."""
        line = line[:LINE_CHARACTERS_MAX]
        # A line that names its level keeps it, and ends nothing: other threads go on logging while
        # one of them writes down its end.
        return _read_json(line) or _read_marked(line) or self._read_bare(line)

    def _read_bare(self, line: str) -> LogLine:
        is_grave = self._belongs_to_crash(line) or self._belongs_to_traceback(line)
        return LogLine(level=LogLevel.ERROR if is_grave else LogLevel.DEBUG, message=line)

    def _belongs_to_crash(self, line: str) -> bool:
        if line.startswith(_CRASH_BEGINS):
            self._crash_lines_left = CRASH_LINES_MAX
        if self._crash_lines_left == 0:
            return False
        self._crash_lines_left -= 1
        return True

    def _belongs_to_traceback(self, line: str) -> bool:
        if _TRACEBACK_BEGINS.match(line):
            self._traceback_lines_left = CRASH_LINES_MAX
            return True
        if self._traceback_lines_left == 0:
            return line.startswith(_TRACEBACK_JOINS)
        # The first line that isn't indented names the exception; a group ends with a rule instead.
        goes_on = line[:1] in (" ", "") and not _GROUP_ENDS.match(line)
        self._traceback_lines_left = self._traceback_lines_left - 1 if goes_on else 0
        return True


# go-plugin's host knows the first two; the third is what the interpreter writes when it aborts.
_CRASH_BEGINS: Final = ("panic: ", "fatal error: ", "Fatal Python error: ")
_TRACEBACK_BEGINS = re.compile(
    r" *(?:[|+] )?(?:Exception Group )?Traceback \(most recent call last\):"
)
_GROUP_ENDS = re.compile(r" *\+-{20,}$")
_TRACEBACK_JOINS: Final = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)

_LEVELS: Final = {
    "trace": LogLevel.DEBUG,
    "debug": LogLevel.DEBUG,
    "info": LogLevel.INFO,
    "warn": LogLevel.WARN,
    "warning": LogLevel.WARN,
    "error": LogLevel.ERROR,
    "critical": LogLevel.ERROR,
    "fatal": LogLevel.ERROR,
}
_MARKED = re.compile(r"\[([A-Z]{4,8})\]\s*(.*)", re.DOTALL)
_BARE_VALUE = re.compile(r"[^\s\"=]+")


def _read_marked(line: str) -> LogLine | None:
    """Read `[LEVEL] text`."""
    match = _MARKED.fullmatch(line)
    level = _LEVELS.get(match[1].lower()) if match else None
    return LogLine(level=level, message=match[2]) if match and level else None


def _read_json(line: str) -> LogLine | None:
    """Read a line of hclog's JSON; None for anything else, JSON of other programs included."""
    if not line.startswith("{"):
        return None
    try:
        entry = json.loads(line)
        level = entry.pop("@level", None)
        if not isinstance(level, str) or (found := _LEVELS.get(level.strip().lower())) is None:
            return None
        return LogLine(
            level=found,
            message=_plain(entry.pop("@message", "")),
            module=_plain(entry.pop("@module", ""))[:FIELD_NAME_CHARACTERS_MAX],
            fields=tuple(
                (name[:FIELD_NAME_CHARACTERS_MAX], _plain(value)[:FIELD_CHARACTERS_MAX])
                for name, value in list(entry.items())[:FIELDS_MAX]
                # The host's log has a time of its own, and where in a stranger's code a line
                # comes from helps nobody here.
                if name not in {"@timestamp", "@caller"}
            ),
        )
    except (ValueError, RecursionError):
        return None


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _quoted(value: str) -> str:
    return value if _BARE_VALUE.fullmatch(value) else json.dumps(value, ensure_ascii=False)
