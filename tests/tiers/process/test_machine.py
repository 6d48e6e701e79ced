"""What is read of this machine for planning a sandbox."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import pytest

from sigil_actors.core.host_facts import ETC_NAMES, ROOT_NAMES, PathFact, PathKind
from sigil_actors.core.sandbox_lacks import find_lacks
from sigil_actors.tiers.process.machine import read_host_facts, read_path_facts


def test_a_machine_with_bubblewrap_can_make_a_sandbox(require: Callable[[str], None]) -> None:
    require("bwrap")
    facts = read_host_facts()
    assert find_lacks(facts) == ()
    assert facts.bubblewrap is not None
    assert facts.bubblewrap.is_recent_enough
    assert (facts.architecture, facts.uid) == (platform.machine(), os.getuid())
    assert facts.root_entries.keys() <= set(ROOT_NAMES)
    assert facts.etc_entries.keys() <= set(ETC_NAMES)
    assert "ld.so.cache" in facts.etc_entries


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "bwrap"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("version", "expected"),
    [("bubblewrap 0.8.0", (0, 8, 0)), ("bubblewrap 0.11", (0, 11)), ("hello", ())],
)
def test_the_version_of_bubblewrap(
    version: str, expected: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, f"test $1 = --help && echo --ro-bind-fd FD; echo {version}", monkeypatch)
    facts = read_host_facts()
    assert facts.bubblewrap is not None
    assert facts.bubblewrap.version == expected
    assert facts.bubblewrap.binds_by_descriptor


@pytest.mark.parametrize("script", ["exit 1", "kill -9 $$", "test $1 != --help"])
def test_a_bubblewrap_that_doesnt_answer_isnt_there(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, script, monkeypatch)
    facts = read_host_facts()
    assert facts.bubblewrap is None
    assert not facts.has_user_namespaces


def test_a_bubblewrap_that_makes_no_namespaces_is_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(tmp_path, "test ${1#--unshare} = $1 && echo bubblewrap 0.8.0", monkeypatch)
    facts = read_host_facts()
    assert facts.bubblewrap is not None
    assert not facts.bubblewrap.binds_by_descriptor
    assert not facts.has_user_namespaces


def test_paths_are_looked_at_through_their_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    at = {
        name: str(tmp_path / name)
        for name in (*(one.name for one in tmp_path.iterdir()), "gone", "file/below")
    }
    facts = read_path_facts(at.values())
    kinds = {name: facts[path].kind for name, path in at.items()}
    assert kinds == {
        "folder": PathKind.FOLDER,
        "file": PathKind.FILE,
        "pipe": PathKind.FILE,
        "link": PathKind.FOLDER,
        "dangling": PathKind.MISSING,
        "circle": PathKind.MISSING,
        "gone": PathKind.MISSING,
        "file/below": PathKind.MISSING,
    }
    assert facts[at["link"]] == PathFact(kind=PathKind.FOLDER, resolved=at["folder"])
