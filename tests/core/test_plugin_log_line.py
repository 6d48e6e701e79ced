"""A plugin's lines are as grave as they say, and what it dies with is grave without saying."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.plugin_log_line import (
    CRASH_LINES_MAX,
    FIELD_CHARACTERS_MAX,
    FIELDS_MAX,
    LINE_CHARACTERS_MAX,
    LogLevel,
    LogLine,
    LogLines,
)

GO_PANIC = """\
panic: runtime error: invalid memory address or nil pointer dereference
[signal SIGSEGV: segmentation violation code=0x1 addr=0x0 pc=0x47b0c5]

goroutine 1 [running]:
main.(*server).serve(...)
\t/src/main.go:12
main.main()
\t/src/main.go:20 +0x1d
exit status 2
"""


def levels(text: str) -> list[LogLevel]:
    lines = LogLines()
    return [lines.take(line).level for line in text.splitlines()]


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("trace", LogLevel.DEBUG),
        ("debug", LogLevel.DEBUG),
        ("info", LogLevel.INFO),
        ("warn", LogLevel.WARN),
        ("error", LogLevel.ERROR),
    ],
)
def test_hclog_and_marked_lines_keep_their_level(word: str, level: LogLevel) -> None:
    entry = {
        "@level": word,
        "@message": "it is so",
        "@module": "kv.store",
        "@timestamp": "2026-01-01T00:00:00.000000Z",
        "@caller": "main.go:12",
        "path": "/tmp/x",
        "tries": 3,
        "why": "no room",
        "of": ["a", 1],
    }
    assert LogLines().take(json.dumps(entry)) == LogLine(
        level=level,
        message="it is so",
        module="kv.store",
        fields=(("path", "/tmp/x"), ("tries", "3"), ("why", "no room"), ("of", '["a",1]')),
    )
    assert LogLines().take(f"[{word.upper()}] it is so") == LogLine(level=level, message="it is so")


def test_a_line_reads_as_hclog_writes_it() -> None:
    line = LogLine(
        level=LogLevel.INFO,
        message="said",
        module="a",
        fields=(("n", "1"), ("text", "two words"), ("fake", 'x" y=1'), ("empty", "")),
    )
    assert line.text == 'a: said: n=1 text="two words" fake="x\\" y=1" empty=""'
    assert LogLine(level=LogLevel.INFO, message="said").text == "said"


@pytest.mark.parametrize(
    "line",
    [
        "",
        "hello",
        "[NOTICE] hello",
        "[info] hello",
        "[INFO hello",
        "{",
        "{}",
        '{"level": "error", "msg": "another library\'s"}',
        '{"@level": "loud", "@message": "x"}',
        '{"@level": ["error"], "@message": "x"}',
        '{"@level": "error", "@message": "x"} and more',
        '["@level"]',
        "don't panic: it's fine",
        "{" * 50_000,
        '{"a":' * 10_000,
        '{"@level":"info","n":' + "1" * 5000 + "}",
    ],
)
def test_any_other_line_is_debug_and_stays_as_it_is(line: str) -> None:
    assert LogLines().take(line) == LogLine(level=LogLevel.DEBUG, message=line)


def test_a_go_panic_is_raised_to_error_to_its_end() -> None:
    assert set(levels(GO_PANIC)) == {LogLevel.ERROR}
    assert set(levels("fatal error: all goroutines are asleep - deadlock!\n\ngoroutine 1:")) == {
        LogLevel.ERROR
    }


def test_lines_with_a_level_keep_it_within_a_panic_and_do_not_end_it() -> None:
    said = levels('panic: x\n{"@level":"info","@message":"m"}\n[WARN] w\ngoroutine 1 [running]:')
    assert said == [LogLevel.ERROR, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR]


def test_a_program_that_only_prints_the_word_gets_its_levels_back() -> None:
    for begin in ("panic: at the disco", "Traceback (most recent call last):"):
        said = levels("\n".join([begin, *["  on and on"] * CRASH_LINES_MAX * 2]))
        assert said[CRASH_LINES_MAX - 1] is LogLevel.ERROR
        assert said[CRASH_LINES_MAX + 1] is LogLevel.DEBUG


@pytest.mark.parametrize(
    "source",
    [
        "def f():\n    raise ValueError('x')\nf()",
        "try:\n    1 / 0\nexcept ZeroDivisionError:\n    raise KeyError('y')",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('y') from e",
        "raise ExceptionGroup('g', [ValueError('a'), ExceptionGroup('h', [TypeError('b')])])",
        "import faulthandler; faulthandler.enable(); import ctypes; ctypes.string_at(0)",
    ],
)
def test_what_python_really_writes_when_it_dies_is_raised_to_error(source: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=False
    )
    lines = LogLines()
    said = [(lines.take(line).level, line) for line in run.stderr.splitlines()]
    assert said
    assert [line for level, line in said if level is not LogLevel.ERROR and line] == []


def test_after_a_traceback_lines_are_debug_again() -> None:
    traceback = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: x'
    assert levels(f"{traceback}\nand on it goes")[-1] is LogLevel.DEBUG
    group = "  + Exception Group Traceback (most recent call last):\n  | E: x\n    +" + "-" * 36
    assert levels(f"{group}\nand on it goes") == [*[LogLevel.ERROR] * 3, LogLevel.DEBUG]


def test_what_a_line_may_hold_is_bounded() -> None:
    entry = {"@level": "info", "@message": "m", **{f"{n}": "x" * 1000 for n in range(50)}}
    line = LogLines().take(json.dumps(entry))
    assert len(line.fields) == FIELDS_MAX
    assert {len(value) for _, value in line.fields} == {FIELD_CHARACTERS_MAX}
    assert len(LogLines().take("x" * 200_000).message) == LINE_CHARACTERS_MAX


words = st.sampled_from(
    [
        *("panic: ", "[INFO] ", "[ERROR]", "Traceback (most recent call last):", "  ", "|"),
        *("{", "}", '"', '"@level":', '"info"', '"@message":', ",", "[", "]", "1", "null"),
        *("\\ud800", "\ud800", "+" + "-" * 30),
    ]
)


@given(st.lists(st.one_of(st.text(), st.lists(words).map("".join))))
def test_no_text_whatever_makes_it_raise(texts: list[str]) -> None:
    lines = LogLines()
    for text in texts:
        line = lines.take(text)
        assert isinstance(line.text, str)
        assert line.level in LogLevel


@given(
    st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists)),
    st.sampled_from(["info", "warn", "error"]),
    st.text(),
)
def test_every_line_that_hclog_could_write_is_read(
    fields: dict[str, object], level: str, message: str
) -> None:
    entry = {**fields, "@level": level, "@message": message}
    line = LogLines().take(json.dumps(entry))
    assert (line.level, line.message) == (LogLevel(level), message)
