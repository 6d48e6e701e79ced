"""A plugin's plan on this machine, and on one that can't make it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sigil_actors.sandbox import preview_sandbox
from sigil_actors.tiers.process.sandbox import probe
from tests.core.sandbox_cases import manifest


def test_a_plan_is_made_from_the_facts_of_this_machine(
    tmp_path: Path, require: Callable[[str], None]
) -> None:
    require("bwrap")
    (tmp_path / "link").symlink_to("plugin")
    (tmp_path / "plugin").mkdir()
    preview = preview_sandbox(manifest(read_deny=("/etc/shadow",)), tmp_path / "link")
    assert preview.lacks == ()
    assert preview.plan.folder == str((tmp_path / "plugin").resolve())
    assert Path(preview.command_line[0]).name == "bwrap"
    assert preview.command_line[-1] == f"{preview.plan.folder}/echo"


def test_without_bubblewrap_the_plan_is_shown_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probe, "find_bubblewrap", lambda: None)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    preview = preview_sandbox(manifest(), tmp_path)
    assert "bubblewrap" in preview.lacks[0].what
    assert preview.command_line[0] == "bwrap"


def test_where_there_is_no_filter_there_is_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    preview = preview_sandbox(manifest(), tmp_path)
    assert preview.lacks
    assert preview.command_line == ()


def test_on_macos_it_is_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    preview = preview_sandbox(manifest(), tmp_path)
    assert preview.command_line[0] == "sandbox-exec"
    assert "darwin" in preview.lacks[0].what
