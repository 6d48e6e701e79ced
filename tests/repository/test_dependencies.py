"""Every dependency has its reason written down, and none is described that isn't there."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "explanation" / "dependencies.md").read_text()


def name_of(requirement: str) -> str:
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert match
    return match[0]


def described_under(heading: str) -> set[str]:
    """Return the names in the first column of the table below a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| ")]
    names = " , ".join(re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", row) for row in rows)
    return {name.strip() for name in names.split(",")} - {"package", "---"}


def test_every_runtime_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert described_under("At run time") == set(map(name_of, project["dependencies"]))


def test_every_tool_for_development_has_its_purpose() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    wanted = {name_of(line) for lines in extras.values() for line in lines} - {"sigil-actors"}
    assert described_under("For development") == wanted
