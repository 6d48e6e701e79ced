"""`import sigil_actors` is cheap: what is heavy loads on first use."""

import json
import subprocess
import sys

HEAVY = {"grpc", "wasmtime", "jsonschema_rs", "ruamel", "cattrs", "rich", "cyclopts"}


def loaded_after(statement: str) -> set[str]:
    script = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in json.loads(run.stdout)}


def test_importing_the_package_loads_nothing_heavy() -> None:
    loaded = loaded_after("import sigil_actors")
    assert "sigil_actors" in loaded
    assert loaded & HEAVY == set()


def test_the_measure_sees_what_is_loaded() -> None:
    assert loaded_after("import wasmtime, cattrs") & HEAVY == {"wasmtime", "cattrs"}
