"""What a tool takes, for people: a row for each argument, and a call that can be filled in.

All that it shows is the plugin's own words, which are escaped here.
"""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence

from rich.table import Table

from sigil_actors.cli.output import one_line
from sigil_actors.cli.tables import cell, new_table
from sigil_actors.core.json_value import JsonObject, JsonValue

CHOICES_MAX = 8
"""Words of an enumeration that a row holds; `--json` has all."""

_SAMPLES: Mapping[str, JsonValue] = {
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "array": [],
    "object": {},
    "null": None,
}
"""What stands for a value of a type; for a text it is the argument's name."""

_ITSELF = ("default", "const")
_LISTS = ("examples", "enum")
"""Where a schema names values that fit."""


def is_tabular(schema: JsonValue) -> bool:
    """Tell whether a schema says all that it says about arguments one by one."""
    return (
        isinstance(schema, dict)
        and schema.get("type", "object") == "object"
        and isinstance(schema.get("properties", {}), dict)
        and not schema.keys()
        & {"$ref", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties"}
    )


def arguments_table(schema: JsonObject) -> Table:
    """Return a row for each argument; those that are required first."""
    required = _required(schema)
    table = new_table("argument", "type", "required", "description")
    for name, one in sorted(_arguments(schema), key=lambda found: found[0] not in required):
        says = one.get("description", "")
        table.add_row(
            *(cell(name), cell(_type(one)), cell("yes" if name in required else "no")),
            cell(says if isinstance(says, str) else ""),
        )
    return table


def sample_call(plugin: str, tool: str, schema: JsonValue, options: Sequence[str] = ()) -> str:
    """Return a command that calls a tool, with something for each argument that it requires."""
    sample: dict[str, JsonValue] = {}
    if isinstance(schema, dict):
        required = _required(schema)
        sample = {name: _sample(name, one) for name, one in _arguments(schema) if name in required}
    arguments = (json.dumps(sample, ensure_ascii=False),) if sample else ()
    return one_line(shlex.join(("sigil-actors", "call", plugin, tool, *arguments, *options)))


def _arguments(schema: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    found = schema.get("properties")
    for name, one in found.items() if isinstance(found, dict) else ():
        yield name, one if isinstance(one, dict) else {}


def _required(schema: JsonObject) -> Collection[str]:
    found = schema.get("required")
    return frozenset(map(str, found)) if isinstance(found, list) else frozenset()


def _type(schema: JsonObject) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list):
        more = ", …" if len(choices) > CHOICES_MAX else ""
        return f"one of {', '.join(map(json.dumps, choices[:CHOICES_MAX]))}{more}"
    kind = schema.get("type", "any")
    word = " or ".join(map(str, kind)) if isinstance(kind, list) else str(kind)
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f"{word}, {least} to {most}"
    if least is not None:
        return f"{word} from {least}"
    return word if most is None else f"{word} up to {most}"


def _sample(name: str, schema: JsonObject) -> JsonValue:
    for key in _ITSELF:
        if key in schema:
            return schema[key]
    for key in _LISTS:
        found = schema.get(key)
        if isinstance(found, list) and found:
            first: JsonValue = found[0]
            return first
    kind = schema.get("type")
    word = kind[0] if isinstance(kind, list) and kind else kind
    if word in {"integer", "number"}:
        least: JsonValue = schema.get("minimum")
        if least is not None:
            return least
    return _SAMPLES.get(str(word), name)
