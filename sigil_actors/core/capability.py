"""Capabilities and patterns: the grammar, the matcher, sets of patterns.

Owns what a capability may look like and what a pattern matches. Knows nothing of plugins, of who
holds which set, or of what a match leads to.

Every question here costs at most (length of the capability) x (length of the pattern), whatever the
pattern.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from sigil_actors.core.text import is_text
from sigil_actors.errors import InvalidCapabilityError

SEGMENTS_MAX: Final = 32
"""Segments of a capability or pattern; part of the grammar. The deepest in use have four."""

LENGTH_MAX: Final = 1024
"""Characters of a capability or pattern; part of the grammar. Leaves room for a long path."""

STAR: Final = "*"

_PATH_PREFIXES_MAX = 8
"""Folders of a path that are looked up rather than compared; deeper patterns just take longer."""

# Deterministic and possessive: there is nothing to try twice, so the time is linear in the text. A
# control character has no place in a name that people read. A lone surrogate has no bytes of its
# own, so nothing that stores or sends it agrees on what it is: os.fsencode gives "\udcc3\udca9" and
# "é" the same two.
_NAME = r"[A-Za-z0-9_-]"
_NAME_OR_STAR = r"[A-Za-z0-9_*-]"
_COMPONENT = r"(?!\.{1,2}(?:/|\Z))[^/\x00-\x1f\x7f-\x9f\ud800-\udfff]++"
_PATH = rf"/(?:{_COMPONENT}(?:/{_COMPONENT})*+)?+"
_CAPABILITY = re.compile(rf"(?:{_NAME}++(?:\.{_NAME}++)*+(?:\.{_PATH})?+|{_PATH})")
_PATTERN = re.compile(rf"(?:{_NAME_OR_STAR}++(?:\.{_NAME_OR_STAR}++)*+(?:\.{_PATH})?+|{_PATH})")
_NOT_A_NAME = re.compile(r"[^A-Za-z0-9_-]")
_NOT_A_NAME_OR_STAR = re.compile(r"[^A-Za-z0-9_*-]")
_NOT_IN_A_PATH = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_STARS = re.compile(r"\*+")


CapabilityParts: TypeAlias = tuple[str, list[str], list[str]]
"""A well-formed capability taken apart once, to be held against many sets: its text, its segments,
and what comes before the star of any `PREFIX.*` or `PATH/*` that matches it, longest first.

A plain tuple, since one is made for each decision and a class would cost a tenth of it.
"""


def split_capability(capability: str) -> CapabilityParts | None:
    """Return the parts of `capability`, or None where it is malformed.

    Raises:
        InvalidCapabilityError: it is over the bounds.
    """
    text = str.__str__(capability)
    if len(text) > LENGTH_MAX or text.count(".") >= SEGMENTS_MAX:
        _check_bounds(text)
    if _CAPABILITY.fullmatch(text) is None:
        return None
    segments = _segments(text)
    prefixes = [""]
    length = 0
    for segment in segments[:-1]:
        length += len(segment) + 1
        prefixes.append(text[:length])
    if segments[-1][0] == "/":
        slash = length
        for _ in range(_PATH_PREFIXES_MAX):
            prefixes.append(text[: slash + 1])
            slash = text.find("/", slash + 1)
            if slash < 0:
                break
    prefixes.reverse()
    return text, segments, prefixes


def check_capability(text: str) -> None:
    """Refuse what isn't a capability.

    Raises:
        InvalidCapabilityError: it is malformed or over the bounds; the message says what is wrong.
    """
    text = str.__str__(text)
    _check_bounds(text)
    if _CAPABILITY.fullmatch(text) is None:
        raise InvalidCapabilityError(text, _what_is_wrong(text, _NOT_A_NAME))


def check_pattern(text: str) -> None:
    """Refuse what isn't a capability pattern.

    Raises:
        InvalidCapabilityError: it is malformed or over the bounds; the message says what is wrong.
    """
    text = str.__str__(text)
    _check_bounds(text)
    if _PATTERN.fullmatch(text) is None:
        raise InvalidCapabilityError(text, _what_is_wrong(text, _NOT_A_NAME_OR_STAR))


def match_capability(pattern: str, capability: str) -> bool:
    """Tell whether `pattern` matches `capability`; no where either is malformed.

    Raises:
        InvalidCapabilityError: either is over the bounds. A deny pattern that silently matched
            nothing would fail open.
    """
    pattern = str.__str__(pattern)
    _check_bounds(pattern)
    parts = split_capability(capability)
    if parts is None or _PATTERN.fullmatch(pattern) is None:
        return False
    return _match_segments(_compile(pattern), parts[1])


@attrs.frozen(init=False, eq=False, repr=False)
class CapabilitySet:
    """An immutable set of patterns: it contains what one of them matches; an empty one nothing."""

    _patterns: frozenset[str]
    _hash: int
    _exact: frozenset[str]
    """The patterns without a star."""
    _prefixes: Mapping[str, str]
    """The patterns `PREFIX.*` and `PATH/*` without a further star, by what comes before it."""
    _rest: Mapping[str, "tuple[_Pattern, ...]"]
    """All others that can match a capability whose first segment is the key, longest first."""
    _rest_anywhere: "tuple[_Pattern, ...]"
    """Those among them that can match whatever the first segment is."""

    def __init__(self, *patterns: str) -> None:
        """Make a set.

        Raises:
            InvalidCapabilityError: one of the patterns can't match anything, or is over the bounds.
        """
        for pattern in patterns:
            check_pattern(pattern)
        unique = frozenset(map(str.__str__, patterns))
        prefixes: dict[str, str] = {}
        rest: list[_Pattern] = []
        for text in sorted(unique, key=lambda text: (-len(text), text)):
            compiled = _compile(text)
            if STAR not in text:
                continue
            start, end = text.partition(STAR)[0], text.rpartition(STAR)[2]
            if _is_prefix(start, text):
                prefixes.setdefault(start, text)
            else:
                rest.append(_Pattern(text, start, end, compiled))
        heads = {part for part in (pattern.segments[0] for pattern in rest) if type(part) is str}
        self.__attrs_init__(
            patterns=unique,
            hash=hash(unique),
            exact=frozenset(text for text in unique if STAR not in text),
            prefixes=prefixes,
            rest={
                head: tuple(
                    pattern
                    for pattern in rest
                    if type(pattern.segments[0]) is not str or pattern.segments[0] == head
                )
                for head in heads
            },
            rest_anywhere=tuple(
                pattern for pattern in rest if type(pattern.segments[0]) is not str
            ),
        )

    def contains(self, capability: str) -> bool:
        """Tell whether some pattern matches; no where the capability is malformed.

        Raises:
            InvalidCapabilityError: the capability is over the bounds.
        """
        return self.matching(capability) is not None

    def matching(self, capability: str) -> str | None:
        """Return the pattern that matches, or None.

        Where several do it is the one without a star, else the longest.

        Raises:
            InvalidCapabilityError: the capability is over the bounds.
        """
        parts = split_capability(capability)
        return None if parts is None else self.matching_parts(parts)

    def matching_parts(self, parts: CapabilityParts) -> str | None:
        """Return what `matching` returns, for a capability that is taken apart already."""
        text, segments, prefixes = parts
        if text in self._exact:
            return text
        best = None
        for prefix in prefixes:
            if prefix in self._prefixes:
                best = self._prefixes[prefix]
                break
        for pattern in self._rest.get(segments[0], self._rest_anywhere):
            if best is not None and len(best) >= len(pattern.text):
                break
            if (
                text.startswith(pattern.start)
                and text.endswith(pattern.end)
                and _match_segments(pattern.segments, segments)
            ):
                return pattern.text
        return best

    def allowed_by(self, other: "CapabilitySet", capability: str) -> bool:
        """Tell whether both sets contain it.

        Raises:
            InvalidCapabilityError: the capability is over the bounds.
        """
        return self.contains(capability) and other.contains(capability)

    def covers(self, pattern: str) -> bool:
        """Tell whether all that `pattern` matches is matched by some one pattern of this set.

        Raises:
            InvalidCapabilityError: `pattern` is malformed or over the bounds.
        """
        pattern = str.__str__(pattern)
        check_pattern(pattern)
        # The pattern is matched as if it were a capability, with its stars as characters that no
        # literal of ours equals: only a star of ours takes one. That decides it, both ways. If it
        # fits, our stars take whatever its stars stand for. If it doesn't, put a character that our
        # pattern doesn't use in the place of each of its stars: that is a capability of the same
        # length which it matches and ours doesn't. A path always has such a character. A plain
        # segment has unless our pattern uses all 64, where it is enough that at the place of the
        # star the character doesn't carry our match on: only about 1 + log2(length) can, one for
        # each border of what matched so far. Should all that ever fail, then towards "not covered".
        segments = _segments(pattern)
        return any(_match_segments(_compile(ours), segments) for ours in self._patterns)

    def __contains__(self, capability: object) -> bool:
        return is_text(capability) and self.contains(capability)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._patterns))

    def __len__(self) -> int:
        return len(self._patterns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CapabilitySet):
            return NotImplemented
        return self._patterns == other._patterns

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"CapabilitySet({', '.join(map(repr, self))})"


@attrs.frozen
class _Glob:
    """A segment with literal characters and stars, as the literal pieces between the stars."""

    start: str
    middle: tuple[str, ...]
    end: str
    length_min: int

    def matches(self, segment: str) -> bool:
        if len(segment) < self.length_min or not segment.startswith(self.start):
            return False
        if segment[0] == "/" and not self.start:
            return False  # a path scope is matched by path scopes only
        at = len(self.start)
        # The leftmost place for each piece is the best one: it leaves the most for those that
        # follow.
        for piece in self.middle:
            at = segment.find(piece, at)
            if at < 0:
                return False
            at += len(piece)
        return len(segment) - len(self.end) >= at and segment.endswith(self.end)


class _AnySegments:
    """A segment that is a star: one or more whole segments."""


_ANY_SEGMENTS: Final = _AnySegments()
_Segment: TypeAlias = str | _Glob | _AnySegments


@attrs.frozen
class _Pattern:
    text: str
    start: str
    end: str
    """What stands before the first star and after the last: a cheap test that rules most out."""
    segments: tuple[_Segment, ...]


def _segments(text: str) -> list[str]:
    """Take a well-formed capability or pattern apart."""
    if "/" not in text:
        return text.split(".")
    slash = text.index("/")  # a plain segment holds none, so a path scope starts here
    if slash == 0:
        return [text]
    return [*text[: slash - 1].split("."), text[slash:]]


def _compile(pattern: str) -> tuple[_Segment, ...]:
    return tuple(map(_compile_segment, _segments(pattern)))


def _compile_segment(segment: str) -> _Segment:
    if STAR not in segment:
        return segment
    if not segment.strip(STAR):
        return _ANY_SEGMENTS
    start, *middle, end = _STARS.split(segment)
    return _Glob(start, tuple(middle), end, len(segment) - segment.count(STAR))


def _is_prefix(start: str, pattern: str) -> bool:
    """Tell whether a pattern matches just what has `start` among its prefixes."""
    if pattern.rstrip(STAR) != start:
        return False
    last = _segments(start + STAR)[-1]
    return last == STAR or (last[0] == last[-2] == "/" and last.count("/") <= _PATH_PREFIXES_MAX)


def _match_segments(pattern: Sequence[_Segment], segments: Sequence[str]) -> bool:
    """Match from the left; after a mismatch let the last star take one segment more.

    Going back to any star but the last is never needed: what an earlier one could take, the last
    one can take as well. So each pair of a segment of the pattern and one of the capability is
    compared once at most.
    """
    star = -1  # where the last star stands in the pattern
    taken = 0  # the first segment that the last star hasn't taken
    at = 0
    index = 0
    while index < len(segments):
        if at < len(pattern):
            wanted = pattern[at]
            if wanted is _ANY_SEGMENTS:
                star = at
                taken = index + 1
                at += 1
                index += 1
                continue
            segment = segments[index]
            if wanted.matches(segment) if isinstance(wanted, _Glob) else wanted == segment:
                at += 1
                index += 1
                continue
        if star < 0:
            return False
        taken += 1
        at = star + 1
        index = taken
    return at == len(pattern)


def _check_bounds(text: str) -> None:
    """Refuse what is too long, malformed or not."""
    if len(text) > LENGTH_MAX:
        raise InvalidCapabilityError(
            text,
            f"it has {len(text)} characters, more than {LENGTH_MAX}",
            remedy="Shorten it",
        )
    plain, path = _plain_and_path(text)
    count = len(plain) + (1 if path else 0)
    if count > SEGMENTS_MAX:
        raise InvalidCapabilityError(
            text,
            f"it has {count} segments, more than {SEGMENTS_MAX}",
            remedy="Join some of them, or end it in a star",
        )


def _what_is_wrong(text: str, not_in_a_name: re.Pattern[str]) -> str:
    """Return what is wrong with a malformed text that is within the bounds."""
    if not text:
        return "it is empty"
    plain, path = _plain_and_path(text)
    for segment in plain:
        if not segment:
            return "it has an empty segment: a dot at its start or end, or two in a row"
        stranger = not_in_a_name.search(segment)
        if stranger is None:
            continue
        if stranger[0] == STAR:
            return "it has a star, which stands for something in patterns only"
        return f"it has the character {stranger[0]!r}, which is none of A-Z a-z 0-9 _ -"
    return _what_is_wrong_with_path(path)


def _what_is_wrong_with_path(path: str) -> str:
    stranger = _NOT_IN_A_PATH.search(path)
    if stranger is not None:
        return f"its path has the character {stranger[0]!r}, which no path scope may hold"
    if path.endswith("/"):
        return "its path ends in a slash; only the path that is just a slash does"
    if "//" in path:
        return "its path has two slashes in a row"
    return "its path has a component . or .., so it isn't normalised"


def _plain_and_path(text: str) -> tuple[list[str], str]:
    """Take any text apart: its plain segments, and its path scope or an empty text."""
    if text.startswith("/"):
        return [], text
    plain, path_follows, path = text.partition("./")
    return plain.split("."), "/" + path if path_follows else ""
