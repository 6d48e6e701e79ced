"""`run`: what it says at the start, how it ends, what a kill leaves behind."""

import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sigil_actors.cli.exit_codes import ExitCode
from tests.cli.command import (
    EXAMPLES,
    PATIENCE_S,
    Supervisor,
    environment,
    error_of,
    sigil,
    supervisor,
)
from tests.cli.test_call import CALLS, slow, start

__all__ = ["slow"]  # a fixture


def test_what_was_found_and_refused_is_told_with_file_and_line(tmp_path: Path) -> None:
    running = Supervisor(EXAMPLES, tmp_path / "state")
    try:
        found = running.line()
        assert found["event"] == "discovered"
        assert "text-tool" in {plugin["name"] for plugin in found["plugins"]}
        [refused] = found["problems"]
        assert refused["file"] == str(EXAMPLES / "broken" / "plugin.yaml")
        assert all(problem["line"] > 0 for problem in refused["problems"])
        assert running.line() == {"event": "listening", "socket": str(running.socket)}
        running.wait_for_message("plugin text-tool, generation 1: running")
    finally:
        running.close()


def test_people_get_a_table_on_standard_output_and_the_log_beside_it(tmp_path: Path) -> None:
    run = start("run", "--plugins", EXAMPLES, "--state", tmp_path / "state")
    assert run.stdout is not None
    lines: list[str] = []
    while not lines or "text-tool" not in lines[-1]:
        lines.append(run.stdout.readline())
    assert lines[0].split() == ["plugin", "version", "type", "tier"]
    assert any(line.split() == ["text-tool", "1.0.0", "tool", "wasm"] for line in lines)
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0, err
    assert f"a plugin is not loaded: {EXAMPLES / 'broken' / 'plugin.yaml'}:2: " in err
    assert "stopped" in err
    assert f"try: sigil-actors ps --state {tmp_path / 'state'}\n" in err
    assert "Traceback" not in err


def test_an_empty_plugins_folder_is_fine_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    run = start("run", "--plugins", tmp_path / "plugins", "--state", tmp_path / "state")
    assert run.stderr is not None
    assert "holds no plugin" in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, out) == (0, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_drains_and_the_exit_code_is_0(number: signal.Signals, tmp_path: Path) -> None:
    with supervisor(EXAMPLES, tmp_path / "state") as running:
        running.wait_for_message("plugin text-tool, generation 1: running")
        running.signal(number)
        assert running.wait() == 0
        messages = running.messages()
        assert "plugin text-tool, generation 1: stopped" in messages
        assert messages[-1] == "stopped"
        assert not running.socket.exists()
        assert not (running.state / "snapshots").exists()
    assert sigil("audit", "verify", "--state", tmp_path / "state").returncode == 0


HANGS_UP = """
import os, signal, sys

signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it

class HangsUp:
    def find_spec(self, name, path=None, target=None):
        if name == "cyclopts":  # the first that takes a while
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, HangsUp())
from sigil_actors.cli.main import main
main()
"""


@pytest.mark.parametrize(
    ("command", "code"),
    [(("run", "--plugins", "missing"), ExitCode.NOT_FOUND), (("ps",), -signal.SIGHUP)],
)
def test_a_hangup_kills_no_supervisor_that_has_just_begun_to_start(
    command: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", HANGS_UP, *command],
        cwd=tmp_path,
        capture_output=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=False,
    )
    assert done.returncode == code, done.stderr


def test_a_drain_finishes_the_accepted_work(tmp_path: Path) -> None:
    with supervisor(EXAMPLES, tmp_path / "state") as running:
        call = start("call", *CALLS["endless"], "--state", running.state)
        assert call.stdout is not None
        assert call.stdout.readline() == "spinning\n"
        running.signal(signal.SIGTERM)
        _, err = call.communicate(timeout=PATIENCE_S)
        assert running.wait() == 0
        assert call.returncode == 1
        assert "plugin 'endless' reached its bound on wall clock" in err


def test_a_supervisor_that_drains_tells_how_it_is_and_does_nothing_new(
    slow: Path, tmp_path: Path
) -> None:
    state = ("--state", tmp_path / "state")
    with supervisor(slow, tmp_path / "state") as running:
        call = start("call", "endless", "spin", *state)
        assert call.stdout is not None
        assert call.stdout.readline() == "spinning\n"
        running.signal(signal.SIGTERM)
        running.wait_for_message("endless, generation 1: draining")
        running.wait_for_message("draining, waiting for 1 call in endless, each")
        listed = sigil("ps", *state)
        assert (listed.returncode, "draining" in listed.stdout) == (0, True), listed.stderr
        assert sigil("ps", "--tree", *state).stdout.startswith("runtime  stopping")
        for refused in (("call", "endless", "spin"), ("start", "endless"), ("reload", "--all")):
            error = error_of(sigil(*refused, *state, "--json"))
            assert (error["exit_code"], error["type"]) == (6, "SupervisorStoppingError")
        follower = start("events", *state)
        assert follower.stderr is not None
        assert "following" in follower.stderr.readline()
        running.signal(signal.SIGTERM)
        assert running.wait() == 128 + signal.SIGTERM
        assert not running.socket.exists()
        for one in (call, follower):
            one.communicate(timeout=PATIENCE_S)


def test_a_second_signal_kills(slow: Path, tmp_path: Path) -> None:
    with supervisor(slow, tmp_path / "state") as running:
        call = start("call", "endless", "spin", "--state", running.state)
        assert call.stdout is not None
        assert call.stdout.readline() == "spinning\n"
        began = time.monotonic()
        running.signal(signal.SIGTERM)
        running.wait_for_message("endless, generation 1: draining")
        running.signal(signal.SIGINT)
        assert running.wait() == 128 + signal.SIGINT
        # The call had a minute left, and the drain half of one.
        assert time.monotonic() - began < 20
        assert "SIGINT again: killing" in running.messages()
        assert call.communicate(timeout=PATIENCE_S)[0] == ""
        assert call.returncode in {1, 6}
    assert sigil("audit", "verify", "--state", tmp_path / "state").returncode == 0


def test_what_a_call_has_run_isnt_held_by_the_supervisor_that_comes_after_it(
    tmp_path: Path,
) -> None:
    where = ("--plugins", EXAMPLES, "--state", tmp_path / "state")
    assert sigil("call", *CALLS["answered"], *where).returncode == 0
    with supervisor(EXAMPLES, tmp_path / "state"):
        called = sigil("call", *CALLS["answered"], "--state", tmp_path / "state")
        assert called.returncode == 0, called.stderr


def test_a_killed_supervisor_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    state = tmp_path / "state"
    for _ in range(3):
        with supervisor(EXAMPLES, state) as running:
            called = sigil("call", *CALLS["answered"], "--state", state)
            assert called.returncode == 0, called.stderr
            running.signal(signal.SIGKILL)
            assert running.wait() == -signal.SIGKILL
            assert running.socket.exists()
        # Nobody listens, so that the call makes a runtime of its own.
        where = ("--plugins", EXAMPLES, "--state", state)
        assert sigil("call", *CALLS["answered"], *where).returncode == 0
    assert sigil("audit", "verify", "--state", state).returncode == 0


def test_a_second_supervisor_with_the_same_state_is_refused_by_name(tmp_path: Path) -> None:
    with supervisor(EXAMPLES, tmp_path / "state") as running:
        done = sigil("run", "--plugins", EXAMPLES, "--state", running.state, "--json")
        error = error_of(done)
        assert (error["exit_code"], error["type"]) == (1, "StateFolderHeldError")
        assert error["facts"]["holder"] == str(running.process.pid)
        assert sigil("call", *CALLS["answered"], "--state", running.state).returncode == 0


def test_the_socket_is_for_its_owner_alone(tmp_path: Path) -> None:
    with supervisor(EXAMPLES, tmp_path / "state") as running:
        found = running.socket.stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert stat.S_IMODE(running.socket.parent.stat().st_mode) == 0o700


def test_a_long_path_of_the_state_folder_is_no_matter(tmp_path: Path) -> None:
    state = tmp_path / ("x" * 120) / ("y" * 120)
    state.mkdir(parents=True)
    with supervisor(EXAMPLES, state):
        done = sigil("call", *CALLS["answered"], "--state", state)
        assert done.returncode == 0, done.stderr


def test_the_configuration_reaches_its_plugin_and_a_stranger_in_it_is_told(
    tmp_path: Path,
) -> None:
    shutil.copytree(EXAMPLES / "text-tool", tmp_path / "plugins" / "text-tool")
    manifest = tmp_path / "plugins" / "text-tool" / "plugin.yaml"
    manifest.write_text(manifest.read_text() + "\nconfig_schema: {required: [token]}\n")
    config = tmp_path / "config.yaml"
    config.write_text("plugins:\n  text-tool: {token: t}\n  nobody: {}\n")
    where = ("--plugins", tmp_path / "plugins", "--state", tmp_path / "own")
    assert sigil("call", *CALLS["answered"], *where).returncode == 1
    assert sigil("call", *CALLS["answered"], *where, "--config", config).returncode == 0
    with supervisor(tmp_path / "plugins", tmp_path / "state", "--config", str(config)) as running:
        running.wait_for_message("names the plugin nobody, which isn't there")
        running.wait_for_message("text-tool, generation 1: running")


@pytest.mark.parametrize("relative", [False, True])
def test_the_state_folder_is_the_one_of_xdg_which_has_to_be_absolute(
    tmp_path: Path, *, relative: bool
) -> None:
    named = "somewhere" if relative else str(tmp_path / "xdg")
    env = environment(XDG_STATE_HOME=named, HOME=str(tmp_path / "home"))
    call = ("call", *CALLS["answered"], "--plugins", str(EXAMPLES))
    assert sigil(*call, env=env, cwd=tmp_path).returncode == 0
    base = tmp_path / "home" / ".local" / "state" if relative else tmp_path / "xdg"
    assert (base / "sigil-actors" / "audit").is_dir()
    assert sorted(path.name for path in tmp_path.iterdir()) == (["home"] if relative else ["xdg"])
