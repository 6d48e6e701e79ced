"""The demo's hostile plugin: a program of its own in a sandbox, where this machine can run one."""

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path

import attrs

import sigil_actors
from sigil_actors.core.execution import ProcessExecution
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.manifest_yaml import parse_manifest

NAME = "python-hostile"
EXAMPLE = Path("examples", "python-plugins", NAME)

_FOR_ALL_TO_READ = 0o004
_FOR_ALL_TO_PASS = 0o001


@attrs.frozen(kw_only=True)
class PluginPython:
    """An interpreter that has the SDK and that a sandboxed plugin can start."""

    path: str
    environment: Mapping[str, str]
    read_allow: tuple[str, ...]
    """What of the machine it needs besides /usr."""


def hostile_plugin(checkout: Path) -> tuple[Manifest, Path] | None:
    """Return the example's manifest and folder, or None where no Python here could run it."""
    folder = checkout / EXAMPLE
    python = plugin_python()
    if python is None or not folder.is_dir():
        return None
    manifest = parse_manifest((folder / "plugin.yaml").read_text(), file=str(folder))
    execution = manifest.execution
    if not isinstance(execution, ProcessExecution):
        return None
    filesystem = attrs.evolve(execution.sandbox.filesystem, read_allow=python.read_allow)
    execution = attrs.evolve(
        execution,
        command=(python.path, *execution.command[1:]),
        env=python.environment,
        sandbox=attrs.evolve(execution.sandbox, filesystem=filesystem),
    )
    return attrs.evolve(manifest, execution=execution), folder


def plugin_python() -> PluginPython | None:
    """Return a Python for plugins: this one, or the system's of the same version with our packages.

    A host that is root gives each plugin a uid of its own, which can't pass a private home; an
    ordinary user's plugins run as that user.
    """
    packages = Path(sysconfig.get_path("purelib"))
    package = Path(sigil_actors.__file__).parent
    wants_for_all = os.geteuid() == 0
    for path in _interpreters():
        shown = (packages, package, path)
        if wants_for_all and not all(map(_is_for_all, shown)):
            continue
        prefix = path.parent.parent
        return PluginPython(
            path=str(path),
            environment={"PYTHONPATH": f"{packages}:{package.parent}"},
            read_allow=tuple(
                str(folder)
                for folder in (packages, package, prefix)
                if not folder.is_relative_to("/usr")
            ),
        )
    return None


def _interpreters() -> Iterator[Path]:
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for folder in (Path(sys.base_prefix, "bin"), Path("/usr/local/bin"), Path("/usr/bin")):
        if (folder / name).exists():
            yield (folder / name).resolve()


def _is_for_all(path: Path) -> bool:
    """Tell whether any user gets there and may read it."""
    if path.stat().st_mode & _FOR_ALL_TO_READ == 0:
        return False
    return all(above.stat().st_mode & _FOR_ALL_TO_PASS for above in path.parents)
