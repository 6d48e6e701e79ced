"""Semantic versions and the ranges of them that a manifest may ask for.

The grammar: one or more comparators, joined by commas or blanks, all of which must hold; or `*`,
any version. A comparator is a version, or an operator and a version, blanks between them allowed:

    1.2.3, =1.2.3, ==1.2.3   exactly that version
    !=1.2.3                  any but that
    >=  >  <=  <             by semantic versioning's order
    ^1.2.3                   from there to before the next left-most number that isn't 0: <2.0.0
    ~1.2.3                   from there to before the next minor version: <1.3.0

After `>= > <= < ^ ~` the last numbers may be left out and count as 0; `~1` goes up to 2.0.0. As in
npm, a pre-release satisfies a range only where a comparator names a pre-release of the same three
numbers: `^1.2` means no release candidate, of 1.3.0 or of 2.0.0. Build metadata plays no part.
"""

import re
from collections.abc import Callable
from typing import Final

import attrs
from semver import Version

VERSION_TEXT_MAX: Final = 128
"""Characters of one version; 128 leaves room for long build metadata."""

RANGE_TEXT_MAX: Final = 256
"""Characters of one range: more than a dozen comparators."""

RANGE_FORM: Final = "Write a range such as '>= 1.0.0', '>=1.0.0, <2.0.0', '^1.2' or '~1.2'"

_NUMBER = r"(?:0|[1-9]\d{0,8})"  # nine digits: no version counts further
_COMPARATOR = re.compile(
    rf"(>=|<=|>|<|==|=|!=|\^|~|)\s*({_NUMBER}(?:\.{_NUMBER}){{0,2}})(-[0-9A-Za-z.-]+)?"
    r"(?:\+[0-9A-Za-z.-]+)?(?:\s*,\s*|\s+|$)",
    re.ASCII,
)
_PARTS = 3

_HOLDS: dict[str, Callable[[Version, Version], bool]] = {
    ">=": lambda version, bound: version >= bound,
    ">": lambda version, bound: version > bound,
    "<=": lambda version, bound: version <= bound,
    "<": lambda version, bound: version < bound,
    "=": lambda version, bound: version == bound,
    "!=": lambda version, bound: version != bound,
}


class VersionRangeError(ValueError):
    """The text is no range of versions. `what` says why not."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


def is_version(text: str) -> bool:
    """Tell whether `text` is a semantic version."""
    return len(text) <= VERSION_TEXT_MAX and Version.is_valid(text)


@attrs.frozen
class VersionRange:
    """A parsed range."""

    comparators: tuple[tuple[str, Version], ...]
    """An operator and its version each; all must hold. None at all: any release."""

    def contains(self, text: str) -> bool:
        """Tell whether the version `text` is in the range; what is no version is in none."""
        if not is_version(text):
            return False
        version = Version.parse(text)
        return self._admits_prerelease(version) and all(
            _HOLDS[operator](version, bound) for operator, bound in self.comparators
        )

    def _admits_prerelease(self, version: Version) -> bool:
        return version.prerelease is None or any(
            bound.prerelease is not None
            and bound.to_tuple()[:_PARTS] == version.to_tuple()[:_PARTS]
            for _, bound in self.comparators
        )


def parse_range(text: str) -> VersionRange:
    """Parse a range of versions.

    Raises:
        VersionRangeError: it doesn't follow the grammar, or is too long.
    """
    if len(text) > RANGE_TEXT_MAX:
        raise VersionRangeError(f"is longer than {RANGE_TEXT_MAX} characters")
    rest = text.strip()
    if not rest:
        raise VersionRangeError("is empty")
    if rest == "*":
        return VersionRange(())
    comparators: list[tuple[str, Version]] = []
    while rest:
        match = _COMPARATOR.match(rest)
        if match is None:
            raise VersionRangeError(f"is no range of versions, at {rest[:_SHOWN_MAX]!r}")
        comparators += _comparators(match[1], match[2], match[3] or "")
        ends_in_comma = match[0].rstrip().endswith(",")
        rest = rest[match.end() :]
        if ends_in_comma and not rest:
            raise VersionRangeError("ends in a comma")
    return VersionRange(tuple(comparators))


_SHOWN_MAX = 40


def _comparators(operator: str, release: str, prerelease: str) -> list[tuple[str, Version]]:
    numbers = [int(number) for number in release.split(".")]
    given = len(numbers)
    numbers += [0] * (_PARTS - given)
    text = ".".join(map(str, numbers)) + prerelease
    if not Version.is_valid(text):
        raise VersionRangeError(f"{text!r} is no semantic version")
    bound = Version.parse(text)
    if operator in {"", "=", "==", "!="}:
        if given < _PARTS:
            raise VersionRangeError(f"{operator + release!r} needs all three numbers")
        return [("!=" if operator == "!=" else "=", bound)]
    if given < _PARTS and prerelease:
        raise VersionRangeError(f"{release + prerelease!r} needs all three numbers")
    if operator == "^":
        return [(">=", bound), ("<", _next(numbers, _leftmost_nonzero(numbers[:given])))]
    if operator == "~":
        return [(">=", bound), ("<", _next(numbers, min(given, 2) - 1))]
    return [(operator, bound)]


def _leftmost_nonzero(numbers: list[int]) -> int:
    """Return the place of the first number that isn't 0; where all are 0, that of the last."""
    return next((place for place, number in enumerate(numbers) if number), len(numbers) - 1)


def _next(numbers: list[int], place: int) -> Version:
    """Return the first version after all those that agree with `numbers` up to `place`."""
    major, minor, patch = [*numbers[:place], numbers[place] + 1, 0, 0][:_PARTS]
    return Version(major, minor, patch)
