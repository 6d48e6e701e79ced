"""`sigil-actors validate`: what is wrong with manifests, all of it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import attrs
import trio
from cyclopts import Parameter

from sigil_actors.cli.errors import PathNotFoundError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.control.error_report import problem_json
from sigil_actors.core.execution import WasmExecution
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.errors import ManifestError, Problem
from sigil_actors.runtime.discovery import (
    MANIFEST_BYTES_MAX,
    MANIFEST_NAME,
    DiscoveryProblem,
    Found,
    discover,
    read_plugin,
)


def validate(
    *paths: Annotated[
        Path,
        Parameter(
            name="PATH", help="A manifest, a plugin's folder, or a folder of plugins' folders."
        ),
    ],
    json: JsonOption = False,
) -> int:
    """Check manifests, and name every problem with its file and line.

    A folder of plugins is checked as a whole: names that are there twice and dependencies too.
    """
    output = Output(as_json=json)
    if not paths:
        from sigil_actors.cli.errors import UsageError

        raise UsageError("no path is given", remedy="Name a manifest or a folder")
    # A path that can't be one isn't there either.
    missing = [path for path in paths if not os.path.exists(path)]  # noqa: PTH110 - doesn't raise
    checked = [one for path in paths if path not in missing for one in _check(path)]
    if output.as_json:
        output.document(
            {
                "ok": not missing and all(one.is_ok for one in checked),
                "manifests": [one.to_json() for one in checked],
                "missing": [str(path) for path in missing],
            }
        )
    else:
        for one in checked:
            output.text(one.text())
    if missing:
        raise PathNotFoundError(
            f"there is no {' and no '.join(map(str, missing))}", remedy="Correct the path"
        )
    if not checked:
        raise PathNotFoundError(
            f"there is no manifest in {' or '.join(map(str, paths))}",
            remedy="Name a folder with a plugin.yaml, or one with such folders in it",
        )
    return ExitCode.OK if all(one.is_ok for one in checked) else ExitCode.INVALID_INPUT


@attrs.frozen(kw_only=True)
class Checked:
    """One manifest, or a folder that can't be looked into."""

    file: str
    manifest: Manifest | None = None
    problems: tuple[Problem, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def remarks(self) -> tuple[Problem, ...]:
        """What is legitimate, but worth a look."""
        if self.manifest is None:
            return ()
        return (*self.manifest.remarks(), *_missing_module(self.manifest, Path(self.file).parent))

    def text(self) -> str:
        """Return it for people, a line a problem or remark."""
        lines = [problem.render(self.file) for problem in self.problems]
        if self.manifest is not None:
            one = self.manifest
            lines = [f"{self.file}: OK: {one.name} {one.version}, {one.type}, {_tier(one)}"]
            lines += [f"{remark.render(self.file)} (a remark)" for remark in self.remarks]
        return terminal_text("\n".join(lines))

    def to_json(self) -> JsonObject:
        """Return it for a JSON text."""
        one = self.manifest
        return {
            "file": self.file,
            "ok": self.is_ok,
            "plugin": None if one is None else one.name,
            "version": None if one is None else one.version,
            "type": None if one is None else str(one.type),
            "tier": None if one is None else _tier(one),
            "problems": [problem_json(problem) for problem in self.problems],
            "remarks": [problem_json(remark) for remark in self.remarks],
        }


def _missing_module(manifest: Manifest, folder: Path) -> Iterator[Problem]:
    # A remark only: a manifest is often checked before its module is built.
    execution = manifest.execution
    if isinstance(execution, WasmExecution) and not os.path.isfile(  # noqa: PTH113 - doesn't raise
        folder / execution.module
    ):
        yield Problem(
            path="execution.module",
            line=0,
            what=f"there is no file {execution.module}, so the plugin can't start yet",
            remedy="Build it, or correct the path; it is relative to the plugin's folder",
        )


def _tier(manifest: Manifest) -> str:
    return str(manifest.execution.tier)


def _check(path: Path) -> Iterator[Checked]:
    if not path.is_dir():
        yield _check_file(path)
        return
    one = read_plugin(path)
    if one is not None:
        yield _checked(one)
        return
    found = trio.run(discover, path)
    yield from map(_checked, found.found)
    yield from map(_checked, found.problems)


def _check_file(path: Path) -> Checked:
    from sigil_actors.core.manifest_yaml import parse_manifest

    try:
        with path.open("rb") as reader:
            content = reader.read(MANIFEST_BYTES_MAX + 1)
        return Checked(file=str(path), manifest=parse_manifest(content, file=str(path)))
    except ManifestError as error:
        return Checked(file=str(path), problems=error.problems)
    except OSError as error:
        what = f"can't be read: {error.strerror}"
        problem = Problem(path="", line=0, what=what, remedy="Make it readable for you")
        return Checked(file=str(path), problems=(problem,))


def _checked(one: Found | DiscoveryProblem) -> Checked:
    if isinstance(one, Found):
        return Checked(file=str(one.folder / MANIFEST_NAME), manifest=one.manifest)
    return Checked(file=one.file, problems=one.problems)
