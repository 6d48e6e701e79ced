"""JSON Schema 2020-12 of strangers: is it one, and does a value fit it.

The validator is jsonschema-rs; it is loaded with this module. It is kept from what a hostile schema
could make of it: nothing is fetched, patterns match in linear time, work and answers are bounded,
and a value is never repeated, since it may be a secret.
"""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from typing import Final, NoReturn

import jsonschema_rs

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.schema_walk import FAULTS_MAX, SchemaFault, SchemaWalk
from sigil_actors.core.wording import below, joined
from sigil_actors.errors import Fault, SigilError

PROBLEMS_MAX: Final = 16
"""Problems told of one value: one who has to mend more starts with these."""

PROBLEM_TEXT_MAX: Final = 300
"""Characters of one problem; the validator's messages repeat whole lists of a schema."""

WEIGHT_MAX: Final = 10_000
"""Values within a schema as it is written, a long text counting for several."""

NESTING_MAX: Final = 64
"""Values within values. The validator stops at 255; a manifest at 32."""

PATTERN_BYTES_MAX: Final = 1 << 20
"""Compiled size of one pattern: `[^ ]{1,250}` or `\\p{L}{1,20}` fit; a tenth of the default."""

VISITS_MAX: Final = 20_000_000
"""Schemas times values that a check may take: some 10 ns each, so a fifth of a second."""

EXPLAINED_MAX: Final = 100_000
"""The same for telling what is wrong, where each visit may leave a text: under 0.1 s."""

_CHARACTERS_PER_WEIGHT = 64
_META_SCHEMA = {"$ref": "https://json-schema.org/draft/2020-12/schema"}


class InvalidSchemaError(SigilError):
    """A schema isn't one that values can be checked against. `faults` says why."""

    fault = Fault.PLUGIN

    def __init__(self, faults: Sequence[SchemaFault]) -> None:
        self.faults = tuple(faults)
        super().__init__(
            "; ".join(f"{joined('schema', fault.path)}: {fault.what}" for fault in faults)
        )


class _UnfitError(ValueError):
    """A value isn't JSON, or is over the bounds."""


def check_schema(schema: JsonObject) -> list[str]:
    """Return what is wrong with `schema`, a line each; nothing where it is fine."""
    return [
        f"{joined('schema', fault.path)}: {fault.what}. {fault.remedy}"
        for fault in find_schema_faults(schema)
    ]


def find_schema_faults(schema: JsonObject) -> tuple[SchemaFault, ...]:
    """Return what is wrong with `schema`, with places and remedies."""
    return _Prepared(schema).faults


class SchemaValidator:
    """A schema that was found good, ready to check values.

    Raises:
        InvalidSchemaError: on making one; the schema isn't good.
    """

    def __init__(self, schema: JsonObject) -> None:
        prepared = _Prepared(schema)
        if prepared.validator is None:
            raise InvalidSchemaError(prepared.faults)
        self._validator = prepared.validator
        self._written_out = prepared.written_out
        self._is_recursive = prepared.is_recursive

    def problems(self, instance: JsonValue) -> tuple[str, ...]:
        """Return how `instance` fails to fit, a line each; nothing where it fits."""
        try:
            weight = _weigh(instance, VISITS_MAX // self._written_out)
            plain = _plain_value(instance)
            if self._validator.is_valid(plain):
                return ()
        except _UnfitError as error:
            return (str(error),)
        # Yes or no is linear; telling why isn't where a schema refers to itself, for which the
        # validator then keeps no record of what it has seen.
        if self._is_recursive or weight * self._written_out > EXPLAINED_MAX:
            return (_UNEXPLAINED,)
        errors = self._validator.iter_errors(plain)
        return tuple(_told(error) for error in islice(errors, PROBLEMS_MAX))


_UNEXPLAINED = "the value doesn't fit the schema, which is too large or intricate to say where"


class _Prepared:
    """A schema's faults and, where there are none, its validator."""

    def __init__(self, schema: JsonObject) -> None:
        self.validator: jsonschema_rs.Draft202012Validator | None = None
        self.written_out = 0
        self.is_recursive = False
        try:
            _weigh(schema, WEIGHT_MAX)
        except _UnfitError as error:
            self.faults: tuple[SchemaFault, ...] = (
                SchemaFault("", str(error), "Use a simpler schema"),
            )
            return
        plain = _plain(schema)
        walk = SchemaWalk(schema)
        self.written_out = walk.written_out()
        self.is_recursive = walk.is_recursive
        self.faults = tuple(islice(_all_faults(walk, plain), FAULTS_MAX))
        if not self.faults:
            try:
                self.validator = _validator(plain)
            except jsonschema_rs.ValidationError as error:
                self.faults = (_fault(error),)


def _all_faults(walk: SchemaWalk, plain: dict[str, object]) -> Iterator[SchemaFault]:
    yield from walk.faults
    yield from map(_fault, _meta_validator().iter_errors(plain))


def _validator(schema: Mapping[str, object]) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(
        dict(schema),
        retriever=_refuse,
        # The engine without look-around and back-references: its time is linear in the text.
        pattern_options=jsonschema_rs.RegexOptions(
            size_limit=PATTERN_BYTES_MAX, dfa_size_limit=PATTERN_BYTES_MAX
        ),
        validate_formats=False,
        mask=_MASK,
    )


@cache
def _meta_validator() -> jsonschema_rs.Draft202012Validator:
    # Made once: making it takes longer than all that a plugin's start does besides.
    return _validator(_META_SCHEMA)


_MASK = "the value"


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"nothing is fetched, {uri[:PROBLEM_TEXT_MAX]!r} neither")


def _fault(error: jsonschema_rs.ValidationError) -> SchemaFault:
    path = _path(error)
    what = _bounded(error.message)
    if path.endswith("pattern") or "patternProperties" in path:
        return SchemaFault(
            path,
            "is no pattern that is taken here",
            "Write a shorter regular expression, without look-around and back-references",
        )
    return SchemaFault(path, what, "Follow JSON Schema 2020-12")


def _told(error: jsonschema_rs.ValidationError) -> str:
    path = _path(error)
    return _bounded(f"{path}: {error.message}" if path else error.message)


def _path(error: jsonschema_rs.ValidationError) -> str:
    path = ""
    for key in error.instance_path:
        path = below(path, key)
    return path


def _bounded(text: str) -> str:
    text = text if len(text) <= PROBLEM_TEXT_MAX else text[:PROBLEM_TEXT_MAX] + "…"
    return repr(text)[1:-1]  # the names within it are a stranger's


def _weigh(value: object, weight_max: int) -> int:
    """Return how many values `value` is, long texts counting for several.

    Raises:
        _UnfitError: it isn't JSON, or more than `weight_max`.
    """
    weight = 0
    waiting: list[tuple[object, int]] = [(value, 1)]
    while waiting:
        part, depth = waiting.pop()
        inner, texts = _parts(part)
        weight += 1 + sum(len(text) // _CHARACTERS_PER_WEIGHT for text in texts)
        if weight + len(waiting) + len(inner) > weight_max:
            raise _UnfitError("is too large to be checked")
        if depth > NESTING_MAX:
            raise _UnfitError(f"is nested more than {NESTING_MAX} deep")
        waiting += ((each, depth + 1) for each in inner)
    return weight


def _parts(value: object) -> tuple[Collection[object], Collection[str]]:
    """Return the values within `value`, and its own texts."""
    match value:
        case str():
            _check_text(value)
            return (), (value,)
        case Mapping():
            for key in value:
                _check_text(key)
            return value.values(), value.keys()
        case list() | tuple():
            return value, ()
        case float() if not math.isfinite(value):
            raise _UnfitError("holds a number that JSON doesn't have")
        case None | bool() | int() | float():
            return (), ()
        case _:
            raise _UnfitError(f"holds a {type(value).__name__}, which JSON doesn't have")


def _check_text(text: object) -> None:
    if not isinstance(text, str):
        raise _UnfitError("has a key that isn't text")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _UnfitError("holds half of a surrogate pair, which is no character") from None


def _plain(value: Mapping[str, object]) -> dict[str, object]:
    """Return a copy in the dicts and lists that the validator knows."""
    return {key: _plain_value(inner) for key, inner in value.items()}


def _plain_value(value: object) -> object:
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, list | tuple):
        return [_plain_value(inner) for inner in value]
    return value
