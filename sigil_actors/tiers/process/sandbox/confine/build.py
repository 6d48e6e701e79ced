"""Builds the program that confines a plugin, for each kind of machine: static, by zig's compiler.

`python -m sigil_actors.tiers.process.sandbox.confine.build FOLDER` writes into FOLDER instead.
The compiler is PyPI's `ziglang`, at the version that `pyproject.toml` pins, so that the bytes are
the same everywhere; the tests build it again and compare.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
ARCHITECTURES = ("x86_64", "aarch64")

FLAGS = (
    "-std=c17",
    "-Os",
    "-static",
    "-fno-sanitize=all",
    "-Wall", "-Wextra", "-Werror",
    "-Wl,--gc-sections",
    "-Wl,--strip-all",  # names and paths of this machine among them
    "-Wl,--build-id=none",
)  # fmt: skip


def build(architecture: str, folder: Path) -> Path:
    """Compile it for one kind of machine; return the program."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "confine")
        subprocess.run(  # noqa: S603 - our own compiler on our own source
            [
                sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-musl",
                *FLAGS, "-o", str(made), "confine.c",
            ],
            cwd=HERE,
            env=os.environ | {"ZIG_LOCAL_CACHE_DIR": str(Path(scratch, "cache"))},
            check=True,
        )  # fmt: skip
        target = folder / f"confine.{architecture}"
        target.write_bytes(made.read_bytes())
    return target


def main(arguments: list[str]) -> None:
    """Build for every kind of machine."""
    folder = Path(arguments[0]) if arguments else HERE
    for architecture in ARCHITECTURES:
        target = build(architecture, folder)
        print(f"{target}: {target.stat().st_size} bytes")  # noqa: T201 - a tool's progress


if __name__ == "__main__":
    main(sys.argv[1:])
