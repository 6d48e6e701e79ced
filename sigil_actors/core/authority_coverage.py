"""Which entries of a manifest's lists cover which: patterns, paths, network targets, secret keys.

Owns the meaning of "covers" for each kind of entry, and how much work it takes at most to decide
it. Knows nothing of versions, nor of what an entry is good for.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final, Protocol, TypeAlias

import attrs

from sigil_actors.core.capability import STAR, CapabilitySet, check_pattern
from sigil_actors.core.network_target import NetworkTarget, parse_network_target
from sigil_actors.core.secret_keys import ANY_KEY

COMPARISONS_MAX: Final = 1024
"""Of two patterns that might cover one another, for one list. What is left over then counts as not
covered. An honest version needs a few for each pattern that it changes: those that are in both
lists, or differ before their first star or after their last, take none."""

_STARS = re.compile(r"\*+")

Width: TypeAlias = tuple[bool, int, int, str]
"""Sorts entries, widest first: whatever covers another comes before it."""


class Cover(Protocol):
    """A growing set of entries. What is none raises ValueError or InvalidCapabilityError."""

    def covers(self, entry: str) -> bool:
        """Tell whether all that `entry` means is meant by some one entry of the set."""

    def add(self, entry: str) -> None:
        """Put `entry` into the set."""

    def width(self, entry: str) -> Width:
        """Return where `entry` is sorted."""


def beyond(cover: Cover, held: Iterable[str], wanted: Iterable[str]) -> Iterator[str]:
    """Yield what `wanted` means beyond `held`, widest first, and nothing twice.

    An entry that another one covers, which is yielded, isn't: nobody is to be shown sixty lines
    that the sixty-first makes pointless.
    """
    for entry in held:
        cover.add(entry)
    for entry in sorted(wanted, key=cover.width):
        if not cover.covers(entry):
            cover.add(entry)
            yield entry


@attrs.define
class PatternCover:
    """Capability patterns."""

    _all: set[str] = attrs.field(factory=set)
    _starred: list[tuple[str, str, CapabilitySet]] = attrs.field(factory=list)
    """What stands before the first star, what after the last, and the pattern."""
    _comparisons_left: int = COMPARISONS_MAX

    def covers(self, entry: str) -> bool:
        """Tell whether one pattern matches all that `entry` matches; in doubt no."""
        check_pattern(entry)
        return entry in self._all or any(
            # Literal characters match themselves, so this rules most pairs out.
            entry.startswith(start) and entry.endswith(end) and self._compare(pattern, entry)
            for start, end, pattern in self._starred
        )

    def _compare(self, pattern: CapabilitySet, entry: str) -> bool:
        if self._comparisons_left == 0:
            return False
        self._comparisons_left -= 1
        return pattern.covers(entry)

    def add(self, entry: str) -> None:
        """Put a pattern into the set."""
        pattern = CapabilitySet(entry)
        if STAR in entry and entry not in self._all:
            self._starred.append((entry.partition(STAR)[0], entry.rpartition(STAR)[2], pattern))
        self._all.add(entry)

    def width(self, entry: str) -> Width:
        """Sort those with a star first, then by their literal characters.

        A literal character is covered by itself or a star, so what covers has no more of them; of
        two with as many, it has more stars.
        """
        runs = _STARS.findall(entry)
        return not runs, len(entry) - entry.count(STAR), -len(runs), entry


@attrs.define
class PathCover:
    """Paths, each with all below it; `/data/*` is all below `/data`, and not itself.

    A star elsewhere, the component `self` and `~` stand for themselves: each of them means the same
    in both versions, and whatever they stand for, it is still below what comes before them.
    """

    _paths: set[str] = attrs.field(factory=set)
    _trees: tuple[str, ...] = ()

    def covers(self, entry: str) -> bool:
        """Tell whether a path is one of these or lies below one."""
        path = _normal(entry)
        return path in self._paths or path.startswith(self._trees)

    def add(self, entry: str) -> None:
        """Put a path into the set."""
        path = _normal(entry)
        self._paths.add(path)
        self._trees += (_tree(path),)

    def width(self, entry: str) -> Width:
        """Sort by how far down it is."""
        path = _normal(entry)
        return False, _tree(path).count("/"), len(path), path


def _tree(path: str) -> str:
    return path.removesuffix("/*").rstrip("/") + "/"


def _normal(path: str) -> str:
    components = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in components or not (components or path.startswith("/")):
        raise ValueError("it leads out of what it names, or nowhere")
    return ("/" if path.startswith("/") else "") + "/".join(components)


@attrs.define
class TargetCover:
    """Network targets."""

    _targets: set[NetworkTarget] = attrs.field(factory=set)
    _wildcards: set[tuple[str, int]] = attrs.field(factory=set)

    def covers(self, entry: str) -> bool:
        """Tell whether it is one of these, or below the name of a wildcard at the same port."""
        target = parse_network_target(entry)
        if target in self._targets or target.is_address:
            return target in self._targets
        labels = target.host.split(".")
        return any(
            (".".join(labels[index:]), target.port) in self._wildcards
            for index in range(1, len(labels))
        )

    def add(self, entry: str) -> None:
        """Put a target into the set."""
        target = parse_network_target(entry)
        self._targets.add(target)
        if target.is_wildcard:
            self._wildcards.add((target.host, target.port))

    def width(self, entry: str) -> Width:
        """Sort wildcards first, names before what is below them."""
        target = parse_network_target(entry)
        return not target.is_wildcard, target.host.count("."), target.port, target.host


@attrs.define
class SecretCover:
    """Keys of a configuration as `find_secret_keys` returns them, each with all below it."""

    _keys: set[str] = attrs.field(factory=set)
    _trees: tuple[str, ...] = ()

    def covers(self, entry: str) -> bool:
        """Tell whether a key is secret by one of these."""
        return ANY_KEY in self._keys or entry in self._keys or entry.startswith(self._trees)

    def add(self, entry: str) -> None:
        """Put a key into the set."""
        self._keys.add(entry)
        self._trees += (f"{entry}.", f"{entry}[")

    def width(self, entry: str) -> Width:
        """Sort by how far down it is; first what means everything."""
        return entry != ANY_KEY, len(entry), 0, entry
