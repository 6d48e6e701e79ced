"""What lies at the paths of a manifest."""

import os
from pathlib import Path

from sigil_actors.core.host_facts import PathFact, PathKind
from sigil_actors.tiers.process.path_facts import read_path_facts


def test_paths_are_looked_at_through_their_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    names = (*(one.name for one in tmp_path.iterdir()), "gone", "file/below")
    at = {name: str(tmp_path / name) for name in names}
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


def test_no_paths_need_no_look() -> None:
    assert read_path_facts(()) == {}
