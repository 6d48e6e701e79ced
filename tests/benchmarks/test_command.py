"""`python -m benchmarks`: what it prints, what it writes, how it exits."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks.harness import BenchmarkError, Budget, Measure, Row, Side


def one_row(name: str) -> Sequence[Row]:
    return [Row(name=name, what="something", unit="ms", ours=Side("ours", [1.5]))]


def fail(_budget: Budget) -> Sequence[Row]:
    raise BenchmarkError("there is nothing to measure with")


@pytest.fixture(autouse=True)
def few_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    measures = (
        Measure(name="walk_1", what="Walking", run=lambda _budget: one_row("walk_1")),
        Measure(name="walk_2", what="Walking twice", run=lambda _budget: one_row("walk_2")),
        Measure(name="broken", what="Nothing", run=fail),
    )
    monkeypatch.setattr(command, "MEASURES", measures)


def test_a_pattern_chooses_measures_and_the_table_shows_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run(only=("walk_*",)) == 0
    out = capsys.readouterr().out
    assert "walk_1" in out
    assert "walk_2" in out
    assert "1.5 ms" in out


def test_rows_go_to_a_file_and_the_table_to_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(only=("walk_1",), json_file=tmp_path / "rows.json") == 0
    written = json.loads((tmp_path / "rows.json").read_text())
    assert [row["name"] for row in written["rows"]] == ["walk_1"]
    assert "walk_1" in capsys.readouterr().out


def test_a_dash_puts_nothing_but_json_on_standard_output(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run(only=("walk_1",), json_file=Path("-")) == 0
    assert json.loads(capsys.readouterr().out)["rows"][0]["ours"] == 1.5


def test_what_cannot_be_measured_is_said_and_the_rest_goes_on(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run(only=("broken", "walk_1"), json_file=Path("-")) == 1
    said = capsys.readouterr()
    written = json.loads(said.out)
    assert written["problems"] == {"broken": "there is nothing to measure with"}
    assert len(written["rows"]) == 1
    assert "nothing to measure with" in said.err


def test_an_unknown_name_is_a_mistake_in_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.run(only=("walk_1", "fly")) == 2
    assert "fly" in capsys.readouterr().err


def test_the_list_names_measures_without_running_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.run(list_names=True) == 0
    assert "broken       Nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "only", "json_file"),
    [
        (["--only", "walk_1", "--json", "-"], ("walk_1",), Path("-")),
        (["--only", "walk_*", "--only", "broken"], ("walk_*", "broken"), None),
        (["--json", "rows.json", "--only", "walk_1"], ("walk_1",), Path("rows.json")),
    ],
)
def test_the_command_line_is_read_as_make_writes_it(
    words: Sequence[str], only: Sequence[str], json_file: Path | None
) -> None:
    _, bound, _ = command.app.parse_args(words, exit_on_error=False)
    assert bound.arguments["only"] == only
    assert bound.arguments.get("json_file") == json_file
