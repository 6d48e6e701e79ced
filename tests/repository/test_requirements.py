"""What a machine lacks skips a test with a reason, unless the machine promised to have it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parents[1] / "conftest.py"

ASKS_FOR_GO = """
def test_needs_go(require):
    require("go")
"""


def run_pytest(folder: Path, *, promised: str, path: str) -> "subprocess.CompletedProcess[str]":
    (folder / "conftest.py").write_text(CONFTEST.read_text())
    (folder / "test_go.py").write_text(ASKS_FOR_GO)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=os.environ | {"SIGIL_REQUIRE": promised, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def path_with_go(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program.parent)


def test_a_missing_thing_skips_with_its_reason(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, promised="", path="/nowhere")
    assert run.returncode == 0, run.stdout
    assert "go is missing: install Go" in run.stdout


def test_a_missing_thing_that_was_promised_fails(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, promised="zig, go", path="/nowhere")
    assert run.returncode == 1
    assert "go is missing, and SIGIL_REQUIRE names it: install Go" in run.stdout


def test_what_is_here_runs(tmp_path: Path, path_with_go: str) -> None:
    run = run_pytest(tmp_path, promised="go", path=path_with_go)
    assert run.returncode == 0
    assert "1 passed" in run.stdout


def test_a_promise_of_something_unknown_is_an_error(tmp_path: Path) -> None:
    run = run_pytest(tmp_path, promised="gopher", path="/nowhere")
    assert run.returncode == pytest.ExitCode.USAGE_ERROR
    assert "SIGIL_REQUIRE names gopher; known are bwrap" in run.stderr
