"""Lines that a plugin might log: hclog's JSON bent and broken, crashes begun and never ended."""

import json
from collections import Counter
from random import Random

from sigil_actors.core.plugin_log_line import (
    FIELD_CHARACTERS_MAX,
    FIELD_NAME_CHARACTERS_MAX,
    FIELDS_MAX,
    LINE_CHARACTERS_MAX,
    LogLevel,
    LogLine,
    LogLines,
)
from sigil_actors.core.text import escape_text
from tests.fuzz.report import FuzzReport, run_cases

NAME = "plugin_log_line"

_PIECES = (
    *("panic: ", "fatal error: ", "goroutine 1 [running]:", "[signal SIGSEGV]", "exit status 2"),
    *(
        "Traceback (most recent call last):",
        "  + Exception Group Traceback",
        "  | ",
        "    +" + "-" * 36,
    ),
    *('  File "x", line 1', "ValueError: x", "During handling of the above exception, another"),
    *("[INFO] ", "[ERROR]", "[TRACE]\t", "[WARNING] ", "[", "]", "{", "}", '"', ":", ",", "\\u"),
    *('"@level"', '"@message"', '"@module"', '"@timestamp"', '"info"', '"error"', "null", "1e999"),
    *(
        "\ud800",
        "\\ud800",
        "\0",
        "\x1b[31m",
        "\u202e",
        "\r",
        "\n",
        "\u2028",
        "9" * 5000,
        "[" * 3000,
    ),
    *('{"a":' * 1500, "=", " ", "\t", "é", "\U0001f600", "x" * 70_000),
)
_VALUES = (None, True, 0, -1, 1.5, "", "x y", 'q"', "\n", "x" * 2000, [1, [2]], {"a": {"b": 1}})
_LEVELS = ("trace", "debug", "info", "warn", "error", "INFO", " info ", "loud", "", None, 3)


def run(cases: int, seed: int) -> FuzzReport:
    """Read so many streams of lines: no exception at all, and nothing over its bounds."""
    seen = Counter[str]()

    def case(random: Random) -> None:
        lines = LogLines()
        for _ in range(random.choice((1, 1, 2, 5))):
            line = lines.take(_line(random))
            seen[line.level] += 1
            seen["lines with fields"] += bool(line.fields)
            _check(line)

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(seen))


def _check(line: LogLine) -> None:
    assert line.level in LogLevel
    assert len(line.message) <= LINE_CHARACTERS_MAX
    assert len(line.module) <= FIELD_NAME_CHARACTERS_MAX
    assert len(line.fields) <= FIELDS_MAX
    for name, value in line.fields:
        assert len(name) <= FIELD_NAME_CHARACTERS_MAX
        assert len(value) <= FIELD_CHARACTERS_MAX
    assert escape_text(line.text).isprintable()


def _line(random: Random) -> str:
    kind = random.random()
    if kind < 0.1:
        return random.randbytes(random.randrange(200)).decode(errors="backslashreplace")
    if kind < 0.5:
        return "".join(random.choices(_PIECES, k=random.choice((1, 2, 3, 8))))
    entry = {
        "@level": random.choice(_LEVELS),
        "@message": random.choice(_VALUES),
        "@module": random.choice(_VALUES),
        **{
            random.choice(_PIECES)[:200]: random.choice(_VALUES)
            for _ in range(random.choice((0, 1, 3, 60)))
        },
    }
    text = json.dumps(entry, ensure_ascii=random.random() < 0.5)
    if random.random() < 0.5:
        at = random.randrange(len(text))
        text = text[:at] + random.choice(("", random.choice(_PIECES))) + text[at + 1 :]
    return text
