"""What lies at the paths of a manifest, read for planning a sandbox. Blocks: it reads files."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from sigil_actors.core.host_facts import PathFact, PathKind


def read_path_facts(paths: Iterable[str]) -> Mapping[str, PathFact]:
    """Look what lies at each path. What this user can't see isn't there for a plugin either."""
    return {path: _path_fact(Path(path)) for path in paths}


def _path_fact(path: Path) -> PathFact:
    try:
        resolved = path.resolve(strict=True)
        kind = PathKind.FOLDER if resolved.is_dir() else PathKind.FILE
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return PathFact(kind=PathKind.MISSING, resolved=str(path))
    return PathFact(kind=kind, resolved=str(resolved))
