"""The peers that are written in Go (`tests/go/cmd/NAME`), built when a test first asks for one.

A conftest that wants the fixture imports it: `from tests.go_programs import go_program`.
"""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

MODULE = Path(__file__).parent / "go"


@pytest.fixture(scope="session")
def go_program(
    require: Callable[[str], None],
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Path]:
    """Give `go_program("plugin")`: the path of the built program; without Go, the test skips."""
    built: dict[str, Path] = {}

    def go_program(name: str) -> Path:
        require("go")
        if name not in built:
            built[name] = build(name, _folder(pytestconfig, tmp_path_factory))
        return built[name]

    return go_program


def _folder(config: pytest.Config, folders: pytest.TempPathFactory) -> Path:
    """Return where what was built is kept; `-p no:cacheprovider` leaves no such place."""
    cache: pytest.Cache | None = getattr(config, "cache", None)
    return folders.mktemp("go_programs") if cache is None else cache.mkdir("go_programs")


def build(name: str, folder: Path) -> Path:
    """Build `cmd/NAME` into the folder; Go's own cache makes the second time cheap."""
    path = folder / name
    fresh = folder / f"{name}.{os.getpid()}"
    result = subprocess.run(
        ["go", "build", "-trimpath", "-mod=readonly", "-o", fresh, f"./cmd/{name}"],
        cwd=MODULE,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode != 0:
        pytest.fail(f"go build ./cmd/{name} failed:\n{result.stderr}", pytrace=False)
    # By renaming, so that another test run that executes the old file is not disturbed.
    fresh.replace(path)
    return path
