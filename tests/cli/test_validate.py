"""`validate` and `explain`: what manifests say, with nothing run."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.command import EXAMPLES, sigil

BROKEN = EXAMPLES / "broken" / "plugin.yaml"


def test_every_problem_has_its_file_line_path_and_remedy() -> None:
    done = sigil("validate", BROKEN)
    assert done.returncode == 3
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) >= 5
    assert all(line.startswith(f"{BROKEN}:") for line in lines)
    assert any(line.startswith(f"{BROKEN}:3: version: ") for line in lines)


def test_a_folder_of_plugins_is_checked_whole() -> None:
    done = sigil("validate", EXAMPLES, "--json")
    assert done.returncode == 3
    report = json.loads(done.stdout)
    assert report["ok"] is False
    told = {Path(one["file"]).parent.name: one["ok"] for one in report["manifests"]}
    assert told.pop("broken") is False
    assert set(told) >= {"text-tool", "notes", "greedy", "crasher", "endless"}
    assert all(told.values())
    broken = next(one for one in report["manifests"] if not one["ok"])
    problem = broken["problems"][0]
    assert set(problem) == {"path", "line", "what", "remedy"}


@pytest.mark.parametrize("path", [EXAMPLES / "text-tool", EXAMPLES / "text-tool" / "plugin.yaml"])
def test_a_plugins_folder_and_its_manifest_are_the_same(path: Path) -> None:
    done = sigil("validate", path)
    assert done.returncode == 0
    assert done.stdout == (
        f"{EXAMPLES / 'text-tool' / 'plugin.yaml'}: OK: text-tool 1.0.0, tool, wasm\n"
    )


def test_a_path_that_isnt_there_is_4_and_the_others_are_checked(tmp_path: Path) -> None:
    done = sigil("validate", EXAMPLES / "text-tool", tmp_path / "none", "--json")
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert report["ok"] is False
    assert [one["plugin"] for one in report["manifests"]] == ["text-tool"]
    assert report["missing"] == [str(tmp_path / "none")]


def test_a_folder_without_a_manifest_is_4(tmp_path: Path) -> None:
    done = sigil("validate", tmp_path)
    assert (done.returncode, done.stdout) == (4, "")
    assert f"there is no manifest in {tmp_path}" in done.stderr


@pytest.mark.parametrize("by_its_file", [False, True])
def test_a_module_that_isnt_there_yet_is_a_remark(tmp_path: Path, *, by_its_file: bool) -> None:
    shutil.copytree(EXAMPLES / "text-tool", tmp_path / "text-tool")
    (tmp_path / "text-tool" / "plugin.wasm").unlink()
    path = tmp_path / "text-tool"
    done = sigil("validate", path / "plugin.yaml" if by_its_file else path)
    assert done.returncode == 0
    assert "execution.module: there is no file ./plugin.wasm" in done.stdout


def test_a_deny_that_cuts_a_piece_out_is_a_remark(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "plugin.yaml").write_text(
        "name: files\nversion: 1.0.0\ntype: tool\ncapabilities: [filesystem.*]\n"
        "deny_capabilities: [filesystem.write.*]\nexecution: {tier: wasm}\n"
    )
    done = sigil("validate", folder)
    assert done.returncode == 0
    assert "(a remark)" in done.stdout
    [one] = json.loads(sigil("validate", folder, "--json").stdout)["manifests"]
    assert one["ok"] is True
    assert [remark["path"] for remark in one["remarks"]][1:] == ["execution.module"]


def explain(*arguments: str, state: Path) -> dict[str, object]:
    done = sigil("explain", *arguments, "--plugins", EXAMPLES, "--state", state, "--json")
    explanation: dict[str, object] = json.loads(done.stdout)
    assert done.returncode == (0 if explanation["allowed"] else 5), done.stderr
    return explanation


def test_a_denial_is_explained_set_by_set_with_what_would_change_it(tmp_path: Path) -> None:
    told = explain("greedy", "exec.run", state=tmp_path)
    assert (told["allowed"], told["reason"]) == (False, "plugin_allow_missing")
    assert "capabilities" in str(told["remedy"])
    done = sigil("explain", "greedy", "exec.run", "--plugins", EXAMPLES, "--state", tmp_path)
    assert done.stdout == f"{told['text']}\n"


def test_the_flags_narrow_what_the_operator_may_do(tmp_path: Path) -> None:
    assert explain("notes", "kv.get", state=tmp_path)["allowed"] is True
    narrowed = explain("notes", "kv.get", "--workspace-allow", "tool.*", state=tmp_path)
    assert narrowed["reason"] == "workspace_allow_missing"
    two = ("--user-permissions", "tool.*", "--user-permissions", "kv.*")
    assert explain("notes", "kv.get", *two, state=tmp_path)["allowed"] is True


def test_explaining_runs_and_writes_nothing(tmp_path: Path) -> None:
    explain("notes", "kv.get", state=tmp_path / "state")
    assert not (tmp_path / "state").exists()


def test_a_plugin_with_a_refused_manifest_has_its_problems_told(tmp_path: Path) -> None:
    done = sigil("explain", "broken", "kv.get", "--plugins", EXAMPLES, "--state", tmp_path)
    assert done.returncode == 3
    assert f"{BROKEN}:3: version: " in done.stderr


def test_what_depends_on_another_is_explained_by_its_own_manifest(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    for name in ("notes", "text-tool"):
        shutil.copytree(EXAMPLES / name, plugins / name)
    with (plugins / "text-tool" / "plugin.yaml").open("a") as manifest:
        manifest.write('\ndependencies: {notes: ">= 1.0.0"}\n')
    where = ("--plugins", plugins, "--state", tmp_path / "state", "--json")
    told = json.loads(sigil("explain", "text-tool", "tool.stats", *where).stdout)
    assert (told["plugin"], told["allowed"]) == ("text-tool", True)
    called = sigil("call", "text-tool", "stats", '{"text": "a"}', *where)
    assert called.returncode == 0, called.stderr
    registered = sigil(
        *("audit", "query", "--action", "plugin_registered", "--json"),
        *("--state", tmp_path / "state"),
    ).stdout
    assert {json.loads(line)["plugin"] for line in registered.splitlines()} == {
        "notes",
        "text-tool",
    }
