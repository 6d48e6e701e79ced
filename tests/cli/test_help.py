"""`--help` and `--version`: quick, since they load nothing that they don't show."""

import json
import resource
import subprocess
import sys

import pytest

from tests.cli.command import environment, sigil

HEAVY = {"trio", "wasmtime", "jsonschema_rs", "ruamel", "cattrs", "grpc", "sqlite3"}
COMMANDS = (
    *("run", "ps", "events", "start", "stop", "drain", "reload", "approve"),
    *("call", "describe", "validate", "explain", "audit", "doctor", "demo"),
)


def test_help_names_every_command() -> None:
    done = sigil("--help")
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert f"│ {command} " in done.stdout


@pytest.mark.parametrize(
    "command",
    [*((name,) for name in COMMANDS), ("audit", "query"), ("audit", "verify")],
)
def test_every_command_has_help_and_json(command: tuple[str, ...]) -> None:
    done = sigil(*command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage: sigil-actors" in done.stdout
    assert ("--json" in done.stdout) is (command != ("audit",))


def test_the_version_is_that_of_the_package() -> None:
    from importlib.metadata import version

    done = sigil("--version")
    assert (done.returncode, done.stdout) == (0, f"sigil-actors {version('sigil-actors')}\n")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import json, sys\nfrom sigil_actors.cli.main import run\nassert run(['--help']) == 0\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "cyclopts" in loaded
    assert loaded & HEAVY == set()


def cpu_s(*arguments: str) -> float:
    """Return the processor time of a program, the least of some runs: what it takes undisturbed."""

    def once() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, *arguments], capture_output=True, check=True, env=environment()
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    return min(once() for _ in range(5))


def test_help_takes_at_most_three_times_the_import_of_trio() -> None:
    assert cpu_s("-m", "sigil_actors", "--help") <= 3 * cpu_s("-c", "import trio")
