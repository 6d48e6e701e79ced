"""A YAML text becomes plain values, each with its line; whatever could run away is bounded.

Knows YAML, and nothing of manifests. ruamel.yaml reads the syntax, one event at a time, so that a
bound stops it; what the scalars mean is decided here, by YAML 1.2's core schema and nothing more:
no dates, no octal `0777`, no `yes`. Tags, merge keys and further documents are refused. An alias is
a copy, and its copies count.
"""

import math
import re
from collections.abc import Iterator
from typing import Final, NoReturn, TypeAlias

import attrs
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, StringMark
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from sigil_actors.core.wording import below, enclosing, shown
from sigil_actors.errors import Problem

DOCUMENT_BYTES_MAX: Final = 256 * 1024
"""A hundred times a large manifest, and read in well under a second."""

NESTING_MAX: Final = 32
"""Collections within collections; the deepest part of a manifest proper is five."""

VALUES_MAX: Final = 10_000
"""Values in all, copies by aliases counted: what a reader is asked to look at."""

NUMBER_TEXT_MAX: Final = 64
"""Characters of a number: more than any that a machine word or a float can tell apart."""

YamlValue: TypeAlias = "None | bool | int | float | str | list[YamlValue] | dict[str, YamlValue]"

# YAML 1.2.2, section 10.3.2, tag resolution of the core schema.
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII)


class DocumentError(Exception):
    """The text can't be read at all; `problem` is the one reason."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        super().__init__(problem.what)


@attrs.frozen
class Document:
    """What a text holds."""

    value: YamlValue
    problems: tuple[Problem, ...]
    """What was wrong with single values and keys."""
    unread: frozenset[str]
    """The paths of the values that couldn't be read; None stands in their place."""
    lines: dict[str, int]
    """The line of each path, from 1; those within an alias are missing."""
    first_line: int
    """Where the outermost value begins."""

    def line_of(self, path: str) -> int:
        """Return the line where `path` stands, or else of the nearest that it lies within."""
        return next((self.lines[at] for at in enclosing(path) if at in self.lines), self.first_line)


def read_document(text: str | bytes) -> Document:
    """Read `text` as one YAML document.

    Raises:
        DocumentError: it is over the bounds, isn't UTF-8, isn't YAML, or isn't one document.
    """
    source = _decode(text)
    reader = _Reader(_events(source))
    value = reader.document()
    return Document(
        value, tuple(reader.problems), frozenset(reader.unread), reader.lines, reader.first_line
    )


def _fail(line: int, what: str, remedy: str) -> NoReturn:
    raise DocumentError(Problem(path="", line=line, what=what, remedy=remedy))


def _decode(text: str | bytes) -> str:
    if len(text) > DOCUMENT_BYTES_MAX:
        _fail(1, f"is larger than {DOCUMENT_BYTES_MAX // 1024} KiB", "Make it smaller")
    try:
        encoded = text.encode() if isinstance(text, str) else text
        if len(encoded) > DOCUMENT_BYTES_MAX:
            _fail(1, f"is larger than {DOCUMENT_BYTES_MAX // 1024} KiB", "Make it smaller")
        return encoded.decode()
    except UnicodeEncodeError as error:
        line = error.object.count("\n", 0, error.start) + 1
        _fail(line, "holds half of a surrogate pair, which is no character", "Save it as UTF-8")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        _fail(line, "isn't UTF-8", "Save it as UTF-8; perhaps it is no text at all")


def _events(source: str) -> Iterator[Event]:
    try:
        # Not the round-trip loader: it keeps comments, and composes before anybody can count.
        yield from YAML(typ="safe", pure=True).parse(source)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if isinstance(mark, StringMark) else 1
        _fail(line, f"isn't YAML: {error.problem or error.context}", "Correct the syntax")
    except ReaderError as error:
        line = source.count("\n", 0, error.position) + 1
        _fail(line, f"holds the character {_code_point(error.character)}", "Drop it")
    except (ValueError, OverflowError):
        # ruamel.yaml hands any eight hexadecimal digits of an escape to chr().
        _fail(1, "isn't YAML: an escape stands for no character", "Correct the escape")


def _code_point(character: object) -> str:
    return f"U+{character:04X}" if isinstance(character, int) else repr(character)


@attrs.define
class _Reader:
    events: Iterator[Event]
    problems: list[Problem] = attrs.field(factory=list)
    lines: dict[str, int] = attrs.field(factory=dict)
    first_line: int = 1
    unread: set[str] = attrs.field(factory=set)
    _anchors: dict[str, YamlValue] = attrs.field(factory=dict)
    _count: int = 0

    def document(self) -> YamlValue:
        next(self.events)  # the stream's start
        start = next(self.events)
        if not isinstance(start, DocumentStartEvent):
            _fail(1, "is empty", "Write a manifest")
        first = next(self.events)
        self.first_line = _line(first)
        value = self._value(first, "", 1)
        next(self.events)  # the document's end
        after = next(self.events)
        if not isinstance(after, StreamEndEvent):
            _fail(_line(after), "holds a second document", "Keep one document a file; drop the ---")
        return value

    def _value(self, event: Event, path: str, depth: int) -> YamlValue:
        self._add(1, event)
        value: YamlValue
        match event:
            case AliasEvent():
                return self._alias(event, depth)
            case CollectionStartEvent():
                if depth > NESTING_MAX:
                    _fail_nesting(event)
                is_mapping = isinstance(event, MappingStartEvent)
                value = self._mapping(path, depth) if is_mapping else self._sequence(path, depth)
            case ScalarEvent():
                value = self._scalar(event, path)
            case _:
                raise AssertionError(event)
        if event.tag is not None:  # "!" alone, which makes a plain scalar text, is one as well
            value = self._unread(event, path, f"has the tag {shown(event.tag)}", "Drop the tag")
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _mapping(self, path: str, depth: int) -> dict[str, YamlValue]:
        mapping: dict[str, YamlValue] = {}
        while not isinstance(event := next(self.events), MappingEndEvent):
            key = self._key(event, path, depth)
            where = path if key is None else below(path, key)
            is_first = key is not None and key not in mapping
            if key is not None and not is_first:
                what = f"is there twice, first in line {self.lines[where]}"
                self._problem(event, where, what, "Drop one of the two")
            self.lines.setdefault(where, _line(event))
            value = self._value(next(self.events), where, depth + 1)
            if key is not None and is_first:
                mapping[key] = value
        return mapping

    def _key(self, event: Event, path: str, depth: int) -> str | None:
        """Return the key that `event` begins, or None, the problem noted, where it can't be one."""
        plain = event.value if isinstance(event, ScalarEvent) and event.implicit[0] else None
        if plain == "<<":
            self._add(1, event)
            self._problem(
                event, path, "holds a merge key (<<), which YAML 1.2 lacks", "Write the keys"
            )
            return None
        key = self._value(event, path, depth + 1)
        if isinstance(key, str):
            return key
        if plain is not None and key is not None:
            what = f"has the key {shown(plain)}, which isn't text"
            self._problem(event, path, what, "Put the key in quotes")
        else:
            self._problem(event, path, "has a key that isn't text", "Use a word as the key")
        return None

    def _sequence(self, path: str, depth: int) -> list[YamlValue]:
        sequence: list[YamlValue] = []
        while not isinstance(event := next(self.events), SequenceEndEvent):
            where = below(path, len(sequence))
            self.lines.setdefault(where, _line(event))
            sequence.append(self._value(event, where, depth + 1))
        return sequence

    def _scalar(self, event: ScalarEvent, path: str) -> YamlValue:
        text = str(event.value)
        if any("\ud800" <= character <= "\udfff" for character in text):
            return self._unread(event, path, "holds half of a surrogate pair", "Use \\U")
        is_plain = event.implicit[0]
        if not is_plain:
            return text
        return self._plain(event, text, path)

    def _plain(self, event: ScalarEvent, text: str, path: str) -> YamlValue:
        if text in _NULLS:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        is_number = _FLOAT.fullmatch(text) or _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text)
        if not is_number and not _NOT_FINITE.fullmatch(text):
            return text
        number = _number(text) if is_number and len(text) <= NUMBER_TEXT_MAX else math.inf
        if not math.isfinite(number):
            what = f"{shown(text)} is no number to reckon with"
            return self._unread(event, path, what, "Write a finite number, not too long")
        return number

    def _alias(self, event: AliasEvent, depth: int) -> YamlValue:
        # The anchor of a collection that isn't complete isn't there yet, so nothing holds itself.
        if event.anchor not in self._anchors:
            _fail(
                _line(event), f"has an alias {shown(str(event.anchor))} of nothing", "Write it out"
            )
        return self._copy(self._anchors[event.anchor], event, depth)

    def _copy(self, value: YamlValue, event: Event, depth: int) -> YamlValue:
        if not isinstance(value, list | dict):
            return value
        self._add(len(value), event)
        if depth > NESTING_MAX:
            _fail_nesting(event)
        if isinstance(value, list):
            return [self._copy(inner, event, depth + 1) for inner in value]
        return {key: self._copy(inner, event, depth + 1) for key, inner in value.items()}

    def _add(self, count: int, event: Event) -> None:
        self._count += count
        if self._count > VALUES_MAX:
            _fail(
                _line(event), f"holds more than {VALUES_MAX} values", "Use fewer; mind the aliases"
            )

    def _unread(self, event: Event, path: str, what: str, remedy: str) -> YamlValue:
        """Note a problem with the value at `path`, and return what stands in for it."""
        self._problem(event, path, what, remedy)
        self.unread.add(path)
        return None

    def _problem(self, event: Event, path: str, what: str, remedy: str) -> None:
        self.problems.append(Problem(path=path, line=_line(event), what=what, remedy=remedy))


def _number(text: str) -> int | float:
    if _OCTAL.fullmatch(text):
        return int(text, 8)
    if _HEXADECIMAL.fullmatch(text):
        return int(text, 16)
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text)


def _fail_nesting(event: Event) -> NoReturn:
    _fail(_line(event), f"is nested more than {NESTING_MAX} deep", "Make it flatter")


def _line(event: Event) -> int:
    return int(event.start_mark.line) + 1
