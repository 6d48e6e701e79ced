"""Which keys of a configuration are secret."""

import pytest

from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.secret_keys import find_secret_keys

SECRET: JsonObject = {"type": "string", "secret": True}


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        ({}, ()),
        ({"properties": {"token": SECRET, "url": {"type": "string"}}}, ("token",)),
        ({"properties": {"token": {"secret": False}}}, ()),
        ({"properties": {"smtp": {"properties": {"password": SECRET}}}}, ("smtp.password",)),
        ({"properties": {"bots": {"items": {"properties": {"token": SECRET}}}}}, ("bots[].token",)),
        ({"properties": {"pair": {"prefixItems": [{}, SECRET]}}}, ("pair[]",)),
        ({"additionalProperties": SECRET}, ("*",)),
        ({"properties": {"by_name": {"patternProperties": {"^a": SECRET}}}}, ("by_name.*",)),
        ({"allOf": [{"properties": {"a": SECRET}}, {"properties": {"b": SECRET}}]}, ("a", "b")),
        ({"if": {}, "then": {"properties": {"a": SECRET}}}, ("a",)),
        ({"dependentSchemas": {"x": {"properties": {"a": SECRET}}}}, ("a",)),
        ({"properties": {"a": {"$ref": "#/$defs/s"}}, "$defs": {"s": SECRET}}, ("a",)),
        ({"properties": {"a": {"$ref": "http://x"}}}, ()),
        ({"$defs": {"s": SECRET}}, ()),
        ({"properties": {"a": {"secret": True, "properties": {"b": SECRET}}}}, ("a",)),
        ({"properties": {"a": True, "b": SECRET}}, ("b",)),
        ({"secret": True}, ("*",)),
        ({"properties": {"a": {"secret": "yes"}}}, ("a",)),
    ],
)
def test_what_a_schema_marks_is_found(schema: JsonObject, keys: tuple[str, ...]) -> None:
    assert find_secret_keys(schema) == keys


def test_a_schema_that_refers_to_itself_is_secret_from_there_on() -> None:
    schema: JsonObject = {
        "properties": {"tree": {"$ref": "#/$defs/node"}},
        "$defs": {"node": {"properties": {"token": SECRET, "next": {"$ref": "#/$defs/node"}}}},
    }
    assert find_secret_keys(schema) == ("tree.next", "tree.token")


def test_one_definition_used_twice_is_no_cycle() -> None:
    schema: JsonObject = {
        "properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}},
        "$defs": {"n": {"properties": {"url": {}}}},
    }
    assert find_secret_keys(schema) == ()


def test_a_schema_too_large_to_be_sure_of_is_secret_altogether() -> None:
    levels = 40
    schema: JsonObject = {
        "$ref": "#/$defs/d0",
        "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(levels)},
    }
    assert find_secret_keys(schema) == ("*",)


def test_a_schema_too_deep_to_be_sure_of_is_secret_from_there_on() -> None:
    schema: JsonValue = {}
    for _ in range(1_000):
        schema = {"not": schema}
    assert isinstance(schema, dict)
    assert find_secret_keys(schema) == ("*",)
