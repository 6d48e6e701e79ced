"""The reference of the command line says what the code says."""

import inspect
import re
from pathlib import Path
from typing import get_args

import pytest
from cyclopts import App, Parameter

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.main import build_app

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "cli.md").read_text()


def commands(app: App, path: tuple[str, ...] = ()) -> dict[str, App]:
    found: dict[str, App] = {}
    for name in app:
        if name.startswith("-"):
            continue
        below = app[name]
        if below.default_command is None:
            found |= commands(below, (*path, name))
        else:
            found[" ".join((*path, name))] = below
    return found


COMMANDS = commands(build_app())


def options_of(command: App) -> set[str]:
    assert command.default_command is not None
    found = set()
    for parameter in inspect.signature(command.default_command).parameters.values():
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            continue
        given = [one for one in get_args(parameter.annotation) if isinstance(one, Parameter)]
        names = given[0].name if given else None
        found |= set(names or [f"--{parameter.name.replace('_', '-')}"])
    return found


def test_every_command_has_its_heading_and_no_other() -> None:
    assert set(re.findall(r"^### (.+)$", PAGE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_of_a_command_is_described(name: str) -> None:
    options = options_of(COMMANDS[name])
    assert "--json" in options
    section = PAGE.partition(f"### {name}\n")[2].partition("\n#")[0]
    shared = PAGE.partition("## Options that several commands have\n")[2]
    for option in options:
        assert f"| `{option}" in shared or option in section, option


def test_every_exit_code_is_described_by_its_name() -> None:
    rows = dict(re.findall(r"^\| (\d) \| ([A-Z_]+) \|", PAGE, re.MULTILINE))
    assert rows == {str(code.value): code.name for code in ExitCode}
