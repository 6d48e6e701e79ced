"""`describe`: a row for each argument, and a call that can be filled in."""

import io
import json
import shlex
from typing import Any

import pytest

from sigil_actors.cli.output import console, show_on
from sigil_actors.cli.tool_text import arguments_table, is_tabular, sample_call
from sigil_actors.core.json_value import JsonObject, JsonValue

SCHEMA: JsonObject = {
    "type": "object",
    "properties": {
        "top": {"type": "integer", "minimum": 2, "maximum": 9, "description": "How many"},
        "text": {"type": "string", "description": "What to\nread \x1b[31m"},
        "order": {"enum": ["up", "down"]},
        "depth": {"type": ["integer", "null"], "minimum": 3},
        "share": {"type": "number", "maximum": 1},
        "anything": True,
    },
    "required": ["text", "order"],
}


def test_a_row_says_name_type_need_and_description_and_cant_steer_a_terminal() -> None:
    stream = io.StringIO()
    show_on(console(stream), arguments_table(SCHEMA))
    rows = [
        [part.strip() for part in line.split("  ") if part]
        for line in stream.getvalue().splitlines()
    ]
    assert rows == [
        ["argument", "type", "required", "description"],
        ["text", "string", "yes", "What to\\nread \\x1b[31m"],
        ["order", 'one of "up", "down"', "yes"],
        ["top", "integer, 2 to 9", "no", "How many"],
        ["depth", "integer or null from 3", "no"],
        ["share", "number up to 1", "no"],
        ["anything", "any", "no"],
    ]


def test_a_sample_has_what_is_required_and_is_one_command() -> None:
    command = sample_call("text-tool", "stats", SCHEMA, ("--state", "a b"))
    *words, arguments, option, state = shlex.split(command)
    assert words == ["sigil-actors", "call", "text-tool", "stats"]
    assert json.loads(arguments) == {"text": "text", "order": "up"}
    assert (option, state) == ("--state", "a b")
    assert sample_call("p", "t", {"type": "object"}) == "sigil-actors call p t"
    assert sample_call("p", "t", True) == "sigil-actors call p t"


@pytest.mark.parametrize(
    ("schema", "sample"),
    [
        ({"type": "integer"}, 1),
        ({"type": "integer", "minimum": 7}, 7),
        ({"type": "boolean"}, True),
        ({"type": ["array", "null"]}, []),
        ({"default": 5}, 5),
        ({"const": "x"}, "x"),
        ({"examples": ["y"], "type": "string"}, "y"),
        ({"type": "odd"}, "name"),
        (True, "name"),
    ],
)
def test_a_sample_fits_its_type(schema: Any, sample: object) -> None:
    whole: JsonObject = {"properties": {"name": schema}, "required": ["name"]}
    assert json.loads(shlex.split(sample_call("p", "t", whole))[-1]) == {"name": sample}


def test_a_schema_that_says_more_than_rows_can_is_no_table() -> None:
    assert is_tabular(SCHEMA)
    assert is_tabular({})
    others: list[JsonValue] = [
        {"oneOf": []},
        {"$ref": "#/x"},
        {"type": "array"},
        {"properties": 5},
        True,
    ]
    assert not any(map(is_tabular, others))
