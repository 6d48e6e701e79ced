"""The generated code in the repository is what its sources give, and all that lies there."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMITTED = ROOT / "sigil_actors" / "_proto"


def contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def generate(output: Path, sources: Path = ROOT / "proto") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, sources / "generate.py", "--output", output],
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_fresh_run_changes_nothing(tmp_path: Path) -> None:
    installed = metadata.version("grpcio-tools")
    made_with = (COMMITTED / "__init__.py").read_text()
    assert f"grpcio-tools {installed};" in made_with, (
        f"{made_with.strip()} Installed is {installed}: install the other, or run `make proto` "
        "and commit what it changes"
    )

    run = generate(tmp_path / "_proto")

    assert run.returncode == 0, run.stderr
    fresh, committed = contents(tmp_path / "_proto"), contents(COMMITTED)
    assert sorted(fresh) == sorted(committed), "run `make proto` and commit what it changes"
    different = [name for name in fresh if fresh[name] != committed[name]]
    assert different == [], "run `make proto` and commit what it changes"


def test_a_source_that_does_not_compile_leaves_the_old_code_in_place(tmp_path: Path) -> None:
    sources = tmp_path / "proto"
    sources.mkdir()
    (sources / "generate.py").write_text((ROOT / "proto" / "generate.py").read_text())
    (sources / "broken.proto").write_text('syntax = "proto3"; message {')
    output = tmp_path / "_proto"
    output.mkdir()
    (output / "kept.py").write_text("OLD = True\n")

    run = generate(output, sources)

    assert run.returncode != 0
    assert "broken.proto:1" in run.stderr
    assert contents(output) == {"kept.py": "OLD = True\n"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["_proto", "proto"]
