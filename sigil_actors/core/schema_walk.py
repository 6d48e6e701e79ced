"""Where a JSON Schema holds further schemas, and how much work it can make of one value.

A schema of a stranger must not stall its reader. The validator answers yes or no in linear time for
a schema that refers to itself, but not for one whose references fan out: thirty definitions, each
of which names the next one twice, are a billion visits. So a schema's size is counted with every
reference written out, and bounded. That needs every reference to be seen: only `#` and `#/…` are
followed, and whatever else could move a reference is refused.
"""

from collections.abc import Iterator, Mapping
from typing import Final

import attrs

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.wording import below, shown

WRITTEN_OUT_MAX: Final = 10_000
"""Schemas within a schema, references written out; the largest honest ones have hundreds."""

NESTING_MAX: Final = 128
"""Schemas within schemas, references included: twice an honest one's. Bounds our recursion."""

PATTERNS_MAX: Final = 100
"""Regular expressions in a schema: one of the largest size takes up to 10 ms to compile."""

FAULTS_MAX: Final = 16
"""Faults told of one schema: one who has to mend more starts with these."""

# JSON Schema 2020-12, core and applicator vocabularies; with what earlier drafts called otherwise,
# since the validator still knows it.
_ONE = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_SEVERAL = ("allOf", "anyOf", "items", "oneOf", "prefixItems")
_NAMED = (
    "dependencies",
    "dependentSchemas",
    "patternProperties",
    "properties",
)
_DEFINITIONS = ("$defs", "definitions")
_MOVING = ("$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef")


@attrs.frozen
class SchemaFault:
    """One thing that is wrong with a schema."""

    path: str
    """Where, from the schema's top: `properties.token.type`; empty for the whole."""
    what: str
    remedy: str


def subschemas(schema: JsonObject) -> Iterator[tuple[tuple[str | int, ...], JsonValue]]:
    """Yield each schema that `schema` applies, with the keys that lead to it; no references."""
    for keyword in _ONE:
        value = schema.get(keyword)
        if isinstance(value, Mapping):
            yield (keyword,), value
    for keyword in _SEVERAL:
        value = schema.get(keyword)
        if isinstance(value, list | tuple):
            for index, item in enumerate(value):
                yield (keyword, index), item
    for keyword in _NAMED:
        value = schema.get(keyword)
        if isinstance(value, Mapping):
            for name, item in value.items():
                yield (keyword, name), item


def follow(root: JsonObject, reference: str) -> JsonValue:
    """Return what `reference` means within `root`, or None where it leads nowhere or elsewhere."""
    if reference == "#":
        return root
    if not reference.startswith("#/") or "%" in reference:
        return None
    place: JsonValue = root
    for escaped in reference[2:].split("/"):
        token = escaped.replace("~1", "/").replace("~0", "~")  # RFC 6901
        if isinstance(place, Mapping):
            place = place.get(token)
        elif isinstance(place, list | tuple) and token.isdecimal() and len(token) <= _INDEX_DIGITS:
            place = place[int(token)] if int(token) < len(place) else None
        else:
            return None
    return place


_INDEX_DIGITS = 6


@attrs.define
class SchemaWalk:
    """One pass through a schema."""

    root: JsonObject
    faults: list[SchemaFault] = attrs.field(factory=list)
    is_recursive: bool = False
    """Whether some schema refers to itself, so that no number says how often it is visited."""
    patterns: int = 0
    """How many regular expressions it holds."""
    _sizes: dict[int, int] = attrs.field(factory=dict)  # by identity: `root` keeps them all alive
    _open: set[int] = attrs.field(factory=set)

    def written_out(self) -> int:
        """Return the number of schemas that `root` is, with every reference written out."""
        size = self._measure(self.root, "", 1)
        if size > WRITTEN_OUT_MAX:
            self._fault(
                "",
                f"is more than {WRITTEN_OUT_MAX} schemas with its references written out",
                "Use simpler definitions",
            )
        if self.patterns > PATTERNS_MAX:
            self._fault("", f"holds more than {PATTERNS_MAX} patterns", "Use fewer")
        return size

    def _measure(self, schema: JsonValue, path: str, depth: int) -> int:
        if not isinstance(schema, Mapping):
            return 1  # true or false; what is neither is no schema, as the validator will say
        if id(schema) in self._sizes:
            return self._sizes[id(schema)]
        if id(schema) in self._open:
            self.is_recursive = True
            return 1
        if depth > NESTING_MAX:
            self._fault(path, f"is nested more than {NESTING_MAX} deep", "Use simpler definitions")
            return 1
        self._open.add(id(schema))
        size = 1 + self._measure_reference(schema, path, depth)
        for keys, part in subschemas(schema):
            size += self._measure(part, _below_all(path, keys), depth + 1)
        for keyword in _DEFINITIONS:  # seen for their faults, but visited only where they are named
            named = schema.get(keyword)
            for name, part in named.items() if isinstance(named, Mapping) else ():
                self._measure(part, _below_all(path, (keyword, name)), depth + 1)
        self._open.discard(id(schema))
        self._check_keywords(schema, path)
        self._sizes[id(schema)] = min(size, WRITTEN_OUT_MAX + 1)
        return self._sizes[id(schema)]

    def _measure_reference(self, schema: JsonObject, path: str, depth: int) -> int:
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return 0
        target = follow(self.root, reference)
        if target is None:
            self._fault(
                below(path, "$ref"),
                f"{shown(reference)} leads to nothing within this schema",
                "Refer to '#' or '#/$defs/NAME'; nothing is fetched",
            )
            return 0
        return self._measure(target, path, depth + 1)

    def _check_keywords(self, schema: JsonObject, path: str) -> None:
        named = schema.get("patternProperties")
        self.patterns += ("pattern" in schema) + (len(named) if isinstance(named, Mapping) else 0)
        for keyword in _MOVING:
            if keyword in schema:
                self._fault(
                    below(path, keyword),
                    "isn't supported",
                    "Refer by $ref to '#' or '#/$defs/NAME'",
                )
        if "$id" in schema and path:
            self._fault(
                below(path, "$id"), "stands within a schema", "Keep it to the top, or drop it"
            )
        if not isinstance(schema.get("secret", False), bool):
            self._fault(below(path, "secret"), "is neither true nor false", "Write secret: true")

    def _fault(self, path: str, what: str, remedy: str) -> None:
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(SchemaFault(path, what, remedy))


def _below_all(path: str, keys: tuple[str | int, ...]) -> str:
    for key in keys:
        path = below(path, key)
    return path
