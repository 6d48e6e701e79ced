"""A YAML text becomes plain values with lines, within bounds."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml.events import Event

from sigil_actors.core import yaml_document
from sigil_actors.core.yaml_document import (
    DOCUMENT_BYTES_MAX,
    NESTING_MAX,
    NUMBER_TEXT_MAX,
    VALUES_MAX,
    DocumentError,
    YamlValue,
    read_document,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a", "a"),
        ("~", None),
        ("null", None),
        ("a:", {"a": None}),
        ("true", True),
        ("FALSE", False),
        ("yes", "yes"),
        ("on", "on"),
        ("1", 1),
        ("-17", -17),
        ("0777", 777),
        ("0o17", 15),
        ("0xfF", 255),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("1.0", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.2.3", "1.2.3"),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|\n  1\n", "1\n"),
        ("\u0661", "\u0661"),
        ("[a, {b: [c]}]", ["a", {"b": ["c"]}]),
        ("\ufeffa: 1", {"a": 1}),
        ("%YAML 1.1\n---\na: yes\n", {"a": "yes"}),
        ("a: &x [1, {b: 2}]\nc: *x\n", {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}),
        ("a: &x 1\nc: *x\n", {"a": 1, "c": 1}),
    ],
)
def test_scalars_mean_what_the_core_schema_says(text: str, value: YamlValue) -> None:
    document = read_document(text)
    assert document.problems == ()
    assert document.value == value
    assert type(document.value) is type(value)
    assert read_document(text.encode()).value == value


def test_an_alias_is_a_copy() -> None:
    value = read_document("a: &x [1]\nb: *x\n").value
    assert isinstance(value, dict)
    assert value["a"] is not value["b"]


def test_every_path_has_its_line() -> None:
    document = read_document(
        "# comment\n\na: 1\nb:\n  - x\n  - {c: 1,\n     d: 2}\n"
        "e: &e {f: 1}\ng: *e\r\n'odd key': [1]\n"
    )
    lines = {
        "": 3,
        "a": 3,
        "b": 4,
        "b[0]": 5,
        "b[1].c": 6,
        "b[1].d": 7,
        "e.f": 8,
        "g": 9,
        "g.f": 9,
        "['odd key']": 10,
        "['odd key'][0]": 10,
        "b[7].x": 4,
        "nothing.like.it": 3,
    }
    assert {path: document.line_of(path) for path in lines} == lines


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "is empty"),
        ("# nothing\n", 1, "is empty"),
        ("---\n...\n# x\n---\n", 4, "second document"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a: 1\n...\n---\nb: 2\n", 3, "second document"),
        ("a: [1,\nb: 2\n", 3, "isn't YAML"),
        ("a: 1\n\tb: 2\n", 2, "isn't YAML"),
        ("a: b: c\n", 1, "isn't YAML"),
        ("a: 1\nb: @x\n", 2, "isn't YAML"),
        ("a: 1\nb: *nope\n", 2, "alias 'nope' of nothing"),
        ("a: &x [1, *x]\n", 1, "alias 'x' of nothing"),
        ("a: 'x\0'\n", 1, "U+0000"),
        ("a: 1\nb: \x1b[2J\n", 2, "U+001B"),
        ('a: "\\U7FFFFFFF"', 1, "an escape stands for no character"),
        ("a: 1\nb: \ud800\n", 2, "half of a surrogate pair"),
        (b"a: 1\nb: \xff\n", 2, "isn't UTF-8"),
        ("a: 1".encode("utf-16"), 1, "isn't UTF-8"),
        (b"\x7fELF\x02\x01\x01\x00", 1, "U+007F"),
        ("!<", 1, "isn't YAML"),
        ("%YAML 2.0\n---\na: 1\n", 1, "isn't YAML"),
    ],
)
def test_what_cannot_be_read_is_one_problem_with_its_line(
    text: str | bytes, line: int, what: str
) -> None:
    with pytest.raises(DocumentError) as caught:
        read_document(text)
    problem = caught.value.problem
    assert (problem.path, problem.line) == ("", line)
    assert what in problem.what
    assert problem.remedy


@pytest.mark.parametrize(
    ("text", "path", "line", "what"),
    [
        ("a: 1\nb: 2\na: 3\n", "a", 3, "twice, first in line 1"),
        ("x:\n  a: 1\n  a: 1\n", "x.a", 3, "twice, first in line 2"),
        ("a: 1\n5: x\n", "", 2, "has the key '5', which isn't text"),
        ("a: 1\ntrue: x\n", "", 2, "has the key 'true', which isn't text"),
        ("a: 1\n~: x\n", "", 2, "a key that isn't text"),
        ("a: 1\n? [b]\n: c\n", "", 2, "a key that isn't text"),
        ("a: &x {c: 1}\nb:\n  <<: *x\n", "b", 3, "merge key"),
        ("a: 1\nb: !!str 2\n", "b", 2, "tag 'tag:yaml.org,2002:str'"),
        ("a: 1\nb: !x [1]\n", "b", 2, "tag '!x'"),
        ("a: 1\nb: !!python/object/apply:os.system [ls]\n", "b", 2, "tag"),
        ("a: ! 1\n", "a", 1, "tag '!'"),
        ("a: .inf\n", "a", 1, "no number"),
        ("a: -.Inf\n", "a", 1, "no number"),
        ("a: .nan\n", "a", 1, "no number"),
        ("a: 1e999\n", "a", 1, "no number"),
        ("a: " + "9" * (NUMBER_TEXT_MAX + 1), "a", 1, "no number"),
        ("a: " + "9" * 100_000, "a", 1, "no number"),
        ('a: 1\nb: "\\uD800"\n', "b", 2, "half of a surrogate pair"),
    ],
)
def test_what_is_wrong_with_one_value_leaves_the_rest_readable(
    text: str, path: str, line: int, what: str
) -> None:
    document = read_document(text)
    (problem,) = document.problems
    assert (problem.path, problem.line) == (path, line)
    assert what in problem.what
    assert problem.remedy
    assert isinstance(document.value, dict)
    assert "a" in document.value or "x" in document.value


def test_what_is_there_twice_counts_once_and_first() -> None:
    document = read_document("a: {b: 1}\na:\n  b: 2\n")
    assert document.value == {"a": {"b": 1}}
    assert document.line_of("a.b") == 1


def test_a_key_that_cannot_be_one_takes_its_value_with_it() -> None:
    assert read_document("5: [a, b]\n<<: {c: d}\ne: f\n").value == {"e": "f"}


class Counted:
    """Counts the events that are drawn from the YAML library: the work that was done."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events = 0
        original = yaml_document._events

        def counting(source: str) -> Iterator[Event]:
            for event in original(source):
                self.events += 1
                yield event

        monkeypatch.setattr(yaml_document, "_events", counting)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"]
    for level in range(1, levels):
        copies = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{copies}]\n")
    return "".join(lines)


def test_a_billion_laughs_are_refused_before_they_are_copied(counted: Counted) -> None:
    with pytest.raises(DocumentError, match=f"more than {VALUES_MAX} values") as caught:
        read_document(laughs(20))
    assert caught.value.problem.line == 4
    assert counted.events < 100


def test_aliases_within_the_bounds_are_fine() -> None:
    assert read_document(laughs(3)).problems == ()


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? ", "[{a: "])
def test_nesting_is_refused_before_the_stack_ends(counted: Counted, opening: str) -> None:
    with pytest.raises(DocumentError, match=f"nested more than {NESTING_MAX} deep"):
        read_document(opening * (100_000 // len(opening)))
    assert counted.events < 200


def test_nesting_up_to_the_bound_is_fine() -> None:
    assert read_document("[" * NESTING_MAX + "]" * NESTING_MAX).problems == ()


def test_nesting_by_aliases_counts() -> None:
    steps = "".join(f"a{i}: &a{i} [[[*a{i - 1}]]]\n" for i in range(1, 20))
    with pytest.raises(DocumentError, match=f"nested more than {NESTING_MAX} deep"):
        read_document("a0: &a0 [x]\n" + steps)


def test_more_values_than_anyone_writes_are_refused(counted: Counted) -> None:
    with pytest.raises(DocumentError, match=f"more than {VALUES_MAX} values"):
        read_document("[" + "a," * 100_000 + "]")
    assert counted.events < VALUES_MAX + 10


@pytest.mark.parametrize("text", [b"a" * (10 << 20), "a" * (10 << 20), "\u20ac" * 100_000])
def test_a_text_over_the_bound_is_refused_unread(counted: Counted, text: str | bytes) -> None:
    with pytest.raises(DocumentError, match="larger than 256 KiB"):
        read_document(text)
    assert counted.events == 0


def test_a_text_of_just_the_bound_is_read() -> None:
    assert read_document(b"'" + b"a" * (DOCUMENT_BYTES_MAX - 2) + b"'").problems == ()


def test_a_foreign_event_is_our_bug_and_no_value() -> None:
    with pytest.raises(AssertionError):
        yaml_document._Reader(iter(()))._value(Event(), "", 1)


yaml_like = st.text(
    st.sampled_from("abx01.:-?[]{},&*!|>'\"%@`#~<= \n\t\\\ufeff\x85\u2028\0"),
    max_size=60,
)


@given(st.binary(max_size=200) | st.text(max_size=200) | yaml_like)
def test_any_text_is_a_document_or_a_document_error(text: str | bytes) -> None:
    with suppress(DocumentError):
        document = read_document(text)
        assert all(problem.line >= 1 for problem in document.problems)
        assert set(document.unread) <= {problem.path for problem in document.problems}
