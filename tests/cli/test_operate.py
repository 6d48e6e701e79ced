"""What operators do with a running supervisor: look, start, stop, reload, approve, follow."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.command import (
    EXAMPLES,
    PATIENCE_S,
    Supervisor,
    environment,
    error_of,
    json_lines,
    sigil,
    supervisor,
    wait_until,
)
from tests.cli.test_call import CALLS, slow, start

__all__ = ["slow"]  # a fixture

RUNNING = "plugin text-tool, generation 1: running"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Make a plugins folder with the text tool in it."""
    shutil.copytree(EXAMPLES / "text-tool", tmp_path / "plugins" / "text-tool")
    return tmp_path / "plugins"


@pytest.fixture
def running(plugins: Path, tmp_path: Path) -> Generator[Supervisor]:
    """Run a supervisor that leaves the folder alone, so that a test says when it looks."""
    with supervisor(plugins, tmp_path / "state", "--no-watch") as one:
        one.wait_for_message(RUNNING)
        yield one


def change(plugins: Path, version: str, *, asks_for: str = "") -> None:
    """Give the text tool another version, which may ask for more than the first."""
    manifest = plugins / "text-tool" / "plugin.yaml"
    text = (EXAMPLES / "text-tool" / "plugin.yaml").read_text()
    text = text.replace("version: 1.0.0", f"version: {version}")
    if asks_for:
        text = text.replace("capabilities:\n", f"capabilities:\n  - {asks_for}\n")
    manifest.write_text(text)


def answer(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done = sigil(*arguments, "--json")
    assert done.returncode == code, done.stderr
    read: dict[str, Any] = json.loads(done.stdout)
    return read


def status(state: Path) -> dict[str, Any]:
    [found] = answer("ps", "text-tool", "--state", state)["plugins"]
    assert isinstance(found, dict)
    return found


NEED_A_SUPERVISOR = [
    ("ps",), ("ps", "--tree"), ("ps", "x"), ("start", "x"), ("stop", "x"), ("drain", "x"),
    ("reload", "x"), ("reload", "--all"), ("events",),
]  # fmt: skip


@pytest.mark.parametrize("command", NEED_A_SUPERVISOR, ids=" ".join)
def test_without_a_supervisor_the_exit_code_is_6_and_says_how_to_get_one(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    error = error_of(sigil(*command, "--state", tmp_path, "--json"))
    assert (error["exit_code"], error["type"]) == (6, "SupervisorUnreachableError")
    assert "sigil-actors run" in error["remedy"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["reload"], ["reload", "x", "--all"], ["ps", "x", "--tree"], ["start"], ["approve"],
        ["approve", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_what_cant_be_meant_is_2(arguments: list[str], tmp_path: Path) -> None:
    done = sigil(*arguments, "--state", tmp_path, "--json")
    assert error_of(done)["type"] == "UsageError"
    assert done.returncode == 2


def test_a_hash_that_is_none_is_3(tmp_path: Path) -> None:
    done = sigil("approve", "x", "--yes", "--snapshot", "abc", "--state", tmp_path)
    assert done.returncode == 3
    assert "64 hex digits" in done.stderr


def test_ps_shows_what_runs_as_a_table_and_as_data(running: Supervisor) -> None:
    done = sigil("ps", "--state", running.state)
    heading, row = done.stdout.splitlines()
    assert heading.split()[:3] == ["plugin", "version", "state"]
    assert row.split() == ["text-tool", "1.0.0", "running", "1", "0", "0", "healthy"]
    found = status(running.state)
    assert (found["state"], found["generation"], found["health"]) == ("running", 1, "healthy")
    assert found["held"] is None
    error = error_of(sigil("ps", "text-tol", "--state", running.state, "--json"))
    assert (error["exit_code"], error["facts"]["near"]) == (4, ["text-tool"])


def test_ps_shows_the_tree(running: Supervisor) -> None:
    shown = sigil("ps", "--tree", "--state", running.state).stdout
    assert "generation 1  running" in shown
    assert shown.splitlines()[0].startswith("runtime")
    tree = answer("ps", "--tree", "--state", running.state)
    assert {child["name"] for child in tree["children"]} >= {"enforcer", "plugins"}


def test_ps_says_what_is_wrong_and_what_was_refused(tmp_path: Path) -> None:
    with supervisor(EXAMPLES, tmp_path / "state", "--no-watch") as running:
        running.wait_for_message("plugin crasher, generation 1: running")
        for generation in (2, 3):
            assert sigil("call", *CALLS["crashing"], "--state", running.state).returncode == 1
            running.wait_for_message(f"plugin crasher, generation {generation}: running")
        assert sigil("call", *CALLS["crashing"], "--state", running.state).returncode == 1
        running.wait_for_message("quarantined")
        shown = sigil("ps", "--state", running.state).stdout
        assert "crasher: quarantined: " in shown
        assert "crasher  quarantined" in sigil("ps", "--tree", "--state", running.state).stdout
        assert f"refused: {EXAMPLES / 'broken' / 'plugin.yaml'}:2: name: " in shown


def test_a_plugin_is_stopped_started_drained_and_each_is_on_record(running: Supervisor) -> None:
    where = ("text-tool", "--state", running.state)
    assert sigil("stop", *where).stdout == "text-tool: stopped (version 1.0.0, generation 1)\n"
    refused = sigil("call", *CALLS["answered"], "--state", running.state)
    assert refused.returncode == 1
    assert "sigil-actors start" in refused.stderr
    assert answer("start", *where)["state"] == "running"
    assert sigil("call", *CALLS["answered"], "--state", running.state).returncode == 0
    assert answer("drain", *where)["state"] == "stopped"
    done = sigil("audit", "query", "--action", "operator", "--state", running.state, "--json")
    assert [
        (entry["actor"], entry["plugin"], entry["result"]) for entry in json_lines(done.stdout)
    ] == [(f"uid:{os.getuid()}", "text-tool", verb) for verb in ("stop", "start", "drain")]
    assert done.stderr == ""


@pytest.mark.parametrize("verb", ["stop", "drain"])
def test_a_stop_says_at_once_what_it_waits_for(verb: str, slow: Path, tmp_path: Path) -> None:
    with supervisor(slow, tmp_path / "state") as running:
        call = start("call", "endless", "spin", "--state", running.state)
        assert call.stdout is not None
        assert call.stdout.readline() == "spinning\n"
        stopping = start(verb, "endless", "--state", running.state)
        assert stopping.stderr is not None
        told = stopping.stderr.readline()
        assert told.startswith("waiting for 1 call in endless, for at most ")
        assert "lifecycle.graceful_shutdown_timeout" in told
        assert ("at most 5 s" in told) == (verb == "stop")
        for one in (call, stopping):
            one.kill()
            one.communicate(timeout=PATIENCE_S)


def test_a_reload_turns_to_the_new_version(plugins: Path, running: Supervisor) -> None:
    where = ("reload", "text-tool", "--state", running.state)
    change(plugins, "1.0.1")
    assert answer(*where)["version"] == "1.0.1"
    assert sigil("call", *CALLS["answered"], "--state", running.state).returncode == 0
    (plugins / "text-tool" / "plugin.yaml").write_text("name: [")
    failed = sigil(*where)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert status(running.state)["version"] == "1.0.1"


def test_a_wider_version_is_held_and_runs_once_it_is_approved(
    plugins: Path, running: Supervisor
) -> None:
    state = ("--state", running.state)
    change(plugins, "1.1.0", asks_for="exec.*")
    held = sigil("reload", "text-tool", *state)
    assert held.returncode == 1
    assert "exec.*" in held.stderr
    assert "sigil-actors approve text-tool" in held.stderr
    running.wait_for_message(f"sigil-actors approve text-tool --state {running.state}")

    shown = sigil("ps", *state).stdout
    assert "running, 1.1.0 held" in shown
    assert "text-tool  running, 1.1.0 held" in sigil("ps", "--tree", *state).stdout
    asked = answer("explain", "text-tool", "exec.run", *state, code=5)
    assert asked["remedy"] == (
        "Its version 1.1.0, which is held, asks for exec.*: sigil-actors approve text-tool"
    )
    assert asked["remedy"] in asked["text"]
    denied = answer("explain", "text-tool", "kv.get", *state, code=5)
    assert "manifest's author" in denied["remedy"]
    assert "text-tool: version 1.1.0 is held" in shown
    assert "exec.*" in shown
    assert f"sigil-actors approve text-tool --state {running.state}" in shown
    found = status(running.state)
    assert (found["version"], found["state"]) == ("1.0.0", "running")

    other = sigil("approve", "text-tool", "--yes", "--snapshot", "0" * 64, *state)
    assert other.returncode == 3
    assert status(running.state)["version"] == "1.0.0"
    snapshot = found["held"]["snapshot_sha256"]
    approved = sigil("approve", "text-tool", "--yes", "--snapshot", snapshot, *state)
    assert approved.returncode == 0, approved.stderr
    assert "exec.*" in approved.stderr
    assert approved.stdout.startswith("text-tool: running (version 1.1.0")
    again = error_of(sigil("approve", "text-tool", "--yes", *state, "--json"))
    assert (again["exit_code"], again["type"]) == (4, "NothingHeldError")


def ask_on_terminal(said: bytes, *arguments: str) -> tuple[int, str, str]:
    """Run a command with a terminal as its input, on which somebody types."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sigil_actors", *arguments],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    os.close(theirs)
    os.write(ours, said)
    out, err = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    return process.returncode, out, err


def test_on_a_terminal_a_person_is_asked_and_no_is_no(plugins: Path, running: Supervisor) -> None:
    change(plugins, "1.1.0", asks_for="exec.*")
    assert sigil("reload", "--all", "--state", running.state).returncode == 1
    approve = ("approve", "text-tool", "--state", str(running.state))
    for no in (b"\n", b"n\n", b"yess\n", b"\x04"):
        code, out, err = ask_on_terminal(no, *approve)
        assert (code, out) == (1, ""), no
        assert "exec.*" in err
        assert "Approve it? [y/N]" in err
    assert status(running.state)["version"] == "1.0.0"
    code, out, _ = ask_on_terminal(b"y\n", *approve, "--json")
    assert (code, json.loads(out)["version"]) == (0, "1.1.0")


def test_ctrl_c_at_the_question_approves_nothing(plugins: Path, running: Supervisor) -> None:
    change(plugins, "1.1.0", asks_for="exec.*")
    assert sigil("reload", "--all", "--state", running.state).returncode == 1
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sigil_actors", "approve", "text-tool"),
            *("--state", str(running.state)),
        ],
        stdin=theirs,
        stderr=subprocess.PIPE,
        env=environment(),
    )
    os.close(theirs)
    assert process.stderr is not None
    read = b""
    while b"[y/N]" not in read:
        read += os.read(process.stderr.fileno(), 4096)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE_S) == 128 + signal.SIGINT
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()
    os.close(ours)
    assert status(running.state)["version"] == "1.0.0"


def test_without_a_supervisor_a_call_says_how_to_approve_and_that_is_kept(
    plugins: Path, tmp_path: Path
) -> None:
    where = ("--plugins", plugins, "--state", tmp_path / "state")
    call: tuple[str | Path, ...] = ("call", *CALLS["answered"], *where)
    assert sigil(*call).returncode == 0
    change(plugins, "1.1.0", asks_for="exec.*")
    held = sigil(*call)
    assert (held.returncode, held.stdout) == (1, "")
    assert "sigil-actors approve text-tool" in held.stderr
    assert error_of(sigil(*call, "--json"))["type"] == "PluginHeldError"
    approved = sigil("approve", "text-tool", "--yes", *where)
    assert approved.returncode == 0, approved.stderr
    assert sigil(*call).returncode == 0


def test_reload_all_starts_what_is_new_stops_what_is_gone_and_says_so(
    plugins: Path, running: Supervisor
) -> None:
    shutil.copytree(EXAMPLES / "notes", plugins / "notes")
    change(plugins, "1.1.0", asks_for="exec.*")
    done = sigil("reload", "--all", "--state", running.state)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[0].startswith("notes: added")
    assert lines[1].startswith("text-tool: held")
    assert any("exec.*" in line for line in lines[2:])
    shutil.rmtree(plugins / "notes")
    change(plugins, "1.0.0")
    results = {
        result["plugin"]: result["what"]
        for result in answer("reload", "--all", "--state", running.state)["results"]
    }
    assert results["notes"] == "removed"
    assert "notes" not in sigil("ps", "--state", running.state).stdout


def test_a_hangup_looks_into_the_folder_and_is_ignored_while_draining(
    plugins: Path, tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLES / "endless", plugins / "endless")
    with supervisor(plugins, tmp_path / "state", "--no-watch") as running:
        running.wait_for_message(RUNNING)
        running.signal(signal.SIGHUP)
        running.wait_for_message("rescan: nothing has changed")
        change(plugins, "1.0.1")
        running.signal(signal.SIGHUP)
        running.wait_for_message("rescan: text-tool: reloaded")
        call = start("call", *CALLS["endless"], "--state", running.state)
        assert call.stdout is not None
        assert call.stdout.readline() == "spinning\n"
        running.signal(signal.SIGTERM)
        running.wait_for_message("a second signal kills")
        running.signal(signal.SIGHUP)
        running.wait_for_message("SIGHUP is ignored")
        assert running.wait() == 0
        call.communicate(timeout=PATIENCE_S)


def test_a_change_of_the_folder_is_taken_up_by_itself(plugins: Path, tmp_path: Path) -> None:
    with supervisor(plugins, tmp_path / "state") as running:
        running.wait_for_message(RUNNING)
        change(plugins, "1.0.1")
        running.wait_for_message("version 1.0.1 serves now")
        assert status(running.state)["version"] == "1.0.1"


def test_events_are_followed_line_by_line_until_the_supervisor_ends(running: Supervisor) -> None:
    as_data = start("events", "--state", running.state, "--json")
    for_people = start("events", "text-tool", "--state", running.state)
    for following in (as_data, for_people):
        assert following.stderr is not None
        assert "following" in following.stderr.readline()
    assert sigil("stop", "text-tool", "--state", running.state).returncode == 0
    assert for_people.stdout is not None
    assert for_people.stdout.readline().endswith("text-tool, generation 1: draining\n")
    running.signal(signal.SIGTERM)
    assert running.wait() == 0
    out, err = as_data.communicate(timeout=PATIENCE_S)
    assert (as_data.returncode, err) == (0, "")
    assert [line["state"] for line in json_lines(out)] == ["draining", "stopping", "stopped"]
    out = for_people.stdout.read()
    for_people.communicate(timeout=PATIENCE_S)
    assert for_people.returncode == 0
    assert out.endswith("text-tool, generation 1: stopped\n")


def test_ctrl_c_ends_the_following_and_a_killed_supervisor_too(running: Supervisor) -> None:
    interrupted, left = (start("events", "--state", running.state) for _ in range(2))
    for following in (interrupted, left):
        assert following.stderr is not None
        following.stderr.readline()
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=PATIENCE_S)
    assert interrupted.returncode == 128 + signal.SIGINT
    running.signal(signal.SIGKILL)
    _, err = left.communicate(timeout=PATIENCE_S)
    assert left.returncode == 6
    assert "went away" in err


def test_the_tools_of_a_plugin_are_described_with_a_supervisor_and_without(
    plugins: Path, running: Supervisor, tmp_path: Path
) -> None:
    where = ("describe", "text-tool", "--plugins", plugins)
    asked = answer(*where, "--state", running.state)
    assert [tool["name"] for tool in asked["tools"]] == ["stats", "find"]
    assert asked["tools"][0]["input_schema"]["required"] == ["text"]
    assert answer(*where, "--state", tmp_path / "own") == asked
    shown = sigil(*where, "--state", running.state).stdout
    assert shown.startswith("stats: Counts lines, words")
    assert "top       integer, 0 to 100  no\n" in shown
    example = shown.partition("for example: ")[2].partition("\n")[0]
    called = sigil(*shlex.split(example)[1:])
    assert called.returncode == 0, called.stderr
    assert called.stdout.startswith("lines: 1\n")


def test_what_isnt_used_because_a_supervisor_runs_is_said(
    plugins: Path, running: Supervisor, tmp_path: Path
) -> None:
    call: tuple[str | Path, ...] = ("call", *CALLS["answered"], "--state", running.state)
    assert sigil(*call, "--plugins", plugins).stderr == ""
    (tmp_path / "link").symlink_to(plugins)
    assert sigil(*call, "--plugins", tmp_path / "link").stderr == ""
    other = sigil(*call, "--plugins", EXAMPLES, "--config", tmp_path / "c.yaml")
    assert other.returncode == 0
    assert f"--plugins {EXAMPLES} is not used" in other.stderr
    assert f"the plugins of {plugins}" in other.stderr
    assert "--config" in other.stderr
    explained = sigil(
        *("explain", "text-tool", "tool.stats", "--state", running.state, "--plugins", EXAMPLES)
    )
    assert f"--plugins {EXAMPLES} is not used" in explained.stderr


def test_a_log_that_nobody_takes_blocks_neither_calls_nor_signals(
    plugins: Path, tmp_path: Path
) -> None:
    shutil.copytree(EXAMPLES / "endless", plugins / "endless")
    state = tmp_path / "state"
    # A pipe that holds 4 KiB, full before the supervisor writes its first line.
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        while True:
            os.write(writing, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writing, True)
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "sigil_actors", "run", "--json"),
            *("--plugins", str(plugins), "--state", str(state)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=writing,
        env=environment(),
        text=True,
    )
    os.close(writing)
    try:
        assert process.stdout is not None
        assert "discovered" in process.stdout.readline()
        assert "listening" in process.stdout.readline()
        assert sigil("call", *CALLS["answered"], "--state", state).returncode == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()
        os.close(reading)


def test_a_refused_manifest_is_told_once(tmp_path: Path) -> None:
    run = start("run", "--plugins", EXAMPLES, "--state", tmp_path / "state")
    wait_until((tmp_path / "state" / "control" / "socket").exists, "the control socket")
    run.send_signal(signal.SIGTERM)
    out, err = run.communicate(timeout=PATIENCE_S)
    assert (out + err).count("plugin.yaml:3: version: ") == 1


def test_why_a_plugin_that_is_down_may_do_nothing_is_told_with_what_brings_it_up(
    plugins: Path, running: Supervisor
) -> None:
    state = ("--state", running.state)
    assert sigil("stop", "text-tool", *state).returncode == 0
    asked = answer("explain", "text-tool", "tool.stats", *state, code=5)
    assert asked["remedy"] == "It is stopped; if it may run: sigil-actors start text-tool"
    change(plugins, "1.1.0", asks_for="exec.*")
    assert sigil("start", "text-tool", *state).returncode == 1
    asked = answer("explain", "text-tool", "tool.stats", *state, code=5)
    assert asked["remedy"] == (
        "Its version 1.1.0 is held; if it may run: sigil-actors approve text-tool"
    )
