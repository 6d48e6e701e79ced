"""How a problem quotes a word, guesses one, and writes a path."""

from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.wording import (
    SHOWN_MAX,
    below,
    counted,
    enclosing,
    guess_or_list,
    joined,
    nearest,
    shown,
)


@given(st.text(max_size=200))
def test_what_is_shown_is_printable_and_short(text: str) -> None:
    assert shown(text).isprintable()
    assert len(shown(text)) <= 10 * SHOWN_MAX + 3


def test_a_long_text_is_cut() -> None:
    assert shown("a" * 81) == "'" + "a" * 80 + "…'"
    assert shown("a" * 80) == "'" + "a" * 80 + "'"


def test_a_near_word_is_guessed_and_a_far_one_is_not() -> None:
    known = {"restart", "storage"}
    assert nearest("restrt", known) == "restart"
    assert nearest("RESTART", known) == "restart"
    assert nearest("xyz", known) is None
    assert nearest("restart" * 1_000, known) is None
    assert guess_or_list("restrt", known) == "Did you mean 'restart'?"
    assert guess_or_list("xyz", known) == "Use one of restart, storage"


def test_a_path_reads_as_in_code() -> None:
    assert below("", "execution") == "execution"
    assert below("execution", "tier") == "execution.tier"
    assert below("capabilities", 2) == "capabilities[2]"
    assert below("env", "a b.c") == "env['a b.c']"
    assert joined("config_schema", "") == "config_schema"
    assert joined("config_schema", "type") == "config_schema.type"
    assert joined("config_schema", "[0].a") == "config_schema[0].a"
    assert list(enclosing("a.b[2].c")) == ["a.b[2].c", "a.b[2]", "a.b", "a"]
    assert list(enclosing("")) == []


def test_one_of_something_is_no_plural() -> None:
    assert [counted(count, "call") for count in (0, 1, 2)] == ["0 calls", "1 call", "2 calls"]
