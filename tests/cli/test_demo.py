"""The demo as an end-to-end test: its facts, by `--json`, and its story."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigil_actors.cli.demo_process import plugin_python
from sigil_actors.cli.demo_text import large_text, piped_text
from tests.cli.command import EXAMPLES, PATIENCE_S, environment, error_of, on_terminal, sigil

PIPED = "one two two three three three\n"


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    done = sigil("demo", "--json", stdin=PIPED)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def test_it_is_over_within_a_minute(facts: dict[str, Any]) -> None:
    assert facts["ok"] is True
    assert facts["took_s"] < 60


def test_what_was_discovered_and_refused_with_file_and_line(facts: dict[str, Any]) -> None:
    plugins = {plugin["name"]: plugin for plugin in facts["discovered"]["plugins"]}
    assert set(plugins) >= {"text-tool", "notes", "greedy", "crasher", "endless"}
    assert plugins["text-tool"]["state"] == "running"
    [refused] = facts["discovered"]["refused"]
    assert refused["file"] == str(EXAMPLES / "broken" / "plugin.yaml")
    assert all(problem["line"] > 0 and problem["remedy"] for problem in refused["problems"])


def test_the_text_tool_worked_on_a_large_text_in_pieces(facts: dict[str, Any]) -> None:
    text = facts["text"]
    assert Path(text["source"]).is_file()
    assert text["bytes"] > 100 * 1024
    assert text["chunks"] > 5
    words = re.search(r"^words: (\d+)$", text["answer"], re.MULTILINE)
    assert words is not None
    assert int(words[1]) > 10_000


def test_the_text_tool_worked_on_what_was_piped_in(facts: dict[str, Any]) -> None:
    piped = facts["piped"]
    assert (piped["source"], piped["bytes"], piped["is_cut"]) == (
        "standard input", len(PIPED), False,
    )  # fmt: skip
    assert "words: 6\n" in piped["answer"]
    assert "  three: 3\n" in piped["answer"]


def test_the_greedy_plugin_was_denied_and_that_was_explained(facts: dict[str, Any]) -> None:
    denied = facts["denied"]
    assert "granted" not in denied["answer"]
    assert denied["answer"].count("denied") >= 4
    assert denied["explanation"]["allowed"] is False
    assert denied["explanation"]["remedy"]
    assert [one["name"] for one in denied["explanation"]["sets"]] == [
        "plugin_allow", "plugin_deny", "workspace_allow", "user_permissions",
    ]  # fmt: skip


def test_the_hostile_program_got_nothing_or_why_it_cant_run_here_is_told(
    facts: dict[str, Any],
) -> None:
    hostile = facts["hostile"]
    if "skipped" in hostile:
        assert hostile["skipped"]
        return
    assert len(hostile["answers"]) == 12
    assert all(line.startswith("held: ") for line in hostile["answers"])
    assert hostile["attacks_held_before"] >= 25
    assert facts["audit"]["results"]["sandbox_proof holds"] == 1


def test_the_hostile_program_runs_where_there_is_a_sandbox(
    facts: dict[str, Any], require: Callable[[str], None]
) -> None:
    require("bwrap")
    if plugin_python() is None:
        pytest.skip("no Python of this version that a plugin's own user may start")
    assert "skipped" not in facts["hostile"], facts["hostile"]["skipped"]


def test_the_endless_plugin_was_stopped_by_its_bound(facts: dict[str, Any]) -> None:
    assert facts["endless"]["error"]["type"] == "LimitExceededError"
    assert facts["endless"]["error"]["facts"]["key"].startswith("execution.wasm.")
    assert 0.5 < facts["endless"]["took_s"] < 10


def test_the_crashing_plugin_was_restarted_with_backoff_then_quarantined(
    facts: dict[str, Any],
) -> None:
    crashes = facts["crasher"]["crashes"]
    assert [crash["generation"] for crash in crashes] == list(range(1, len(crashes) + 1))
    *backoffs, last = [crash["restart_in_s"] for crash in crashes]
    assert last is None
    assert len(backoffs) >= 2
    assert backoffs == sorted(backoffs)
    assert facts["crasher"]["status"]["quarantined"] is True
    assert facts["crasher"]["refusal"]["facts"]["reason"] == "quarantined"


def test_the_text_tool_went_on_answering_meanwhile(facts: dict[str, Any]) -> None:
    assert facts["crasher"]["answered_meanwhile"] > 0
    assert facts["crasher"]["failed_meanwhile"] == 0


def test_the_log_holds_all_of_it_and_is_good(facts: dict[str, Any]) -> None:
    assert facts["verified"]["ok"] is True
    assert facts["verified"]["entries"] == facts["audit"]["entries"]
    results = facts["audit"]["results"]
    assert sum(results.values()) == facts["audit"]["entries"]
    assert results["outcome limit"] == 1
    assert results["outcome crashed"] == len(facts["crasher"]["crashes"])
    assert results["lifecycle quarantined"] == 1


def test_a_flipped_byte_is_found_at_the_very_entry(facts: dict[str, Any]) -> None:
    tampered = facts["tampered"]
    assert tampered["ok"] is False
    assert tampered["first_bad"]["seq"] == tampered["flipped_seq"]
    assert tampered["first_bad"]["kind"] == "edited"


def test_the_story_is_readable_and_coloured_on_a_terminal(facts: dict[str, Any]) -> None:
    code, shown = on_terminal(["demo"], columns=120)
    assert code == 0
    story = re.sub(rb"\x1b\[[0-9;]*m", b"", shown).decode()
    assert shown.count(b"\x1b[1;36m") == 10
    assert "\x1b" not in story
    for number in range(1, 10):
        assert f"\n{number}. " in f"\n{story}"
    entry = facts["tampered"]["flipped_seq"]
    assert re.search(r"BAD: entry \d+: edited", story), entry


def test_without_a_terminal_there_is_no_colour() -> None:
    done = sigil("demo")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert "Nothing is piped in" in done.stdout


def test_a_standard_input_that_is_open_and_silent_holds_nothing_up() -> None:
    reading, writing = os.pipe()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "sigil_actors", "demo", "--json"],
            stdin=reading,
            capture_output=True,
            timeout=PATIENCE_S,
            env=environment(),
            check=False,
        )
    finally:
        os.close(reading)
        os.close(writing)
    assert done.returncode == 0
    assert json.loads(done.stdout)["piped"] is None


def test_other_plugins_and_a_missing_folder_are_told(tmp_path: Path) -> None:
    error = error_of(sigil("demo", "--plugins", tmp_path / "none", "--json"))
    assert (error["exit_code"], error["type"]) == (4, "PathNotFoundError")
    (tmp_path / "empty").mkdir()
    assert sigil("demo", "--plugins", tmp_path / "empty").returncode == 4


def test_a_piped_text_is_bounded(tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"\x01" * (5 * 1024 * 1024))
    with file.open() as stdin:
        text = piped_text(stdin.fileno())
    assert text is not None
    assert text.is_cut
    assert len(json.dumps(text.text)) <= 3 * 1024 * 1024


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_no_text(device: str) -> None:
    with Path(device).open() as stdin:
        assert piped_text(stdin.fileno()) is None


def test_a_standard_input_that_is_closed_is_no_text() -> None:
    assert piped_text(-1) is None


def test_where_python_has_no_manual_its_largest_source_is_the_text(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pydoc_data", None)
    text = large_text()
    assert text.source.endswith(".py")
    assert text.size_bytes > 50 * 1024
