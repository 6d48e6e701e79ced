"""The matcher and `covers` against slow, obvious oracles."""

import itertools
import string
import unicodedata
from collections import deque
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.capability import (
    CapabilitySet,
    check_capability,
    check_pattern,
    match_capability,
    split_capability,
)
from sigil_actors.errors import InvalidCapabilityError

PLAIN = string.ascii_letters + string.digits + "_-"

# --- The oracle: the grammar's sentences, one after another, without a thought for time.


def parse(text: str, *, stars: bool) -> list[str] | None:
    """Return the segments, or None where it is malformed."""
    segments: list[str] = []
    rest: str | None = text
    while rest is not None:
        if rest.startswith("/"):
            segments.append(rest)
            rest = None
        elif "." in rest:
            segment, rest = rest.split(".", 1)
            segments.append(segment)
        else:
            segments.append(rest)
            rest = None
    return segments if all(is_segment(segment, stars=stars) for segment in segments) else None


def is_segment(segment: str, *, stars: bool) -> bool:
    if segment == "":
        return False
    if segment[0] != "/":
        return all(character in PLAIN or (stars and character == "*") for character in segment)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in segment):
        return False
    return segment == "/" or not {"", ".", ".."} & set(segment[1:].split("/"))


def oracle(pattern: str, capability: str) -> bool:
    wanted, given_ = parse(pattern, stars=True), parse(capability, stars=False)
    return wanted is not None and given_ is not None and segments_match(wanted, given_)


def segments_match(wanted: list[str], segments: list[str]) -> bool:
    if not wanted:
        return not segments
    if not segments:
        return False
    if set(wanted[0]) == {"*"}:
        return any(
            segments_match(wanted[1:], segments[taken:]) for taken in range(1, len(segments) + 1)
        )
    same_kind = wanted[0].startswith("/") == segments[0].startswith("/")
    return (
        same_kind
        and characters_match(wanted[0], segments[0])
        and segments_match(wanted[1:], segments[1:])
    )


def characters_match(wanted: str, segment: str) -> bool:
    if not wanted:
        return not segment
    if wanted[0] == "*":
        return any(
            characters_match(wanted[1:], segment[taken:]) for taken in range(len(segment) + 1)
        )
    return segment[:1] == wanted[0] and characters_match(wanted[1:], segment[1:])


# --- What to try: few characters, so that much of it matches; and rubbish.


def segments(alphabet: str, *, longest: int = 5) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=longest)


def dotted(plain: str, path: str, *, most: int = 4, longest: int = 5) -> st.SearchStrategy[str]:
    return st.builds(
        lambda parts, tail: ".".join([*parts, *tail]),
        st.lists(segments(plain, longest=longest), min_size=1, max_size=most),
        st.lists(segments(path, longest=longest).map("/".__add__), max_size=1),
    )


PATTERNS = dotted("ab*", "ab*/.", longest=4)
CAPABILITIES = dotted("ab", "ab*/.", most=5)
RUBBISH = st.text(st.sampled_from("ab.*/\x00é\ud800"), max_size=9) | st.text(max_size=6)
WELL_FORMED_PATTERNS = PATTERNS.filter(lambda text: parse(text, stars=True) is not None)
WELL_FORMED_CAPABILITIES = CAPABILITIES.filter(lambda text: parse(text, stars=False) is not None)


@given(WELL_FORMED_PATTERNS, WELL_FORMED_CAPABILITIES)
def test_the_matcher_agrees_with_the_oracle(pattern: str, capability: str) -> None:
    assert match_capability(pattern, capability) is oracle(pattern, capability)


@given(segments("ab*", longest=8), segments("ab", longest=8))
def test_the_matcher_agrees_with_the_oracle_within_one_segment(pattern: str, word: str) -> None:
    assert match_capability(pattern, word) is oracle(pattern, word)


@given(PATTERNS | RUBBISH, CAPABILITIES | RUBBISH)
def test_the_matcher_agrees_with_the_oracle_on_rubbish(pattern: str, capability: str) -> None:
    assert match_capability(pattern, capability) is oracle(pattern, capability)


@given(st.data())
def test_what_is_made_from_a_pattern_matches_it(data: st.DataObject) -> None:
    pattern = data.draw(WELL_FORMED_PATTERNS)
    capability = data.draw(expansions(pattern))
    assert oracle(pattern, capability)
    assert match_capability(pattern, capability)


@given(RUBBISH | PATTERNS)
def test_a_check_refuses_just_what_the_grammar_does_not_have(text: str) -> None:
    for check, stars in ((check_capability, False), (check_pattern, True)):
        if parse(text, stars=stars) is None:
            with pytest.raises(InvalidCapabilityError):
                check(text)
        else:
            check(text)


@given(st.lists(WELL_FORMED_PATTERNS, max_size=8), WELL_FORMED_CAPABILITIES)
def test_a_set_contains_what_one_of_its_patterns_matches(
    patterns: list[str], capability: str
) -> None:
    matching = [pattern for pattern in patterns if oracle(pattern, capability)]
    found = CapabilitySet(*patterns).matching(capability)
    assert (found is not None) is bool(matching)
    if found is not None:
        assert found in matching
        literal = [pattern for pattern in matching if "*" not in pattern]
        assert found in literal or len(found) == max(map(len, matching))
    assert CapabilitySet(*reversed(patterns)).matching(capability) == found


@given(st.text(), st.text(), st.lists(st.text(), max_size=3))
def test_nothing_but_its_own_error_is_raised_for_any_text(
    one: str, other: str, several: list[str]
) -> None:
    for ask in (
        lambda: match_capability(one, other),
        lambda: check_capability(one),
        lambda: check_pattern(one),
        lambda: CapabilitySet(*several),
        lambda: CapabilitySet("*", "a*./*").contains(one),
        lambda: CapabilitySet("*", "a*./*").covers(one),
    ):
        with suppress(InvalidCapabilityError):
            ask()


# --- covers

# A counterexample, where there is one, is no longer than the pattern, and has in the place of each
# star a character that the covering pattern doesn't have. So all small capabilities over the
# patterns' letters and one more decide it for small patterns.
SMALL_PLAIN = ["".join(word) for n in (1, 2) for word in itertools.product("abx", repeat=n)]
SMALL_PATHS = [
    "/" + "".join(word) for n in (0, 1, 2, 3) for word in itertools.product("ax/", repeat=n)
]
UNIVERSE = [
    parts
    for text in (
        *(".".join(words) for n in (1, 2, 3) for words in itertools.product(SMALL_PLAIN, repeat=n)),
        *SMALL_PATHS,
        *(
            ".".join([*words, path])
            for n in (1, 2)
            for words in itertools.product(SMALL_PLAIN, repeat=n)
            for path in SMALL_PATHS
        ),
    )
    if (parts := split_capability(text)) is not None
]
SMALL_PATTERNS = st.builds(
    lambda parts, tail: ".".join([*parts, *tail][:3]),
    st.lists(segments("ab*", longest=2), min_size=1, max_size=3),
    st.lists(segments("a*/", longest=3).map("/".__add__), max_size=1),
).filter(lambda text: parse(text, stars=True) is not None)


def small_language(pattern: str) -> frozenset[str]:
    patterns = CapabilitySet(pattern)
    return frozenset(parts[0] for parts in UNIVERSE if patterns.matching_parts(parts) is not None)


@given(SMALL_PATTERNS, SMALL_PATTERNS)
def test_covers_agrees_with_all_small_capabilities(ours: str, pattern: str) -> None:
    included = small_language(pattern) <= small_language(ours)
    assert CapabilitySet(ours).covers(pattern) is included


def expansions(pattern: str) -> st.SearchStrategy[str]:
    """Return capabilities that the pattern should match: something in the place of each star."""
    plain = segments(PLAIN, longest=3)
    whole = st.lists(plain, min_size=1, max_size=3).map(".".join)
    last = whole | segments("ab.", longest=4).map("/a".__add__)
    pieces: list[st.SearchStrategy[str]] = []
    parsed = parse(pattern, stars=True)
    assert parsed is not None
    for index, segment in enumerate(parsed):
        if set(segment) == {"*"}:
            pieces.append(last if index == len(parsed) - 1 else whole)
            continue
        star = st.text("ab/.*" if segment[0] == "/" else "abc", max_size=3)
        parts = [star if character == "*" else st.just(character) for character in segment]
        pieces.append(st.tuples(*parts).map("".join))
    return (
        st.tuples(*pieces).map(".".join).filter(lambda text: parse(text, stars=False) is not None)
    )


@given(st.lists(WELL_FORMED_PATTERNS, min_size=1, max_size=4), st.data())
def test_what_a_covered_pattern_matches_one_of_the_set_matches(
    patterns: list[str], data: st.DataObject
) -> None:
    # Derived from the set, so that it is often covered.
    pattern = data.draw(st.sampled_from(patterns).flatmap(narrowed) | WELL_FORMED_PATTERNS)
    capability = data.draw(expansions(pattern))
    if CapabilitySet(*patterns).covers(pattern):
        assert any(oracle(ours, capability) for ours in patterns)


def narrowed(pattern: str) -> st.SearchStrategy[str]:
    return (
        st.sampled_from(["*", "a*", "*b", "a", "a.*", "*.b", "**"])
        .map(lambda other: pattern.replace("*", other, 1))
        .filter(lambda text: parse(text, stars=True) is not None)
    )


def glob_included(pattern: str, ours: str, alphabet: str) -> bool:
    """Decide inclusion of one segment's patterns by walking both automata side by side."""
    start = (closed(pattern, {0}), closed(ours, {0}))
    seen, waiting = {start}, deque([start])
    while waiting:
        mine, theirs = waiting.popleft()
        if len(pattern) in mine and len(ours) not in theirs:
            return False
        for letter in alphabet:
            pair = (step(pattern, mine, letter), step(ours, theirs, letter))
            if pair[0] and pair not in seen:
                seen.add(pair)
                waiting.append(pair)
    return True


def closed(pattern: str, states: set[int]) -> frozenset[int]:
    reached = set(states)
    for state in sorted(states):
        at = state
        while at < len(pattern) and pattern[at] == "*":
            at += 1
            reached.add(at)
    return frozenset(reached)


def step(pattern: str, states: frozenset[int], letter: str) -> frozenset[int]:
    after = {state for state in states if state < len(pattern) and pattern[state] == "*"}
    after |= {s + 1 for s in states if s < len(pattern) and pattern[s] == letter}
    return closed(pattern, after)


GLOBS = segments("abc*", longest=7).filter(lambda text: set(text) != {"*"})


@given(GLOBS, GLOBS)
def test_covers_agrees_with_the_automata_of_one_segment(ours: str, pattern: str) -> None:
    assert CapabilitySet(ours).covers(pattern) is glob_included(pattern, ours, "abcx")


@given(st.permutations(PLAIN), segments("ab*", longest=5), segments("ab*", longest=5))
def test_covers_stays_exact_for_a_pattern_that_uses_every_letter(
    letters: list[str], one: str, other: str
) -> None:
    everything = "".join(letters)
    ours, pattern = f"{one}{everything}*", f"{other}{everything}*"
    assert CapabilitySet(ours).covers(pattern) is glob_included(pattern, ours, PLAIN)


@given(WELL_FORMED_PATTERNS, WELL_FORMED_PATTERNS, WELL_FORMED_PATTERNS)
def test_covers_is_transitive_and_every_pattern_covers_itself(
    one: str, two: str, three: str
) -> None:
    assert CapabilitySet(one).covers(one)
    if CapabilitySet(one).covers(two) and CapabilitySet(two).covers(three):
        assert CapabilitySet(one).covers(three)
