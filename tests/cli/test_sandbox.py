"""`sandbox`: a plugin's plan on this machine, with nothing of the plugin run."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.command import EXAMPLES, PATIENCE_S, environment, error_of, sigil

MANIFEST = """\
name: notes
version: 1.0.0
type: tool
execution:
  tier: process
  env: {GREETING: "a \\u001b[2J b"}
  sandbox:
    filesystem:
      write_allow: [/srv/notes/self/*]
      read_deny: [/usr/share/*, /etc/shadow]
    network: {allow: ["a.example:443"]}
"""


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    folder = tmp_path / "plugins" / "notes"
    folder.mkdir(parents=True)
    (folder / "plugin.yaml").write_text(MANIFEST)
    (folder / "notes").write_text("#!/bin/sh\ntouch ran\n")
    (folder / "notes").chmod(0o755)
    return folder


def test_the_plan_and_the_command_line_are_shown_and_nothing_is_run(
    plugin: Path, require: Callable[[str], None]
) -> None:
    require("bwrap")
    done = sigil("sandbox", plugin)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.rstrip(" \\") for line in done.stdout.splitlines()]
    words = [line.split() for line in lines]
    assert ["/srv/notes/notes", "writable", "write_allow[0]"] in words
    assert ["/usr/share", "hidden", "read_deny"] in words
    assert [str(plugin), "read-only", "the", "plugin's", "own", "folder"] in words
    assert "  --unshare-net" in lines
    assert "  --seccomp '<descriptor: seccomp>'" in lines
    assert lines[-1].endswith(f" -- {plugin}/notes")
    assert not any(line[:1] == ["/etc/localtime"] for line in words)  # it lies below /usr/share
    assert "\x1b" not in done.stdout
    assert not list(plugin.glob("**/ran"))


def test_the_plan_as_json(plugin: Path, require: Callable[[str], None]) -> None:
    require("bwrap")
    done = sigil("sandbox", plugin, "--json")
    assert done.returncode == 0
    told = json.loads(done.stdout)
    assert (told["plugin"], told["tier"], told["possible"], told["lacks"]) == (
        *("notes", "process"),
        *(True, []),
    )
    plan = told["plan"]
    assert plan["command"] == [f"{plugin}/notes"]
    assert (plan["network"], plan["proxy_port"]) == ("proxy", 3128)
    assert plan["limits"] == {
        "memory_bytes": 256 << 20, "pids": 100, "open_files": 1024, "cpu": 1.0
    }  # fmt: skip
    assert plan["environment"]["GREETING"] == "a \x1b[2J b"
    hidden = [mount["path"] for mount in plan["mounts"] if mount["what"] == "hidden"]
    assert hidden == ["/usr/share"]
    assert told["command_line"][-2:] == ["--", f"{plugin}/notes"]


WITHOUT_BUBBLEWRAP = """
import sys
from sigil_actors.cli.main import run
from sigil_actors.tiers.process.sandbox import probe

probe.find_bubblewrap = lambda: None
sys.exit(run(sys.argv[1:]))
"""


def sigil_without_bubblewrap(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_BUBBLEWRAP, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=environment(),
        check=False,
    )


def test_a_machine_without_bubblewrap_is_8_and_says_what_to_do(plugin: Path) -> None:
    done = sigil_without_bubblewrap("sandbox", plugin)
    assert done.returncode == 8
    assert "--unshare-net" in done.stdout
    assert "bubblewrap isn't installed" in done.stderr
    assert "apt install bubblewrap" in done.stderr
    as_json = sigil_without_bubblewrap("sandbox", plugin, "--json")
    assert as_json.returncode == 8
    assert json.loads(as_json.stdout)["possible"] is False
    assert error_of(as_json)["type"] == "SandboxUnavailableError"


@pytest.mark.parametrize(
    "path", ["/home/*", "{plugin}/data", "{plugins}/*", "{state}/x", "/proc/1"]
)
def test_what_no_sandbox_gives_is_3_with_its_key(plugin: Path, tmp_path: Path, path: str) -> None:
    asked = path.format(plugin=plugin, plugins=plugin.parent, state=tmp_path / "state")
    (plugin / "plugin.yaml").write_text(MANIFEST.replace("/srv/notes/self/*", asked))
    done = sigil("sandbox", plugin, "--state", tmp_path / "state")
    assert (done.returncode, done.stdout) == (3, "")
    assert "execution.sandbox.filesystem.write_allow[0]" in done.stderr


def test_a_plugin_of_another_tier_needs_none() -> None:
    done = sigil("sandbox", EXAMPLES / "text-tool")
    assert done.returncode == 0
    assert "wasm tier" in done.stdout
    as_json = sigil("sandbox", EXAMPLES / "text-tool", "--json")
    assert json.loads(as_json.stdout) == {"plugin": "text-tool", "tier": "wasm", "plan": None}


def test_a_broken_manifest_is_3_and_none_is_4(tmp_path: Path) -> None:
    broken = sigil("sandbox", EXAMPLES / "broken")
    assert broken.returncode == 3
    assert "version" in broken.stderr
    assert sigil("sandbox", tmp_path).returncode == 4
    assert sigil("sandbox", tmp_path / "none").returncode == 4
