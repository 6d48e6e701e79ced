"""Builds the plugins of `examples/plugins`: each C source becomes `plugin.wasm` beside it.

`python examples/build.py FOLDER` writes FOLDER/NAME/plugin.wasm instead. The compiler is zig's,
from PyPI's `ziglang`. The committed files were made by `ZIG_VERSION`; another version may give
other bytes that do the same.
"""

import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ZIG_VERSION = "0.17.1"

PLUGINS = Path(__file__).parent / "plugins"

FLAGS = (
    "-target", "wasm32-freestanding",
    "-std=c17",
    "-Os",
    "-nostdlib",
    "-fno-builtin",  # else the loop inside memcpy becomes a call of memcpy
    "-fno-sanitize=all",
    "-Wall", "-Wextra", "-Werror",
    "-Wl,--no-entry",
    "-Wl,--gc-sections",
    "-Wl,--strip-all",  # names and paths of this machine among them
    "-Wl,-z,stack-size=65536",
)  # fmt: skip


def installed_zig() -> str:
    """Return the version of the `ziglang` that is installed."""
    return importlib.metadata.version("ziglang")


def sources() -> dict[str, Path]:
    """Return the C source of each plugin, by the plugin's name."""
    return {source.parent.name: source for source in sorted(PLUGINS.glob("*/*.c"))}


def build(source: Path, target: Path) -> None:
    """Compile one plugin."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch, "plugin.wasm")
        subprocess.run(  # noqa: S603 - our own compiler on our own source
            [sys.executable, "-m", "ziglang", "cc", *FLAGS, "-o", str(module), source.name],
            cwd=source.parent,
            env=os.environ | {"ZIG_LOCAL_CACHE_DIR": str(Path(scratch, "cache"))},
            check=True,
        )
        # Not moved: the linker marks its output as executable, which it isn't.
        target.write_bytes(module.read_bytes())


def main(arguments: list[str]) -> int:
    """Build all plugins, into the folder given or in place."""
    folder = Path(arguments[0]) if arguments else PLUGINS
    if installed_zig() != ZIG_VERSION and not arguments:
        print(
            f"ziglang {installed_zig()} is installed; the committed files are from {ZIG_VERSION}.",
            f"To get the same bytes: pip install ziglang=={ZIG_VERSION}",
            file=sys.stderr,
        )
    for name, source in sources().items():
        target = folder / name / "plugin.wasm"
        build(source, target)
        print(f"{target}: {target.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
