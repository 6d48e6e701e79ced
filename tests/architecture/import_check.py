"""Reads the imports of every module of a package from its syntax tree and judges them by layers.

It runs nothing of what it reads. An import counts wherever it stands: at the top, late in a
function, below `if TYPE_CHECKING`, or as a literal given to `import_module` or `__import__`.
"""

import ast
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import attrs

from tests.architecture.layers import PURE_NAMES, Layer


@attrs.frozen
class Import:
    """One imported module, and the name taken from it, if it was a `from … import …`."""

    line: int
    module: str
    name: str = ""


def check_package(folder: Path, layers: Mapping[str, Layer]) -> list[str]:
    """Return `file:line: X may not import Y` for every import in `folder` that no rule allows."""
    package = folder.name
    modules = {module_name(path, folder): path for path in sorted(folder.rglob("*.py"))}
    problems: list[str] = []
    for module, path in modules.items():
        place = path.relative_to(folder.parent).as_posix()
        path_below = below(module, package)
        layer = layer_of(path_below, layers)
        if layer is None:
            problems.append(f"{place}:1: {module} is in no layer")
            continue
        rule = layers[layer]
        foreign = {*rule.foreign, *rule.borders.get(path_below, ())}
        is_package = path.name == "__init__.py"
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        for found in imports_of(tree, module, is_package=is_package):
            target = whole_name(found, modules)
            allowed = (
                may_import_ours(below(target, package), layer, layers)
                if is_within(target, package)
                else may_import_theirs(found, foreign, rule.standard)
            )
            if not allowed:
                problems.append(f"{place}:{found.line}: {module} may not import {target}")
    return list(dict.fromkeys(problems))  # `from a import b, c` is one line and one problem


def module_name(path: Path, folder: Path) -> str:
    """Return the dotted name by which Python would import the file."""
    parts = path.relative_to(folder.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[Import]:
    """Yield what the tree imports, relative names made whole."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(node.lineno, alias.name)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = base_of(module, level, is_package=is_package)
                whole = ".".join(part for part in (base, source) if part)
                for alias in names:
                    yield Import(node.lineno, whole, alias.name)
            case ast.Call(
                func=(
                    ast.Name(id="import_module" | "__import__")
                    | ast.Attribute(attr="import_module")
                ),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield Import(node.lineno, name)
            case _:
                pass


def base_of(module: str, level: int, *, is_package: bool) -> str:
    """Return the package that `level` dots mean in `module`; empty for no dots."""
    if level == 0:
        return ""
    parts = module.split(".")
    return ".".join(parts[: len(parts) - level + is_package])


def whole_name(found: Import, modules: Mapping[str, Path]) -> str:
    """Return what is really loaded: `from a import b` is the module `a.b` where there is one."""
    longer = f"{found.module}.{found.name}"
    return longer if longer in modules else found.module


def below(module: str, package: str) -> str:
    """Return a module's path below the package, empty for the package itself."""
    return module.removeprefix(package).removeprefix(".")


def layer_of(path: str, layers: Mapping[str, Layer]) -> str | None:
    """Return the name of the layer that a module belongs to, by its path below the package."""
    for name, layer in layers.items():
        if path in layer.modules:
            return name
    return max((name for name in layers if is_within(path, name)), key=len, default=None)


def is_within(name: str, prefix: str) -> bool:
    """Tell whether a dotted name is the other, or lies below it."""
    return name == prefix or name.startswith(f"{prefix}.")


def may_import_ours(target: str, layer: str, layers: Mapping[str, Layer]) -> bool:
    """Tell whether a module of `layer` may import `target`, a module of the package itself."""
    theirs = layer_of(target, layers)
    ours = layers[layer].ours
    return theirs == layer or theirs in ours or any(is_within(target, name) for name in ours)


def may_import_theirs(
    found: Import, foreign: Collection[str], standard: Collection[str] | None
) -> bool:
    """Tell whether something of the standard library or of pip may be imported."""
    top = found.module.partition(".")[0]
    if top in sys.stdlib_module_names:
        pure = PURE_NAMES.get(top, {found.name})
        return standard is None or (top in standard and found.name in pure)
    wanted = (found.module, f"{found.module}.{found.name}")
    return any(is_within(name, allowed) for name in wanted for allowed in foreign)
