"""The Go module for authors of plugins is what its sources give, and it builds."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.proto.test_drift import contents

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "proto" / "go"


def test_a_fresh_run_changes_nothing(require: Callable[[str], None], tmp_path: Path) -> None:
    require("go")
    run = generate(tmp_path / "go")
    assert run.returncode == 0, run.stderr
    fresh, committed = contents(tmp_path / "go"), contents(COMMITTED)
    assert sorted(fresh) == sorted(committed), "run `make proto` and commit what it changes"
    different = [name for name in fresh if fresh[name] != committed[name]]
    assert different == [], "run `make proto` and commit what it changes"


def generate(output: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, ROOT / "proto" / "generate.py", "--go-output", output],
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_module_builds_as_it_is(require: Callable[[str], None]) -> None:
    require("go")
    run = subprocess.run(
        ["go", "build", "-mod=readonly", "./..."],
        cwd=COMMITTED,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["broker", "controller", "stdio", "health"])
def test_what_other_go_modules_bring_is_not_in_it_a_second_time(name: str) -> None:
    """Two files that define one message are a panic at the start of a Go program."""
    assert not list(COMMITTED.rglob(f"{name}*.go"))
