"""A stranger's text, made safe to show."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.text import SHOWN_TEXT_MAX, escape_text

ANY_TEXT = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\\\n\x1b\u202e\ud800"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("plain words, 100%", "plain words, 100%"),
        ("naïve Ελλάδα 日本 🦊", "naïve Ελλάδα 日本 🦊"),
        ("two\nlines\r\n", "two\\x0alines\\x0d\\x0a"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b31m", "\\x9b31m"),
        ("\x00\x7f\t", "\\x00\\x7f\\x09"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("\u2066\u2069\u200b\u200f\ufeff\u00ad", "\\u2066\\u2069\\u200b\\u200f\\ufeff\\xad"),
        ("\u2028\u2029\u00a0", "\\u2028\\u2029\\xa0"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),  # a tag character: text that nobody sees
        ("\u3164\u2800\ufe0f\U000e0100", "\\u3164\\u2800\\ufe0f\\U000e0100"),
        ("\\x1b", "\\\\x1b"),
    ],
)
def test_what_is_not_visible_becomes_a_visible_escape(text: str, shown: str) -> None:
    assert escape_text(text) == shown


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("ab\n", 6, "ab\\x0a"),
        ("ab\n", 5, "ab…"),
        ("\nab", 4, "…"),
        ("\na", 4, "…"),
        ("\n\n", 7, "\\x0a…"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
        ("abc", -1, ""),
        ("", 0, ""),
        ("a" * (SHOWN_TEXT_MAX + 1), SHOWN_TEXT_MAX, "a" * (SHOWN_TEXT_MAX - 1) + "…"),
    ],
)
def test_what_is_too_long_ends_in_an_ellipsis_and_no_escape_is_cut(
    text: str, limit: int, shown: str
) -> None:
    assert escape_text(text, limit=limit) == shown


@given(ANY_TEXT, st.integers(min_value=0, max_value=40))
def test_whatever_comes_in_one_bounded_printable_line_goes_out(text: str, limit: int) -> None:
    shown = escape_text(text, limit=limit)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert len(shown) <= limit
    shown.encode()


@given(ANY_TEXT)
def test_an_unbounded_escape_can_be_read_back(text: str) -> None:
    shown = escape_text(text, limit=10 * len(text))
    back = re.sub(
        r"\\(?:\\|x(..)|u(....)|U(........))",
        lambda found: chr(int(found[found.lastindex], 16)) if found.lastindex else "\\",
        shown,
    )
    assert back == text


@given(ANY_TEXT, st.integers(min_value=1, max_value=40))
def test_a_cut_text_begins_like_the_whole_one(text: str, limit: int) -> None:
    shown, whole = escape_text(text, limit=limit), escape_text(text, limit=10 * len(text) + 1)
    assert shown == whole or (shown[-1] == "…" and whole.startswith(shown[:-1]))
    assert (shown == whole) is (len(whole) <= limit)


def test_a_subclass_of_str_is_taken_for_its_characters() -> None:
    class Liar(str):
        __slots__ = ()

        def isprintable(self) -> bool:
            return True

        def isascii(self) -> bool:
            return True

        def __str__(self) -> str:
            return "harmless"

        def __contains__(self, _: object) -> bool:
            return False

    assert escape_text(Liar("\x1b\n")) == "\\x1b\\x0a"
