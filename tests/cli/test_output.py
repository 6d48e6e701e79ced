"""What is shown to people: nothing of a stranger's text can steer a terminal."""

import contextlib
import io
import json
import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.cli import logs
from sigil_actors.cli.logs import JsonFormatter, PersonFormatter
from sigil_actors.cli.output import console, one_line, show_on, terminal_text
from sigil_actors.cli.plugin_remarks import remarks_on
from sigil_actors.cli.tables import audit_table, has_more, new_table, plugins_table
from sigil_actors.core.audit_entry import AuditEntry
from tests.cli.command import EXAMPLES, json_lines, on_terminal, sigil

HOSTILE = "a\x1b[31mred\r\x07\u202eb\tc"


@given(st.text())
def test_text_for_a_terminal_holds_only_what_is_visible_and_lines_and_tabs(text: str) -> None:
    shown = terminal_text(text)
    assert all(character.isprintable() or character in "\n\t" for character in shown)
    assert shown.count("\n") == text.count("\n")
    assert terminal_text(shown) == shown


def test_text_for_a_terminal_keeps_what_is_harmless() -> None:
    harmless = "C:\\new\n\tgrün 日本\n\n"
    assert terminal_text(harmless) == harmless
    assert terminal_text(HOSTILE) == "a\\x1b[31mred\\x0d\\x07\\u202eb\tc"


@given(st.text())
def test_one_line_is_one_line(text: str) -> None:
    assert len(one_line(text).splitlines()) <= 1


def record(message: str) -> logging.LogRecord:
    return logging.LogRecord("sigil_actors.x", logging.WARNING, "", 0, message, None, None)


def test_a_log_line_cant_forge_a_second_one() -> None:
    line = PersonFormatter(coloured=False).format(record("a\n12:00:00 error forged\x1b[2J"))
    assert "\n" not in line
    assert "\x1b" not in line
    assert "\\n12:00:00 error forged\\x1b[2J" in line


def test_a_log_line_in_json_is_one_object() -> None:
    line = JsonFormatter().format(record("a\nb"))
    assert "\n" not in line
    fields = json.loads(line)
    assert (fields["level"], fields["message"]) == ("warning", "a\nb")


def test_a_json_line_says_which_plugin_and_generation_it_is_about() -> None:
    def about(name: str, text: str, *args: object, **extra: object) -> list[object]:
        made = logging.LogRecord(name, logging.INFO, "", 0, text, args, None)
        vars(made).update(extra)
        line = json.loads(JsonFormatter().format(made))
        return [line.get("plugin"), line.get("generation")]

    ours = "sigil_actors.runtime.announcer"
    assert about(ours, "plugin %s, generation %d: %s", "a", 3, "running") == ["a", 3]
    assert about(ours, "plugin %s is quarantined: %s", "a", "why") == ["a", None]
    assert about(ours, "plugin %s is odd") == [None, None]
    assert about(ours, "looking at %s", "a") == [None, None]
    assert about(ours, "looking", plugin="a") == ["a", None]
    assert about("sigil_actors.plugin.a.b", "%s: %s", "a.b", "plugin %s") == ["a.b", None]


def test_the_log_has_the_time_in_utc_wherever_it_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at = record("x")
    at.created = 1_000_000_000.0
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    try:
        assert PersonFormatter(coloured=False).format(at).startswith("01:46:40Z warning")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_traceback_of_ours_is_in_the_log() -> None:
    error = ValueError("mine\nforged")
    failed = record("it failed")
    failed.exc_info = (ValueError, error, None)
    assert "ValueError: mine" in PersonFormatter(coloured=True).format(failed)
    assert "ValueError: mine" in json.loads(JsonFormatter().format(failed))["traceback"]


def entry(number: int, *, actor: str = "", result: str = "ok", reason: str = "") -> AuditEntry:
    return AuditEntry(
        action="outcome",
        timestamp=datetime(2026, 1, 31, 23, 59, 59, tzinfo=UTC) + timedelta(seconds=number),
        actor=actor,
        plugin="text-tool",
        result=result,
        reason=reason,
        details={"generation": 1, "snapshot_sha256": "0" * 64},
    ).stored_as(number, bytes(32))


def rendered(entries: list[AuditEntry], width: int) -> str:
    stream = io.StringIO()
    shown = console(stream)
    shown.width = width
    shown.print(audit_table(entries, width=width))
    return stream.getvalue()


def test_the_audit_table_has_the_day_in_its_heading_where_it_is_one_day() -> None:
    assert "2026-01-31, UTC" in rendered([entry(0)], 160)
    two_days = rendered([entry(0), entry(1)], 160)
    assert "2026-01-31 23:59:59.000" in two_days
    assert "2026-02-01 00:00:00.000" in two_days


def test_the_audit_table_leaves_out_hashes_and_nothing_else_however_narrow_it_is() -> None:
    denied = entry(0, actor="uid:1", result="denied", reason="plugin_allow_missing")
    for width in (160, 80):
        shown = rendered([denied], width)
        for part in ("outcome", "text-tool", "denied", "plugin_allow_missing", "uid:1"):
            assert part in shown
        assert "generation=1" in shown
        assert "sha256" not in shown
        assert all(len(line) <= width for line in shown.splitlines())
    assert has_more(denied)
    assert not has_more(attrs.evolve(denied, details={"generation": 1}))


def test_a_table_in_a_pipe_has_no_blanks_at_the_end_of_its_lines() -> None:
    stream = io.StringIO()
    show_on(
        console(stream), plugins_table([plugin("text-tool", "quarantined"), plugin("a", "running")])
    )
    assert stream.getvalue().endswith("degraded\n")
    assert all(line == line.rstrip() for line in stream.getvalue().splitlines())


def plugin(name: str, state: str) -> dict[str, Any]:
    return {
        "name": name, "version": "1.0.0", "state": state, "generation": 12, "restarts": 3,
        "in_flight": 0, "health": "degraded", "quarantined": state == "quarantined", "held": None,
    }  # fmt: skip


def test_what_is_down_has_no_health_and_says_only_once_why() -> None:
    stream = io.StringIO()
    show_on(console(stream), plugins_table([plugin("a", "stopped"), plugin("b", "draining")]))
    assert [line.split()[-1] for line in stream.getvalue().splitlines()[1:]] == ["-", "degraded"]
    nothing = {
        "restart_in_s": None,
        "remedy": "",
        "last_error": "",
        "reload_failed": "",
        "health": "healthy",
    }
    down = {**plugin("a", "stopped"), **nothing, "draining_generations": []}
    assert list(remarks_on({**down, "reason": "stopped", "last_words": []}, None)) == []
    words = ["it trapped", "it trapped", "out of ink", "out of ink"]
    assert list(remarks_on({**down, "reason": "a: it trapped", "last_words": words}, None)) == [
        "a: stopped: a: it trapped",
        "    its last words: out of ink",
    ]


def test_short_columns_keep_their_words_whole_where_there_is_room() -> None:
    stream = io.StringIO()
    shown = console(stream)
    shown.width = 80
    show_on(shown, plugins_table([plugin("text-tool", "quarantined"), plugin("a", "running")]))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 3
    assert lines[0].split() == [
        *("plugin", "version", "state", "generation", "restarts", "in", "flight", "health"),
    ]
    assert lines[1].split()[:3] == ["text-tool", "1.0.0", "quarantined"]


def test_a_long_column_wraps_and_breaks_no_words_of_the_short_ones() -> None:
    stream = io.StringIO()
    shown = console(stream)
    shown.width = 60
    table = new_table("check", "status", "what to do")
    table.add_row("control socket", "absent", "some words that go on " * 5)
    show_on(shown, table)
    assert all(len(line) <= 60 for line in stream.getvalue().splitlines())
    assert "control socket  absent" in stream.getvalue()


def test_a_reader_of_the_log_that_stalls_costs_lines_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "LINES_WAITING_MAX", 10)
    reading, writing = os.pipe()
    filled = fill(writing)
    handler = logs.BackgroundHandler(writing)
    # Nobody reads, and nobody waits: ten lines are in the queue, and one may be with the writer.
    for number in range(300):
        handler.emit(record(str(number)))
    with os.fdopen(reading, "rb") as reader:
        reader.read(filled)
        assert reader.readline() == b"0\n"
        told = b""
        while b"lines of the log are lost" not in told:
            # There is a line to read for each: where this one is lost as well, ten others wait.
            handler.emit(record("again"))
            told = reader.readline()
        handler.close()
        os.close(writing)
        rest = reader.read()
    assert 289 <= int(told.split()[0]) <= 310
    assert rest.endswith(b"again\n")


def fill(writing: int) -> int:
    """Fill a pipe; return how many bytes it has taken."""
    filled = 0
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            filled += os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return filled


def test_a_reader_of_the_log_that_is_gone_is_no_matter() -> None:
    reading, writing = os.pipe()
    handler = logs.BackgroundHandler(writing)
    os.close(reading)
    handler.emit(record("nobody hears this"))
    handler.emit(record("nor this"))
    handler.close()
    os.close(writing)


def test_a_log_that_doesnt_wait_for_its_reader_is_written_whole() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    handler = logs.BackgroundHandler(writing)
    for _ in range(200):
        handler.emit(record("x" * 1000))
    with os.fdopen(reading, "rb") as reader:
        lines = [reader.readline() for _ in range(200)]
        handler.close()
        os.close(writing)
    assert all(line == b"x" * 1000 + b"\n" for line in lines)


def test_markup_in_a_log_is_just_text() -> None:
    assert "[red]x[/red]" in rendered([entry(0, reason="[red]x[/red]")], 160)


FIND = ("call", "text-tool", "find", json.dumps({"text": HOSTILE + "\n", "wanted": "red"}))


def test_a_plugins_answer_is_raw_in_a_pipe_and_escaped_on_a_terminal(tmp_path: Path) -> None:
    where = ("--plugins", str(EXAMPLES), "--state", str(tmp_path))
    piped = sigil(*FIND, *where)
    assert piped.returncode == 0, piped.stderr
    assert HOSTILE in piped.stdout
    code, shown = on_terminal([*FIND, *where])
    assert code == 0
    assert b"\x1b" not in shown
    assert b"a\\x1b[31mred\\x0d\\x07\\u202eb\tc" in shown


def test_colour_is_only_for_a_terminal_and_no_color_takes_it_away(tmp_path: Path) -> None:
    wrong = ["call", "x", "y", "--plugins", str(EXAMPLES), "--state", str(tmp_path)]
    assert "\x1b" not in sigil(*wrong).stderr
    assert b"\x1b[1;31m" in on_terminal(wrong)[1]
    assert b"\x1b" not in on_terminal(wrong, NO_COLOR="1")[1]
    assert b"\x1b" not in on_terminal(wrong, TERM="dumb")[1]


def test_json_has_a_line_a_chunk_and_one_at_the_end(tmp_path: Path) -> None:
    done = sigil(*FIND, "--plugins", EXAMPLES, "--state", tmp_path, "--json")
    assert done.returncode == 0, done.stderr
    *chunks, last = json_lines(done.stdout)
    text = "".join(chunk["chunk"] for chunk in chunks)
    assert HOSTILE in text
    assert last == {"done": {"chunks": len(chunks), "characters": len(text)}}
