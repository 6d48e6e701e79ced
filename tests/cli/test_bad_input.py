"""What is wrong from the start: each a typed error with its remedy and its exit code."""

import json
import os
import pwd
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_actors.cli import folders
from sigil_actors.cli.errors import InvalidInputError
from sigil_actors.cli.exit_codes import exit_code
from sigil_actors.control.error_report import report_of
from tests.cli.command import (
    EXAMPLES,
    PATIENCE_S,
    environment,
    error_of,
    json_lines,
    sigil,
    supervisor,
)

STATS = '{"text": "a b"}'
MANIFEST = """\
name: {name}
version: 1.0.0
type: tool
capabilities: [tool.stats]
execution: {tier: wasm}
"""
SEGMENT = "segment-000001.db"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Make a plugins folder with the text tool in it."""
    shutil.copytree(EXAMPLES / "text-tool", tmp_path / "plugins" / "text-tool")
    return tmp_path / "plugins"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def add_plugin(plugins: Path, name: str, module: bytes | None, manifest: str = MANIFEST) -> None:
    folder = plugins / name
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text(manifest.replace("{name}", name))
    if module is not None:
        (folder / "plugin.wasm").write_bytes(module)


@pytest.mark.parametrize("command", [["run"], ["call", "x", "y"], ["explain", "x", "y"]])
def test_a_missing_plugins_folder_is_4(command: list[str], tmp_path: Path, state: Path) -> None:
    done = sigil(*command, "--plugins", tmp_path / "none", "--state", state, "--json")
    assert done.returncode == 4
    error = error_of(done)
    assert error["type"] == "PathNotFoundError"
    assert "--plugins" in error["remedy"]
    assert not state.exists()


def test_the_plugins_folder_by_default_is_plugins(tmp_path: Path, state: Path) -> None:
    done = sigil("run", "--state", state, cwd=tmp_path)
    assert done.returncode == 4
    assert f"there is no plugins folder {tmp_path / 'plugins'}\n" in done.stderr


def test_a_plugins_folder_that_is_a_file_is_3(tmp_path: Path, state: Path) -> None:
    (tmp_path / "file").touch()
    done = sigil("run", "--plugins", tmp_path / "file", "--state", state)
    assert done.returncode == 3
    assert "is not a folder" in done.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_plugins_folder_is_3(plugins: Path, state: Path) -> None:
    plugins.chmod(0)
    try:
        done = sigil("run", "--plugins", plugins, "--state", state)
    finally:
        plugins.chmod(0o700)
    assert done.returncode == 3
    assert "can't be read" in done.stderr


def test_a_folder_that_the_system_wont_show_is_3(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refused(_folder: Path) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InvalidInputError, match="can't be read: Permission denied") as caught:
        folders.check_plugins_folder(tmp_path)
    assert exit_code(report_of(caught.value).kinds) == 3


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("", "line 1, column 1"),
        ("{", "line 1, column 2"),
        ('{"text":\n nope}', "line 2, column 2"),
        ("[1]", "an array"),
        ("null", "null"),
        ('"text"', "a text"),
        ("12", "a number"),
        ("-12", "a number"),
        ("true", "a boolean"),
        ('{"a": NaN}', "NaN"),
        ('{"a": %s}' % ("9" * 5000), "digits"),
        ("[" * 100_000, "too deep"),
    ],
)
def test_arguments_that_are_no_json_object_are_3_and_nothing_is_started(
    arguments: str, told: str, plugins: Path, state: Path
) -> None:
    done = sigil("call", "text-tool", "stats", arguments, "--plugins", plugins, "--state", state)
    assert done.returncode == 3
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert not state.exists()


@pytest.mark.parametrize(
    ("stdin", "told"),
    [
        (b"", "line 1, column 1"),
        (b'{"text":\n\xff}', "UTF-8 (line 2)"),
        (b" " * (4 * 1024 * 1024 + 1), "over 4194304 bytes"),
    ],
)
def test_arguments_on_standard_input_are_checked_like_others(
    stdin: bytes, told: str, plugins: Path, state: Path
) -> None:
    done = sigil(
        *("call", "text-tool", "stats", "-", "--plugins", plugins, "--state", state), stdin=stdin
    )
    assert done.returncode == 3
    assert told in done.stderr


def test_arguments_that_dont_fit_the_schema_are_3(plugins: Path, state: Path) -> None:
    done = sigil("call", "text-tool", "stats", "{}", "--plugins", plugins, "--state", state)
    assert done.returncode == 3
    assert '"text" is a required property' in done.stderr


def test_an_unknown_plugin_is_4_with_names_that_are_near(plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state, "--json")
    error = error_of(sigil("call", "text-tol", "stats", STATS, *where))
    assert (error["exit_code"], error["facts"]["near"]) == (4, ["text-tool"])
    error = error_of(sigil("explain", "\x1b[2J", "kv.get", *where))
    assert error["exit_code"] == 4
    assert "\x1b" not in error["what"]


def test_an_unknown_tool_is_4_with_the_tools_that_there_are(plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state, "--json")
    error = error_of(sigil("call", "text-tool", "sats", STATS, *where))
    assert (error["exit_code"], error["type"]) == (4, "ToolNotFoundError")
    assert "stats" in error["remedy"]


@pytest.mark.parametrize(
    ("option", "pattern"),
    [("--workspace-allow", "a..b"), ("--user-permissions", "a b"), ("--user-permissions", "")],
)
def test_a_malformed_pattern_is_3(option: str, pattern: str, plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state, option, pattern, "--json")
    assert error_of(sigil("call", "text-tool", "stats", STATS, *where))["exit_code"] == 3
    assert error_of(sigil("explain", "text-tool", "tool.stats", *where))["exit_code"] == 3
    assert not state.exists()


WASM = (EXAMPLES / "text-tool" / "plugin.wasm").read_bytes()


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("text", b"this is no module\n" * 100),
        ("truncated", WASM[: len(WASM) // 2]),
        ("empty", b""),
        ("missing", None),
        ("huge", WASM + b"\0" * (17 * 1024 * 1024)),
    ],
)
def test_a_module_that_cant_be_used_is_told_at_once_and_the_rest_goes_on(
    name: str, module: bytes | None, plugins: Path, state: Path
) -> None:
    add_plugin(plugins, name, module)
    where = ("--plugins", plugins, "--state", state)
    done = sigil("call", name, "stats", STATS, *where)
    assert done.returncode == 1
    assert f"plugin '{name}'" in done.stderr
    assert "what to do: " in done.stderr
    assert "Traceback" not in done.stderr
    assert sigil("call", "text-tool", "stats", STATS, *where).returncode == 0


BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{after}: &{after} [{','.join(['*' + before] * 9)}]\n"
    for before, after in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    "manifest",
    [
        b"#" * (10 * 1024 * 1024),
        b"\x00\xff\x1b\x80" * 500,
        BOMB.encode(),
        b"name: [unclosed",
        b"",
        b"- just\n- a list\n",
    ],
    ids=["10 MiB", "binary", "exploding aliases", "syntax", "empty", "list"],
)
def test_a_manifest_that_cant_be_read_is_3_and_the_rest_goes_on(
    manifest: bytes, plugins: Path, state: Path
) -> None:
    bad = plugins / "bad"
    bad.mkdir()
    (bad / "plugin.yaml").write_bytes(manifest)
    where = ("--plugins", plugins, "--state", state)
    checked = sigil("validate", plugins, "--json")
    assert checked.returncode == 3
    report = json.loads(checked.stdout)
    told = {Path(one["file"]).parent.name: one for one in report["manifests"]}
    assert told["text-tool"]["ok"] is True
    assert told["bad"]["ok"] is False
    assert all(problem["line"] >= 1 for problem in told["bad"]["problems"])
    assert sigil("call", "bad", "x", *where).returncode == 3
    assert sigil("call", "text-tool", "stats", STATS, *where).returncode == 0


def test_two_plugins_of_one_name_are_both_refused_and_the_rest_goes_on(
    plugins: Path, state: Path
) -> None:
    add_plugin(plugins, "one", WASM, MANIFEST.replace("{name}", "twin"))
    add_plugin(plugins, "two", WASM, MANIFEST.replace("{name}", "twin"))
    where = ("--plugins", plugins, "--state", state)
    error = error_of(sigil("call", "twin", "stats", STATS, *where, "--json"))
    assert error["exit_code"] == 3
    assert "two plugins are named 'twin'" in error["what"]
    assert sigil("call", "text-tool", "stats", STATS, *where).returncode == 0


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ("plugin: {}\n", "config.yaml:1: plugin: is unknown"),
        ("plugins:\n  text-tool: 5\n", "config.yaml:2: plugins.text-tool: is no mapping"),
        ("plugins:\n  Bad Name: {}\n", "config.yaml:2: plugins['Bad Name']"),
        ("plugins: []\n", "config.yaml:1: plugins: is no mapping"),
        ("- a\n", "config.yaml:1: is no mapping"),
        ("plugins: {a: {}, a: {}}\n", "config.yaml:1: plugins.a: is there twice"),
        ("plugins: [unclosed\n", "config.yaml:2: isn't YAML"),
    ],
)
def test_a_configuration_that_cant_be_used_is_3_with_file_and_line(
    config: str, told: str, plugins: Path, state: Path, tmp_path: Path
) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config)
    where = ("--plugins", plugins, "--state", state, "--config", file)
    for command in (["call", "text-tool", "stats", STATS], ["run"]):
        done = sigil(*command, *where)
        assert done.returncode == 3, done.stderr
        assert told in done.stderr


def test_a_configuration_that_isnt_there_is_4(plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state, "--config", state / "none.yaml")
    assert sigil("run", *where).returncode == 4


def test_a_state_folder_that_cant_be_made_is_1_with_its_remedy(
    plugins: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    where = ("--plugins", plugins, "--state", tmp_path / "file" / "state")
    for command in (["call", "text-tool", "stats", STATS], ["run"]):
        done = sigil(*command, *where)
        assert done.returncode == 1
        assert "what to do: Name a folder" in done.stderr


def test_an_audit_file_that_is_no_database_is_3_and_nothing_runs(
    plugins: Path, state: Path
) -> None:
    log = state / "audit" / SEGMENT
    log.parent.mkdir(parents=True)
    log.write_bytes(b"no database\n" * 2000)
    where = ("--plugins", plugins, "--state", state)
    for command in (["run"], ["call", "text-tool", "stats", STATS], ["audit", "query"]):
        options = where if command[0] != "audit" else where[2:]
        done = sigil(*command, *options)
        assert (done.returncode, done.stdout) == (3, ""), command
        assert "is not a SQLite database" in done.stderr
        assert "what to do: " in done.stderr
    verified = sigil("audit", "verify", "--state", state, "--json")
    assert verified.returncode == 7
    assert json.loads(verified.stdout)["first_bad"]["kind"] in {"foreign", "unreadable"}
    assert log.read_bytes() == b"no database\n" * 2000


def test_a_database_of_another_program_is_3(plugins: Path, state: Path) -> None:
    log = state / "audit" / SEGMENT
    log.parent.mkdir(parents=True)
    connection = sqlite3.connect(log)
    connection.execute("CREATE TABLE something (x)")
    connection.close()
    assert sigil("audit", "query", "--state", state).returncode == 3
    done = sigil("call", "text-tool", "stats", STATS, "--plugins", plugins, "--state", state)
    assert done.returncode == 3


def test_a_locked_audit_log_is_1_with_its_remedy_within_seconds(plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state)
    assert sigil("call", "text-tool", "stats", STATS, *where).returncode == 0
    connection = sqlite3.connect(state / "audit" / SEGMENT, isolation_level=None)
    try:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        connection.execute("SELECT count(*) FROM entry").fetchall()
        for command in (["call", "text-tool", "stats", STATS, *where], ["audit", "query"]):
            options = () if command[0] == "call" else ("--state", state)
            done = sigil(*command, *options)
            assert (done.returncode, done.stdout) == (1, "")
            assert "is locked by another program" in done.stderr
            assert "what to do: Close whatever else" in done.stderr
    finally:
        connection.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everything")
def test_a_read_only_audit_log_takes_no_call_and_can_be_read(plugins: Path, state: Path) -> None:
    where = ("--plugins", plugins, "--state", state)
    assert sigil("call", "text-tool", "stats", STATS, *where).returncode == 0
    (state / "audit" / SEGMENT).chmod(0o400)
    (state / "audit").chmod(0o500)
    try:
        done = sigil("call", "text-tool", "stats", STATS, *where)
        assert done.returncode == 1
        assert "read-only" in done.stderr or "may not be accessed" in done.stderr
        query = sigil("audit", "query", "--state", state, "--json")
        assert query.returncode == 0
        assert len(json_lines(query.stdout)) > 3
        assert sigil("audit", "verify", "--state", state).returncode == 0
    finally:
        (state / "audit").chmod(0o700)


def in_shell(redirection: str, state: Path) -> "subprocess.CompletedProcess[str]":
    """Run `validate` on the examples with a stream as the shell leaves it."""
    command = f'"$1" -m sigil_actors validate "$2/text-tool" {redirection}'
    return subprocess.run(
        ["bash", "-c", command, "bash", sys.executable, str(EXAMPLES)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        cwd=state,
        env=environment(),
        check=False,
    )


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&-"])
def test_a_closed_stream_is_as_if_nobody_listened(redirection: str, tmp_path: Path) -> None:
    done = in_shell(redirection, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert ("OK" in done.stdout) == (">&-" not in redirection.replace("2>&-", ""))


def test_a_full_output_is_told_in_a_line(tmp_path: Path) -> None:
    done = in_shell(">/dev/full", tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: the output can't be written")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["demo"], ["doctor"], ["validate", str(EXAMPLES)]])
def test_an_output_that_nobody_reads_any_more_ends_the_command_quietly(
    command: list[str], tmp_path: Path
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sigil_actors", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
        env=environment(XDG_STATE_HOME=str(tmp_path)),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(PATIENCE_S) == 128 + signal.SIGPIPE
    assert b"Traceback" not in told


@pytest.mark.parametrize("how", [["--help"], ["call", "--help"], ["--version"]])
def test_a_help_that_nobody_reads_ends_quietly_like_any_output(how: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "sigil_actors", *how],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(PATIENCE_S) == 128 + signal.SIGPIPE


LONG = "x" * 5000


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["validate", LONG], 4),
        (["run", "--plugins", LONG, "--state", "s"], 3),
        (["run", "--plugins", ".", "--state", LONG], 1),
        (["call", "x", "y", "--plugins", LONG, "--state", "s"], 3),
        (["explain", "x", "y", "--state", LONG], 6),
        (["ps", "--state", LONG], 6),
        (["audit", "query", LONG], 3),
        (["audit", "verify", "--state", LONG], 3),
        (["run", "--plugins", ".", "--state", "s", "--config", LONG], 3),
        (["doctor", "--state", LONG], 3),
        (["demo", "--plugins", LONG], 3),
    ],
    ids=lambda part: " ".join(part).replace(LONG, "LONG") if isinstance(part, list) else None,
)
def test_a_path_that_is_too_long_is_told_like_any_other_wrong_one(
    command: list[str], code: int, tmp_path: Path
) -> None:
    done = sigil(*command, cwd=tmp_path)
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.returncode == code, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["validate", "x"],
        ["run"],
        ["call", "x", "y"],
        ["explain", "x", "y"],
        ["ps", "--state", "s"],
        ["audit", "verify", "--state", "s"],
        ["doctor", "--state", "s"],
    ],
    ids=" ".join,
)
def test_a_current_folder_that_is_gone_is_told_in_a_line(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd "$1" && rmdir "$1" && shift && exec "$@"'
    done = subprocess.run(
        [
            *("sh", "-c", script, "sh", str(tmp_path / "gone")),
            *(sys.executable, "-P", "-m", "sigil_actors", *command),
        ],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(XDG_STATE_HOME=str(tmp_path / "state")),
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.returncode in {3, 4, 6}


def test_a_home_that_is_empty_is_the_one_that_the_system_knows(tmp_path: Path) -> None:
    done = sigil("ps", env=environment(HOME=""), cwd=tmp_path)
    assert done.returncode == 6
    assert f"in {pwd.getpwuid(os.getuid()).pw_dir}/.local/state/sigil-actors" in done.stderr


@pytest.mark.parametrize("command", [["call", "text-tool", "stats", STATS], ["run"]])
def test_a_configuration_that_is_a_pipe_holds_nobody(
    command: list[str], plugins: Path, state: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    where = ("--plugins", plugins, "--state", state, "--config", tmp_path / "pipe")
    done = sigil(*command, *where)
    assert done.returncode == 3
    assert "is not a regular file" in done.stderr


def test_a_capability_that_is_none_is_3_with_a_supervisor_and_without(
    plugins: Path, state: Path
) -> None:
    where = ("--plugins", plugins, "--state", state)
    assert sigil("explain", "text-tool", "a..b", *where).returncode == 3
    with supervisor(plugins, state):
        assert sigil("explain", "text-tool", "a..b", *where).returncode == 3


def test_without_a_supervisor_a_plugin_that_doesnt_come_up_is_tried_once(
    plugins: Path, state: Path
) -> None:
    add_plugin(plugins, "junk", b"junk")
    with (plugins / "text-tool" / "plugin.yaml").open("a") as manifest:
        manifest.write('\ndependencies: {junk: ">= 1.0.0"}\n')
    for plugin in ("junk", "text-tool"):
        done = sigil("call", plugin, "stats", STATS, "--plugins", plugins, "--state", state)
        assert done.returncode == 1
        assert f"plugin '{plugin}' doesn't come up: " in done.stderr
        assert "starts with the bytes 6a 75 6e 6b, not with 00 61 73 6d" in done.stderr
        assert done.stderr.count("it is started again in") == 1
