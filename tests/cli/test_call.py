"""`call`: the same through a supervisor and without one; cancelled, in parallel, in a pipe."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.cli.command import (
    EXAMPLES,
    PATIENCE_S,
    Supervisor,
    environment,
    json_lines,
    sigil,
    supervisor,
    wait_until,
)

CALLS: dict[str, tuple[str, ...]] = {
    "answered": ("text-tool", "stats", '{"text": "b a b", "top": 1}'),
    "remembered": ("notes", "remember", '{"text": "buy milk"}'),
    "denied by the workspace": ("greedy", "grab", "{}", "--workspace-allow", "kv.*"),
    "denied by the user": ("greedy", "grab", "{}", "--user-permissions", "tool.stats"),
    "plugin unknown": ("text-tol", "stats", "{}"),
    "tool unknown": ("text-tool", "sats", "{}"),
    "manifest refused": ("broken", "x", "{}"),
    "arguments that don't fit": ("text-tool", "stats", "{}"),
    "arguments that are none": ("text-tool", "stats", "["),
    "pattern malformed": ("text-tool", "stats", "{}", "--workspace-allow", "a..b"),
    "endless": ("endless", "spin", "{}"),
    "crashing": ("crasher", "crash", "{}"),
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Supervisor]:
    with supervisor(EXAMPLES, tmp_path_factory.mktemp("supervised") / "state") as one:
        yield one


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_the_same_through_the_supervisor_and_without(
    name: str, running: Supervisor, tmp_path: Path
) -> None:
    for options in ([], ["--json"]):
        where = ["--plugins", str(EXAMPLES), *options]
        own = sigil("call", *CALLS[name], "--state", tmp_path / "own", *where)
        asked = sigil("call", *CALLS[name], "--state", running.state, *where)
        assert (asked.returncode, asked.stdout) == (own.returncode, own.stdout)
        # A runtime of its own writes its log to the same stream.
        assert asked.stderr.splitlines() == [
            line for line in own.stderr.splitlines() if not is_log(line)
        ]
        if name == "crashing":
            running.wait_for_message("it is started again")
            wait_until(lambda: is_up(running, "crasher"), "the crasher")


def is_log(line: str) -> bool:
    return '"logger":' in line or line[2:3] == ":"


def is_up(running: Supervisor, plugin: str) -> bool:
    states = [m for m in running.messages() if m.startswith(f"plugin {plugin}, generation")]
    return states[-1].endswith(": running")


def test_the_operator_stands_in_the_log_by_their_uid_on_both_roads(
    running: Supervisor, tmp_path: Path
) -> None:
    for state in (running.state, tmp_path / "own"):
        called = sigil("call", *CALLS["answered"], "--plugins", EXAMPLES, "--state", state)
        assert called.returncode == 0
        log = sigil("audit", "query", "--state", state, "--action", "outcome", "--json").stdout
        entry = json_lines(log)[-1]
        assert entry["actor"] == entry["user_id"] == f"uid:{os.getuid()}"


def test_a_denial_is_explained_set_by_set(tmp_path: Path) -> None:
    where = ("--plugins", EXAMPLES, "--state", tmp_path)
    done = sigil("call", *CALLS["denied by the user"], *where)
    assert done.returncode == 5
    assert "user_permission_missing" in done.stderr
    assert 'user_permissions: ["tool.grab"]' in done.stderr
    assert "plugin_allow      'tool.grab' matches" in done.stderr


def test_arguments_come_from_standard_input_too(tmp_path: Path) -> None:
    done = sigil(
        *("call", "text-tool", "stats", "-", "--plugins", EXAMPLES, "--state", tmp_path),
        stdin=json.dumps({"text": "ü " * 100_000, "top": 1}),
    )
    assert done.returncode == 0, done.stderr
    assert "words: 100000\n" in done.stdout


def test_what_is_remembered_is_there_for_the_next_call(tmp_path: Path) -> None:
    where = ("--plugins", EXAMPLES, "--state", tmp_path)
    assert sigil("call", *CALLS["remembered"], *where).returncode == 0
    assert "buy milk" in sigil("call", "notes", "recall", *where).stdout


def test_only_the_plugin_that_is_called_is_started(tmp_path: Path) -> None:
    sigil("call", *CALLS["answered"], "--plugins", EXAMPLES, "--state", tmp_path)
    log = json_lines(sigil("audit", "query", "--state", tmp_path, "--json").stdout)
    assert {entry["plugin"] for entry in log} == {"text-tool"}
    [registered] = [entry for entry in log if entry["action"] == "plugin_registered"]
    from hashlib import sha256

    manifest = (EXAMPLES / "text-tool" / "plugin.yaml").read_bytes()
    assert registered["details"]["manifest_sha256"] == sha256(manifest).hexdigest()


def start(*arguments: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "sigil_actors", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )


def test_calls_without_a_supervisor_come_one_after_another(tmp_path: Path) -> None:
    where = ("--plugins", EXAMPLES, "--state", tmp_path)
    calls = [start("call", *CALLS["answered"], *where) for _ in range(4)]
    for call in calls:
        out, err = call.communicate(timeout=PATIENCE_S)
        assert (call.returncode, out.count("words: 3")) == (0, 1), err
    assert sigil("audit", "verify", "--state", tmp_path).returncode == 0


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """Make an endless plugin whose bound is a minute away."""
    folder = tmp_path / "slow" / "endless"
    folder.mkdir(parents=True)
    manifest = (EXAMPLES / "endless" / "plugin.yaml").read_text()
    (folder / "plugin.yaml").write_text(manifest.replace("timeout: 1s", "timeout: 60s"))
    module = (EXAMPLES / "endless" / "plugin.wasm").read_bytes()
    (folder / "plugin.wasm").write_bytes(module)
    return folder.parent


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_call_and_its_outcome_says_so(
    number: signal.Signals, slow: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    call = start("call", "endless", "spin", "--plugins", slow, "--state", state)
    assert call.stdout is not None
    assert call.stdout.readline() == "spinning\n"
    call.send_signal(number)
    _, err = call.communicate(timeout=PATIENCE_S)
    assert call.returncode == 128 + number
    assert "Traceback" not in err
    log = sigil("audit", "query", "--state", state, "--action", "outcome", "--json").stdout
    assert [entry["result"] for entry in json_lines(log)] == ["cancelled"]


def test_a_call_that_goes_away_is_cancelled_in_the_supervisor(slow: Path, tmp_path: Path) -> None:
    with supervisor(slow, tmp_path / "state") as running:
        for number in (signal.SIGINT, signal.SIGKILL):
            call = start("call", "endless", "spin", "--state", running.state)
            assert call.stdout is not None
            assert call.stdout.readline() == "spinning\n"
            call.send_signal(number)
            call.communicate(timeout=PATIENCE_S)

        def outcomes() -> list[str]:
            arguments = ("audit", "query", "--state", running.state, "--json")
            log = sigil(*arguments, "--action", "outcome").stdout
            return [entry["result"] for entry in json_lines(log)]

        wait_until(lambda: outcomes() == ["cancelled", "cancelled"], "the outcomes")


def test_a_reader_that_has_enough_ends_the_call_quietly(tmp_path: Path) -> None:
    text = "red line\n" * 200_000
    arguments = tmp_path / "arguments.json"
    arguments.write_text(json.dumps({"text": text, "wanted": "red"}))
    with arguments.open() as stdin:
        call = subprocess.Popen(
            [
                *(sys.executable, "-m", "sigil_actors", "call", "text-tool", "find", "-"),
                *("--plugins", str(EXAMPLES), "--state", str(tmp_path / "state")),
            ],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    assert call.stdout is not None
    assert call.stderr is not None
    assert call.stdout.readline()
    call.stdout.close()
    err = call.stderr.read()
    call.stderr.close()
    assert call.wait(PATIENCE_S) == 128 + signal.SIGPIPE
    assert err == b""
