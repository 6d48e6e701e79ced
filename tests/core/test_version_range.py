"""Semantic versions and ranges of them."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.version_range import VersionRangeError, is_version, parse_range


@pytest.mark.parametrize("text", ["1.2.0", "0.0.0", "1.0.0-rc.1", "1.0.0+build.5", "1.0.0-a+b"])
def test_a_semantic_version_is_one(text: str) -> None:
    assert is_version(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "1.0",
        "v1.0.0",
        "1.0.0.0",
        "01.0.0",
        "1.0.0-",
        "1.0.0-01",
        " 1.0.0",
        "1.0.0\n",
        "\u0661.0.0",
        "9" * 5000 + ".0.0",
        "1.0.0+" + "a" * 200,
    ],
)
def test_what_is_no_semantic_version_is_none(text: str) -> None:
    assert not is_version(text)


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        (">= 1.0.0", ["1.0.0", "1.0.1", "9.0.0", "1.0.0+x"], ["0.9.9", "1.0.0-rc.1", "2.0.0-rc.1"]),
        (">=1.0.0, <2.0.0", ["1.0.0", "1.9.9"], ["0.9.0", "2.0.0", "2.0.0-rc.1"]),
        (">=1.0.0 <2.0.0", ["1.5.0"], ["2.0.0"]),
        (">1.0.0", ["1.0.1"], ["1.0.0"]),
        ("<=1.2", ["1.2.0", "0.1.0"], ["1.2.1"]),
        ("1.2.3", ["1.2.3", "1.2.3+build"], ["1.2.4", "1.2.2"]),
        ("=1.2.3", ["1.2.3"], ["1.2.4"]),
        ("==1.2.3", ["1.2.3"], ["1.2.4"]),
        ("!=1.2.3", ["1.2.4"], ["1.2.3"]),
        ("^1.2", ["1.2.0", "1.99.0"], ["1.1.9", "2.0.0", "2.0.0-rc.1", "1.3.0-rc.1"]),
        ("^1.2.3", ["1.2.3", "1.3.0"], ["1.2.2", "2.0.0"]),
        ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
        ("^0.0.3", ["0.0.3"], ["0.0.4", "0.0.2"]),
        ("^0.0", ["0.0.0", "0.0.9"], ["0.1.0"]),
        ("^0", ["0.0.0", "0.9.0"], ["1.0.0"]),
        ("^1", ["1.0.0", "1.9.0"], ["2.0.0"]),
        ("~1", ["1.0.0", "1.9.0"], ["2.0.0", "0.9.0"]),
        ("~1.2", ["1.2.0", "1.2.9"], ["1.3.0", "1.1.0"]),
        ("~1.2.3", ["1.2.3", "1.2.9"], ["1.3.0", "1.2.2"]),
        ("*", ["0.0.0", "1.2.3"], ["1.0.0-rc.1"]),
        (">=1.0.0-rc.1", ["1.0.0-rc.1", "1.0.0-rc.2", "1.0.0", "1.1.0"], ["1.0.0-b", "1.1.0-rc.1"]),
        ("^1.0.0-rc.1", ["1.0.0-rc.5", "1.0.0", "1.5.0"], ["2.0.0", "1.0.0-alpha"]),
        (" >=1.0.0 ,<2 ", ["1.0.0"], ["2.0.0"]),
    ],
)
def test_a_range_contains_what_its_grammar_says(
    text: str, inside: list[str], outside: list[str]
) -> None:
    versions = parse_range(text)
    assert [version for version in inside if not versions.contains(version)] == []
    assert [version for version in outside if versions.contains(version)] == []


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("x", "no range of versions"),
        ("v1.0.0", "no range of versions"),
        (">= ", "no range of versions"),
        ("1.0.0 || 2.0.0", "no range of versions"),
        ("1.x", "no range of versions"),
        (">=1.0.0,", "ends in a comma"),
        (">=1.0.0,,<2", "no range of versions"),
        (">=01.0.0", "no range of versions"),
        (">=1.0.0-01", "no semantic version"),
        ("1.2", "needs all three numbers"),
        ("!=1", "needs all three numbers"),
        (">=1.2-rc.1", "needs all three numbers"),
        (">=1.0.0<2.0.0", "no range of versions"),
        (">=" + "9" * 20, "no range of versions"),
        (">=1.0.0 " * 100, "longer than"),
        (">=\u0661.0.0", "no range of versions"),
    ],
)
def test_what_is_no_range_is_refused(text: str, what: str) -> None:
    with pytest.raises(VersionRangeError, match=what):
        parse_range(text)


def test_what_is_no_version_is_in_no_range() -> None:
    assert not parse_range("*").contains("1.0")


numbers = st.integers(0, 3)
versions = st.builds("{}.{}.{}".format, numbers, numbers, numbers)


@given(versions, versions)
def test_caret_and_tilde_start_where_they_say_and_exclude_what_is_below(
    low: str, other: str
) -> None:
    below = parse_range(f"<{low}").contains(other)
    for operator in "^~":
        versions = parse_range(f"{operator}{low}")
        assert versions.contains(low)
        assert not (below and versions.contains(other))


@given(versions, versions, versions)
def test_a_further_comparator_never_widens(low: str, high: str, version: str) -> None:
    both = parse_range(f">={low}, <{high}").contains(version)
    assert both == (
        parse_range(f">={low}").contains(version) and parse_range(f"<{high}").contains(version)
    )


@given(st.text() | st.text("0123456789.,<>=^~!* -abc+", max_size=40))
def test_any_text_is_a_range_or_a_range_error(text: str) -> None:
    with suppress(VersionRangeError):
        parse_range(text).contains("1.0.0")
