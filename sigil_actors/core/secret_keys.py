"""Which keys of a configuration its schema marks as secret, so that they are never shown."""

from collections.abc import Mapping
from typing import Final

import attrs

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.schema_walk import NESTING_MAX, WRITTEN_OUT_MAX, follow, subschemas

ANY_KEY: Final = "*"
"""Stands for every key of an object, where the schema doesn't say which; alone: for everything."""

_OF_EACH_ITEM = frozenset({"contains", "items", "prefixItems", "unevaluatedItems"})
_OF_ANY_KEY = frozenset({"additionalProperties", "patternProperties", "unevaluatedProperties"})


def find_secret_keys(schema: JsonObject) -> tuple[str, ...]:
    """Return the path of each secret in a configuration: `token`, `smtp.password`, `bots[].token`.

    In doubt it is secret: where a schema refers to itself, all from there on; where it is too
    large to be sure, everything.
    """
    search = _Search(schema)
    search.visit(schema, "", 0)
    return (ANY_KEY,) if search.visits > WRITTEN_OUT_MAX else tuple(sorted(search.found))


@attrs.define
class _Search:
    root: JsonObject
    found: set[str] = attrs.field(factory=set)
    visits: int = 0
    _open: set[int] = attrs.field(factory=set)

    def visit(self, schema: JsonValue, path: str, depth: int) -> None:
        self.visits += 1
        if not isinstance(schema, Mapping) or self.visits > WRITTEN_OUT_MAX:
            return
        # Anything but false: `secret: "yes"` is a fault elsewhere, and no leak here.
        if (
            id(schema) in self._open
            or depth > NESTING_MAX
            or schema.get("secret", False) is not False
        ):
            self.found.add(path or ANY_KEY)
            return
        self._open.add(id(schema))
        reference = schema.get("$ref")
        if isinstance(reference, str):
            self.visit(follow(self.root, reference), path, depth + 1)
        for keys, part in subschemas(schema):
            self.visit(part, _configuration_path(path, keys), depth + 1)
        self._open.discard(id(schema))


def _configuration_path(path: str, keys: tuple[str | int, ...]) -> str:
    """Return where in the configuration a schema below `path` speaks of."""
    keyword = keys[0]
    if keyword in _OF_EACH_ITEM:
        return f"{path}[]"
    if keyword in _OF_ANY_KEY:
        name = ANY_KEY
    elif keyword == "properties":
        name = str(keys[1])
    else:
        return path  # the same place: allOf, then, dependentSchemas, ...
    return f"{path}.{name}" if path else name
