"""In which order plugins start, so that each finds what it depends on; and who can't start."""

import heapq
from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from sigil_actors.core.manifest import Manifest
from sigil_actors.core.version_range import VersionRangeError, parse_range
from sigil_actors.core.wording import shown

_CYCLE_SHOWN_MAX = 8
"""Plugins of a cycle that are named: who knows these finds the rest."""


def order_by_dependencies(
    manifests: Iterable[Manifest],
) -> tuple[tuple[Manifest, ...], Mapping[str, str]]:
    """Return the plugins in starting order, and what keeps each of the others from it, by name.

    Dependencies come first, and what is free in its order goes by name. Names must differ. Who
    depends on one that is kept from starting is kept from it too.
    """
    by_name = {manifest.name: manifest for manifest in manifests}
    problems = _unmet(by_name)
    dependents = _dependents(by_name)
    _spread(problems, dependents)
    waits_for = {
        name: len(manifest.dependencies)
        for name, manifest in by_name.items()
        if name not in problems
    }
    ready = [name for name, count in waits_for.items() if count == 0]
    heapq.heapify(ready)
    ordered: list[Manifest] = []
    while ready:
        name = heapq.heappop(ready)
        del waits_for[name]
        ordered.append(by_name[name])
        for dependent in dependents.get(name, ()):
            if dependent in waits_for:
                waits_for[dependent] -= 1
                if waits_for[dependent] == 0:
                    heapq.heappush(ready, dependent)
    problems.update(_cycles(waits_for.keys(), by_name))
    return tuple(ordered), problems


def _unmet(by_name: Mapping[str, Manifest]) -> dict[str, str]:
    """Return for each plugin its first dependency that isn't there in a fitting version."""
    problems: dict[str, str] = {}
    for name, manifest in sorted(by_name.items()):
        for wanted, versions in sorted(manifest.dependencies.items()):
            problem = _what_is_unmet(by_name.get(wanted), wanted, versions)
            if problem is not None:
                problems[name] = problem
                break
    return problems


def _what_is_unmet(manifest: Manifest | None, wanted: str, versions: str) -> str | None:
    if manifest is None:
        return f"depends on {shown(wanted)}, which isn't there"
    try:
        fits = parse_range(versions).contains(manifest.version)
    except VersionRangeError as error:
        return f"depends on {shown(wanted)} {shown(versions)}, which {error.what}"
    if not fits:
        return (
            f"depends on {shown(wanted)} {shown(versions)}, but that is {shown(manifest.version)}"
        )
    return None


def _dependents(by_name: Mapping[str, Manifest]) -> Mapping[str, Sequence[str]]:
    dependents: dict[str, list[str]] = {}
    for name, manifest in sorted(by_name.items()):
        for wanted in manifest.dependencies:
            dependents.setdefault(wanted, []).append(name)
    return dependents


def _spread(problems: dict[str, str], dependents: Mapping[str, Sequence[str]]) -> None:
    """Add to `problems` all who depend on one that has a problem, directly or not."""
    waiting = deque(problems)
    while waiting:
        name = waiting.popleft()
        for dependent in dependents.get(name, ()):
            if dependent not in problems:
                problems[dependent] = f"depends on {shown(name)}, which can't start itself"
                waiting.append(dependent)


def _cycles(names: Iterable[str], by_name: Mapping[str, Manifest]) -> dict[str, str]:
    """Tell each of `names`, which all wait for one another, which cycle it waits for."""
    stuck = set(names)
    cycle_of: dict[str, tuple[str, ...]] = {}
    for start in sorted(stuck):
        way: dict[str, None] = {}
        name = start
        while name not in cycle_of and name not in way:
            way[name] = None
            name = min(wanted for wanted in by_name[name].dependencies if wanted in stuck)
        if name in way:
            names_on_way = tuple(way)
            cycle = names_on_way[names_on_way.index(name) :]
        else:
            cycle = cycle_of[name]
        cycle_of.update(dict.fromkeys(way, cycle))
    return {name: f"{_how_stuck(name, cycle)}: {_drawn(cycle)}" for name, cycle in cycle_of.items()}


def _how_stuck(name: str, cycle: Sequence[str]) -> str:
    if name in cycle:
        return "depends on itself by way of others" if len(cycle) > 1 else "depends on itself"
    return "depends on a cycle"


def _drawn(cycle: Sequence[str]) -> str:
    names = cycle[:_CYCLE_SHOWN_MAX]
    more = ("…",) if len(cycle) > len(names) else ()
    return " → ".join((*names, *more, cycle[0]))
