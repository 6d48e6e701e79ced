"""The grammar by example, and what a set of patterns answers."""

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from sigil_actors.core.capability import (
    LENGTH_MAX,
    SEGMENTS_MAX,
    CapabilitySet,
    check_capability,
    check_pattern,
    match_capability,
)
from sigil_actors.errors import InvalidCapabilityError

VECTORS: list[dict[str, Any]] = json.loads(
    Path(__file__).with_name("capability-vectors.json").read_text(encoding="utf-8")
)

MALFORMED = {
    "": "it is empty",
    ".a": "empty segment",
    "a.": "empty segment",
    "a..b": "empty segment",
    "a. b": "the character ' '",
    "a/b": "the character '/'",
    "é": "the character 'é'",
    "a.\ud800": "the character '\\ud800'",
    "a./b//c": "two slashes",
    "a./b/": "ends in a slash",
    "a.//": "ends in a slash",
    "a./b/../c": "component . or ..",
    "a./..": "component . or ..",
    "a./.": "component . or ..",
    "./b": "empty segment",
    "//": "ends in a slash",
    "/a/../b": "component . or ..",
    "a./b\x00": "'\\x00'",
    "a./b\x7f": "'\\x7f'",
    "a./b\x9f": "'\\x9f'",
    "a./b\udcff": "'\\udcff'",
    "a./b\n": "'\\n'",
    "a\n": "'\\n'",
}

WELL_FORMED = [
    "a",
    "A_-9",
    "/",
    "/a",
    "a./",
    "a./...",
    "a./.b/..c",
    "a./b c é \u202e",
    "/x./y" + ".z" * SEGMENTS_MAX,
    "a." * (SEGMENTS_MAX - 1) + "a",
    "a." * (SEGMENTS_MAX - 1) + "/" + ".x" * 400,
    "a" * LENGTH_MAX,
]

OVER_THE_BOUNDS = [
    "a" * (LENGTH_MAX + 1),
    "/" * (LENGTH_MAX + 1),
    "a." * SEGMENTS_MAX + "a",
    "a." * SEGMENTS_MAX + "/",
    "." * SEGMENTS_MAX,
    "a/b" + ".a" * SEGMENTS_MAX,
]


class Liar(str):
    """A text that answers whatever suits it."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return hash("kv.get")

    def __len__(self) -> int:
        return 1

    def __str__(self) -> str:
        return "kv.get"

    def split(self, *_: object) -> list[str]:
        return ["kv", "get"]

    def startswith(self, *_: object) -> bool:
        return True


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_every_vector_of_the_specification_holds(vector: dict[str, Any]) -> None:
    pattern, capability = vector["pattern"], vector["capability"]
    if vector["match"] == "error":
        with pytest.raises(InvalidCapabilityError):
            match_capability(pattern, capability)
    else:
        assert match_capability(pattern, capability) is vector["match"]


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_a_set_of_one_agrees_with_every_vector_whose_pattern_is_well_formed(
    vector: dict[str, Any],
) -> None:
    try:
        patterns = CapabilitySet(vector["pattern"])
    except InvalidCapabilityError:
        assert vector["match"] in {False, "error"}
        return
    if vector["match"] == "error":
        with pytest.raises(InvalidCapabilityError):
            patterns.contains(vector["capability"])
    else:
        assert patterns.contains(vector["capability"]) is vector["match"]


@pytest.mark.parametrize(("text", "wrong"), MALFORMED.items())
def test_what_is_malformed_matches_nothing_and_a_check_says_why(text: str, wrong: str) -> None:
    assert not match_capability("*", text)
    assert not match_capability(text, "a")
    assert not CapabilitySet("*").contains(text)
    with pytest.raises(InvalidCapabilityError) as capability_error:
        check_capability(text)
    with pytest.raises(InvalidCapabilityError) as pattern_error:
        check_pattern(text)
    assert wrong in capability_error.value.what
    assert wrong in pattern_error.value.what
    assert pattern_error.value.text == text
    with pytest.raises(InvalidCapabilityError):
        CapabilitySet("a", text)
    with pytest.raises(InvalidCapabilityError):
        CapabilitySet("*").covers(text)


@pytest.mark.parametrize("text", WELL_FORMED)
def test_what_is_well_formed_matches_itself_and_a_star(text: str) -> None:
    check_capability(text)
    check_pattern(text)
    assert match_capability(text, text)
    assert match_capability("*", text)
    assert text in CapabilitySet(text)


@pytest.mark.parametrize("text", OVER_THE_BOUNDS)
def test_what_is_over_the_bounds_is_an_error_on_either_side_even_if_malformed(text: str) -> None:
    for ask in (
        lambda: match_capability(text, "a"),
        lambda: match_capability("a", text),
        lambda: match_capability(text, ""),
        lambda: match_capability("", text),
        lambda: check_capability(text),
        lambda: check_pattern(text),
        lambda: CapabilitySet(text),
        lambda: CapabilitySet().contains(text),
        lambda: text in CapabilitySet("a"),
        lambda: CapabilitySet("*").covers(text),
    ):
        with pytest.raises(InvalidCapabilityError, match="more than"):
            ask()


def test_a_star_outside_a_path_is_malformed_in_a_capability_only() -> None:
    with pytest.raises(InvalidCapabilityError, match="stands for something in patterns only"):
        check_capability("a.b*")
    check_pattern("a.b*")
    check_capability("a./b*")


@pytest.mark.parametrize(
    ("pattern", "capability", "matches"),
    [
        ("a./x*y", "a./x*y", True),  # a file's name may hold a star
        ("a./*", "a./", True),
        ("a./*", "a", False),
        ("*", "/", True),
        ("/*", "/a", True),
        ("*./a", "b./a", True),
        ("*./a", "/a", False),
        ("*a", "/a", False),  # a longer plain segment never matches a path scope
        ("b.*a", "b./a", False),
        ("b.a*", "b./a", False),
        ("b./*", "b.a", False),
        ("b./a*", "b.a", False),
        ("b.*.c", "b./x.c", False),
        ("b.**", "b.c.d", True),
        ("b./a**b", "b./a/x/b", True),
        ("b.x*x", "b.x", False),  # one x can't be both
        ("b.x*yx*x", "b.xyx", False),
        ("b.*xy*yx*", "b.xyxz", False),  # nor can one y
        ("b.*xy*y", "b.xxy", False),
        ("b./é", "b./e\u0301", False),  # as the file system sees them: not normalised
        ("b./É", "b./é", False),
        ("f./a/b/c/d/e/f/g/h/i/*", "f./a/b/c/d/e/f/g/h/i/j/k", True),
        ("f./a/b/c/d/e/f/g/h/i/*", "f./a/b/c/d/e/f/g/h/j", False),
    ],
)
def test_corner_cases_hold_alone_and_in_a_set(
    *, pattern: str, capability: str, matches: bool
) -> None:
    assert match_capability(pattern, capability) is matches
    assert (capability in CapabilitySet(pattern)) is matches
    assert CapabilitySet("zz", pattern).matching(capability) == (pattern if matches else None)


def test_an_empty_set_contains_and_covers_nothing() -> None:
    empty = CapabilitySet()
    assert not empty
    assert len(empty) == 0
    assert "a" not in empty
    assert not empty.covers("a")
    assert not CapabilitySet("*").allowed_by(empty, "a")
    assert not empty.allowed_by(CapabilitySet("*"), "a")


def test_a_set_is_sorted_equal_by_content_and_hashable() -> None:
    one = CapabilitySet("b.*", "a", "a", "c./x*")
    other = CapabilitySet("c./x*", "a", "b.*")
    assert list(one) == ["a", "b.*", "c./x*"]
    assert one == other
    assert hash(one) == hash(other)
    assert len({one, other}) == 1
    assert one != CapabilitySet("a")
    assert one != {"a", "b.*", "c./x*"}
    assert len(one) == 3
    assert bool(one)
    assert repr(one) == "CapabilitySet('a', 'b.*', 'c./x*')"


def test_a_set_cannot_be_changed() -> None:
    patterns = CapabilitySet("a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        patterns._patterns = frozenset({"*"})  # type: ignore[misc]


def test_what_is_no_text_is_in_no_set() -> None:
    assert 5 not in CapabilitySet("*")
    assert None not in CapabilitySet("*")


def test_both_sets_must_contain_what_is_allowed_by_both() -> None:
    assert CapabilitySet("kv.*").allowed_by(CapabilitySet("kv.get"), "kv.get")
    assert not CapabilitySet("kv.*").allowed_by(CapabilitySet("kv.get"), "kv.set")
    assert not CapabilitySet("kv.get").allowed_by(CapabilitySet("kv.*"), "kv.set")


@pytest.mark.parametrize(
    ("patterns", "capability", "matching"),
    [
        (["a.b", "a.*", "*"], "a.b", "a.b"),
        (["a.*", "*"], "a.b", "a.*"),
        (["a.*", "a.*b"], "a.b", "a.*b"),
        (["a.*.*", "a.b.*"], "a.b.c", "a.b.*"),
        (["*.*.*", "a.b*.c", "*"], "a.b.c", "a.b*.c"),
        (["*.c", "a.*"], "a.b.c", "a.*"),
        (["*.c", "a.*.d"], "a.c", "*.c"),
        (["a.*", "a.**"], "a.b", "a.**"),
        (["f.*", "f./a/*", "f./a/b*"], "f./a/bc", "f./a/b*"),
        (["f.*", "f./a/*", "f./a/b*"], "f./a/c", "f./a/*"),
        (["a.*", "b.*"], "c.d", None),
        (["a.*"], "a..b", None),
    ],
)
def test_the_matching_pattern_is_the_literal_one_or_the_longest(
    patterns: list[str], capability: str, matching: str | None
) -> None:
    assert CapabilitySet(*patterns).matching(capability) == matching
    assert CapabilitySet(*reversed(patterns)).matching(capability) == matching


@pytest.mark.parametrize(
    ("patterns", "pattern", "covered"),
    [
        (["exec.*"], "exec.run", True),
        (["exec.*"], "exec.*", True),
        (["exec.*"], "exec.*.*", True),
        (["exec.*"], "exec.r*n.fast", True),
        (["exec.*"], "exec", False),
        (["exec.run"], "exec.*", False),
        (["exec.*.*"], "exec.*", False),
        (["*"], "/a/*", True),
        (["a.*"], "a./x", True),
        (["a./*"], "a.*", False),
        (["a.*"], "*", False),
        (["a.x*"], "a.*", False),
        (["a.*x*"], "a.**", False),
        (["a.*ab*"], "a.a*b", False),  # true of an alphabet of two letters
        (["a.a*", "a.b*"], "a.b*c", True),
        (["a.*b", "a.*c"], "a.*", False),  # no single one of them
        (["f./data/*"], "f./data/*.txt", True),
        (["f./data/*"], "f./data*", False),
        (["f./*a"], "f./*/*a", True),
        (["f.*a"], "f./a", False),
        (["*.b", "a.*"], "a.*.b", True),
        (["*.*"], "*", False),
        (["*.*"], "a.*", True),
    ],
)
def test_covers_is_decided_on_the_patterns_themselves(
    *, patterns: list[str], pattern: str, covered: bool
) -> None:
    assert CapabilitySet(*patterns).covers(pattern) is covered


def test_a_lying_subclass_of_str_is_taken_for_its_characters() -> None:
    liar = Liar("exec.run")
    assert not match_capability("kv.*", liar)
    assert match_capability("exec.*", liar)
    assert liar not in CapabilitySet("kv.get")
    assert list(map(type, CapabilitySet(liar))) == [str]
    assert CapabilitySet(liar).contains("exec.run")
    assert not CapabilitySet("kv.get").covers(liar)
    with pytest.raises(InvalidCapabilityError):
        check_capability(Liar("exec..run"))
    with pytest.raises(InvalidCapabilityError):
        check_pattern(Liar("a" * (LENGTH_MAX + 1)))


def test_an_error_stays_short_and_printable_whatever_the_text() -> None:
    with pytest.raises(InvalidCapabilityError) as caught:
        check_capability("a.\x1b[31m\u202e" + "a" * 900)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 300
