"""The small programs that this tier runs beside plugins: static, by zig's compiler, and committed.

`python -m sigil_actors.tiers.process.static_programs` rebuilds each beside its source;
`... FOLDER` writes into FOLDER instead. The compiler is PyPI's `ziglang`, at the version that
`pyproject.toml` pins, so that the bytes are the same everywhere; the tests build each again and
compare.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

HERE = Path(__file__).parent

DIE_WITH_PARENT: Final = HERE / "die_with_parent.c"
CONFINE: Final = HERE / "sandbox" / "confine" / "confine.c"
ATTACKS: Final = HERE / "proof" / "attacks.c"
SOURCES: Final = (DIE_WITH_PARENT, CONFINE, ATTACKS)

ARCHITECTURES: Final = ("x86_64", "aarch64")

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


def static_program(source: Path, architecture: str, folder: Path | None = None) -> Path:
    """Return where a source's program for a kind of machine is, or would be."""
    return (folder or source.parent) / f"{source.stem}.{architecture}"


def build(source: Path, architecture: str, folder: Path | None = None) -> Path:
    """Compile a program for one kind of machine; return it."""
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, source.stem)
        subprocess.run(  # noqa: S603 - our own compiler on our own source
            [
                sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-musl",
                *FLAGS, "-o", str(made), source.name,
            ],
            cwd=source.parent,
            env=os.environ | {"ZIG_LOCAL_CACHE_DIR": str(Path(scratch, "cache"))},
            check=True,
        )  # fmt: skip
        target = static_program(source, architecture, folder)
        target.write_bytes(made.read_bytes())
        target.chmod(0o755)
    return target


def main(arguments: list[str]) -> None:
    """Build all, for every kind of machine."""
    folder = Path(arguments[0]) if arguments else None
    for source in SOURCES:
        for architecture in ARCHITECTURES:
            target = build(source, architecture, folder)
            print(f"{target}: {target.stat().st_size} bytes")  # noqa: T201 - a tool's progress


if __name__ == "__main__":
    main(sys.argv[1:])
