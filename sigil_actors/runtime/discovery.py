"""Finds the plugins in a folder: reads each one's manifest, reports what is wrong, skips it."""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.dependencies import order_by_dependencies
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.text import escape_text
from sigil_actors.errors import ManifestError, Problem

MANIFEST_NAME = "plugin.yaml"

MANIFEST_BYTES_MAX = 256 * 1024
"""More is refused without being parsed; the largest honest manifests have some 10 KiB."""

FOLDERS_MAX = 10_000
"""Folders looked into; a plugins folder with more is some other folder."""


@attrs.frozen(kw_only=True)
class Found:
    """A plugin whose manifest is sound."""

    manifest: Manifest
    folder: Path
    manifest_sha256: str


@attrs.frozen(kw_only=True)
class DiscoveryProblem:
    """Something that was found and can't be used, or a folder that can't be read."""

    file: str
    """The manifest or folder that it is about."""
    problems: tuple[Problem, ...]
    plugin: str = ""
    """The plugin's name, where it is known."""
    folder: Path | None = None
    """The folder that it is about, as it is; a plugin's, or the one that holds the plugins."""

    def render(self) -> str:
        """Return it for people, a line a problem."""
        return "\n".join(problem.render(self.file) for problem in self.problems)


@attrs.frozen(kw_only=True)
class Discovery:
    """What a look into a plugins folder has found."""

    is_missing: bool = False
    """Whether the folder isn't there; that is an empty one, unless plugins run out of it."""
    found: tuple[Found, ...]
    """Sorted so that what depends on another comes after it; by name otherwise."""
    problems: tuple[DiscoveryProblem, ...]


async def discover(folder: Path, *, tiers: Sequence[str] = ()) -> Discovery:
    """Look into a plugins folder. A missing one is empty; an unreadable one is a problem."""
    return await run_in_worker(lambda: _discover(folder, tuple(tiers)), abandon_on_cancel=False)


def _discover(folder: Path, tiers: tuple[str, ...]) -> Discovery:
    problems: list[DiscoveryProblem] = []
    found: list[Found] = []
    try:
        names = _folders(folder)
    except FileNotFoundError:
        return Discovery(found=(), problems=(), is_missing=True)
    except OSError as error:
        problem = _problem(folder, str(folder), f"can't be read: {error.strerror}", _READABLE)
        return Discovery(found=(), problems=(problem,))
    if len(names) > FOLDERS_MAX:
        what = f"holds {len(names)} folders, more than {FOLDERS_MAX}"
        problem = _problem(folder, str(folder), what, "Name the folder that holds the plugins")
        return Discovery(found=(), problems=(problem,))
    for name in names:
        trio.from_thread.check_cancelled()
        one = read_plugin(folder / name, tiers=tiers)
        if isinstance(one, Found):
            found.append(one)
        elif one is not None:
            problems.append(one)
    unique, doubles = _without_doubles(found)
    ordered, missing = _in_order(unique)
    return Discovery(found=ordered, problems=(*problems, *doubles, *missing))


def read_plugin(folder: Path, *, tiers: Sequence[str] = ()) -> Found | DiscoveryProblem | None:
    """Read one plugin's folder; None where it holds no manifest. Blocks: it reads a file."""
    from sigil_actors.core.manifest_yaml import parse_manifest

    file = folder / MANIFEST_NAME
    shown = escape_text(str(file), limit=1000)
    try:
        text = read_manifest(file)
    except FileNotFoundError:
        return None
    except OSError as error:
        return _problem(folder, shown, f"can't be read: {error.strerror or error}", _READABLE)
    try:
        manifest = parse_manifest(text, file=shown, tiers=tiers)
    except ManifestError as error:
        return DiscoveryProblem(file=shown, problems=error.problems, folder=folder)
    return Found(manifest=manifest, folder=folder, manifest_sha256=hashlib.sha256(text).hexdigest())


_READABLE = "Make it readable for the user who runs the host"


def _folders(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(
            entry.name for entry in entries if not entry.name.startswith(".") and _is_folder(entry)
        )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir(follow_symlinks=True)
    except OSError:  # a link to itself is no folder, and no reason to find nothing at all
        return False


def read_manifest(file: Path) -> bytes:
    """Return a manifest's bytes, one more than allowed at most. Blocks.

    Raises:
        OSError: it can't be read, or isn't a regular file.
    """
    # Neither following a link out of the folder nor waiting for a pipe's other end.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    descriptor = os.open(file, flags)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        # Not before: of a folder it raises, and leaves the descriptor open.
        with os.fdopen(descriptor, "rb", closefd=False) as reader:
            # One byte more than allowed, so that the parser sees that it is too long.
            return reader.read(MANIFEST_BYTES_MAX + 1)
    finally:
        os.close(descriptor)


def _problem(
    folder: Path, file: str, what: str, remedy: str, *, plugin: str = ""
) -> DiscoveryProblem:
    problem = Problem(path="", line=0, what=what, remedy=remedy)
    return DiscoveryProblem(file=file, problems=(problem,), plugin=plugin, folder=folder)


def _without_doubles(
    found: Sequence[Found],
) -> tuple[list[Found], list[DiscoveryProblem]]:
    """Refuse all plugins of one name: which of them is meant can't be told."""
    by_name: dict[str, list[Found]] = {}
    for one in found:
        by_name.setdefault(one.manifest.name, []).append(one)
    problems = []
    for name, same in by_name.items():
        for one in same if len(same) > 1 else ():
            others = " and ".join(str(other.folder) for other in same if other is not one)
            problems.append(
                _problem(
                    one.folder,
                    str(one.folder / MANIFEST_NAME),
                    f"two plugins are named {name!r}: the other is in {others}",
                    "Rename one or take it out of the folder; until then neither is loaded",
                    plugin=name,
                )
            )
    return [same[0] for same in by_name.values() if len(same) == 1], problems


def _in_order(found: Sequence[Found]) -> tuple[tuple[Found, ...], list[DiscoveryProblem]]:
    by_name: Mapping[str, Found] = {one.manifest.name: one for one in found}
    ordered, problems = order_by_dependencies([one.manifest for one in found])
    return (
        tuple(by_name[manifest.name] for manifest in ordered),
        [
            _problem(
                by_name[name].folder,
                str(by_name[name].folder / MANIFEST_NAME),
                what,
                "Add what it depends on, or take it out of its dependencies",
                plugin=name,
            )
            for name, what in sorted(problems.items())
        ],
    )
