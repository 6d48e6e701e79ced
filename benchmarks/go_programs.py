"""The programs in Go that measures run: the tests' plugin, and a host by HashiCorp's library."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks.harness import BenchmarkError

ROOT: Final = Path(__file__).parents[1]
PLUGIN_NAME: Final = "it"


@cache
def go_program(name: str) -> Path:
    """Return the program `tests/go/cmd/NAME`, built if anything changed since it was.

    Raises:
        BenchmarkError: it can't be built.
    """
    path = ROOT / "build" / "go" / name
    # By renaming, so that another run that executes the old one isn't disturbed.
    fresh = path.with_name(f"{name}.{os.getpid()}")
    try:
        subprocess.run(
            ["go", "build", "-trimpath", "-mod=readonly", "-o", fresh, f"./cmd/{name}"],
            cwd=ROOT / "tests" / "go",
            capture_output=True,
            text=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise BenchmarkError("Go isn't installed, and the plugin is in Go") from error
    except subprocess.CalledProcessError as error:
        raise BenchmarkError(f"go build ./cmd/{name} failed: {error.stderr}") from error
    fresh.replace(path)
    return path


@contextmanager
def plugin_folder() -> Generator[Path]:
    """Give a folder with the plugin in it, as a snapshot is: read by any uid, also a plugin's."""
    program = go_program("plugin")
    with tempfile.TemporaryDirectory(prefix="sigil-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        shutil.copy(program, folder / PLUGIN_NAME)
        yield folder
