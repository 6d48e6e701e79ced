"""Schemas of strangers, and values checked against them."""

import socket
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.json_schema import (
    EXPLAINED_MAX,
    NESTING_MAX,
    PATTERN_BYTES_MAX,
    PROBLEM_TEXT_MAX,
    PROBLEMS_MAX,
    VISITS_MAX,
    WEIGHT_MAX,
    InvalidSchemaError,
    SchemaValidator,
    check_schema,
    find_schema_faults,
)
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.schema_walk import FAULTS_MAX, PATTERNS_MAX, WRITTEN_OUT_MAX
from sigil_actors.core.schema_walk import NESTING_MAX as SCHEMAS_NESTING_MAX

GREETING: JsonObject = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "times": {"$ref": "#/$defs/count"},
        "a/b~c": {"type": "null"},
    },
    "required": ["name"],
    "additionalProperties": False,
    "$defs": {"count": {"type": "integer", "minimum": 1}},
}


def nested(depth: int, inner: JsonValue) -> JsonValue:
    for _ in range(depth):
        inner = {"x": inner}
    return inner


def doubling(levels: int) -> JsonObject:
    """Return a schema each of whose definitions names the next one twice."""
    definitions: dict[str, JsonValue] = {
        f"d{level}": {"allOf": [{"$ref": f"#/$defs/d{level + 1}"}] * 2} for level in range(levels)
    }
    return {"$ref": "#/$defs/d0", "$defs": definitions | {f"d{levels}": {"type": "string"}}}


TREE: JsonObject = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "allOf": [
                {"properties": {"x": {"$ref": "#/$defs/node"}}},
                {"properties": {"x": {"$ref": "#/$defs/node"}}},
            ],
        }
    },
}


def test_a_fitting_value_has_no_problems() -> None:
    validator = SchemaValidator(GREETING)
    assert validator.problems({"name": "you", "times": 3}) == ()
    assert validator.problems(MappingProxyType({"name": "you"})) == ()


def test_every_misfit_is_told_with_its_place_and_without_the_value() -> None:
    problems = SchemaValidator(GREETING).problems({"name": 5, "times": 0, "token": "hunter2"})
    assert sorted(problems) == [
        "Additional properties are not allowed ('token' was unexpected)",
        'name: the value is not of type "string"',
        "times: the value is less than the minimum of 1",
    ]


def test_no_schema_takes_everything() -> None:
    assert SchemaValidator({}).problems({"a": [1, None, True, 2.5]}) == ()
    assert check_schema({}) == []


def test_problems_are_bounded_in_number_and_length() -> None:
    validator = SchemaValidator({"items": {"enum": ["x" * 5_000]}})
    problems = validator.problems([1] * 100)
    assert len(problems) == PROBLEMS_MAX
    assert max(map(len, problems)) <= PROBLEM_TEXT_MAX + len("…")


def test_a_hostile_name_reaches_no_terminal() -> None:
    (problem,) = SchemaValidator({"additionalProperties": False}).problems({"\x1b[2J\u202e": 1})
    assert problem.isprintable()


@pytest.mark.parametrize(
    ("schema", "faults"),
    [
        ({"type": "strin"}, ["type"]),
        (
            {"properties": {"a": {"minimum": "x"}, "b": {"type": 1}}},
            ["properties.a.minimum", "properties.b.type"],
        ),
        ({"properties": []}, ["properties"]),
        ({"properties": {"a": 5}}, ["properties.a"]),
        ({"properties": {"a": {"pattern": "("}}}, ["properties.a.pattern"]),
        ({"pattern": "(?=a)"}, ["pattern"]),
        ({"pattern": r"(a)\1"}, ["pattern"]),
        ({"pattern": "((a{100}){100}){100}"}, ["pattern"]),
        ({"patternProperties": {"(": {}}}, ["patternProperties['(']"]),
        ({"$ref": "http://127.0.0.1:1/x"}, ["$ref"]),
        ({"$ref": "file:///etc/passwd"}, ["$ref"]),
        ({"$ref": "other.json"}, ["$ref"]),
        ({"$ref": "#/$defs/nope"}, ["$ref"]),
        ({"$ref": "#/%24defs/a", "$defs": {"a": {}}}, ["$ref"]),
        ({"$ref": "#/allOf/7", "allOf": [{}]}, ["$ref"]),
        ({"$ref": "#/title/x", "title": "t"}, ["$ref"]),
        ({"$ref": "#a", "$anchor": "a"}, ["$ref", "$anchor"]),
        ({"$dynamicRef": "#a", "$dynamicAnchor": "a"}, ["$dynamicAnchor", "$dynamicRef"]),
        ({"$recursiveRef": "#"}, ["$recursiveRef"]),
        ({"properties": {"a": {"$id": "http://x/y"}}}, ["properties.a.$id"]),
        ({"$defs": {"a": {"allOf": [{"$ref": "http://x"}]}}}, ["$defs.a.allOf[0].$ref"]),
        ({"items": [{"$ref": "http://x"}]}, ["items", "items[0].$ref"]),
        ({"properties": {"a": {"secret": "yes"}}}, ["properties.a.secret"]),
        ({"$id": "http://[bad"}, [""]),
    ],
)
def test_what_is_wrong_with_a_schema_is_told_with_its_place(
    schema: JsonObject, faults: list[str]
) -> None:
    found = find_schema_faults(schema)
    assert {fault.path for fault in found} == set(faults)
    assert all(fault.what and fault.remedy for fault in found)
    with pytest.raises(InvalidSchemaError) as caught:
        SchemaValidator(schema)
    assert caught.value.faults == found


def test_check_schema_says_place_reason_and_remedy_in_a_line() -> None:
    (line,) = check_schema({"properties": {"a": {"secret": "yes"}}})
    assert line == "schema.properties.a.secret: is neither true nor false. Write secret: true"


def test_references_within_a_schema_are_followed() -> None:
    schema: JsonObject = {
        "properties": {"a~b": {"type": "integer"}, "c": {"$ref": "#/properties/a~0b"}},
        "prefixItems": [{"type": "null"}, {"$ref": "#/prefixItems/0"}],
    }
    validator = SchemaValidator(schema)
    assert validator.problems({"c": "x"}) == ('c: the value is not of type "integer"',)
    assert validator.problems([None, 1]) == ('[1]: the value is not of type "null"',)


def test_nothing_is_fetched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The walk refuses a foreign reference; should it miss one, the validator's retriever does."""
    schema_file = tmp_path / "schema.json"
    schema_file.write_text('{"type": "string"}')
    monkeypatch.setattr("sigil_actors.core.schema_walk.SchemaWalk.written_out", lambda _: 1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        port = server.getsockname()[1]
        for reference in (f"http://127.0.0.1:{port}/x", schema_file.as_uri()):
            (fault,) = find_schema_faults({"$ref": reference})
            assert "nothing is fetched" in fault.what
        with pytest.raises(BlockingIOError):
            server.accept()


def test_references_that_fan_out_are_refused_before_they_are_walked() -> None:
    assert find_schema_faults(doubling(10)) == ()
    for levels in (14, 40, 120):
        faults = find_schema_faults(doubling(levels))
        assert f"more than {WRITTEN_OUT_MAX} schemas" in faults[-1].what


def test_a_long_chain_of_references_is_refused_within_our_stack() -> None:
    links: dict[str, JsonValue] = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(3_000)}
    faults = find_schema_faults({"$ref": "#/$defs/d0", "$defs": links | {"d3000": {}}})
    assert len(faults) <= FAULTS_MAX
    assert f"nested more than {SCHEMAS_NESTING_MAX} deep" in faults[0].what


def test_faults_are_bounded_in_number() -> None:
    for keyword, word in (("secret", "x"), ("type", "strin"), ("$ref", "http://x")):
        schema: JsonObject = {"properties": {str(i): {keyword: word} for i in range(100)}}
        assert len(find_schema_faults(schema)) == FAULTS_MAX


def test_patterns_are_bounded_in_number() -> None:
    named = {f"p{i}": {"pattern": "a"} for i in range(PATTERNS_MAX)}
    assert find_schema_faults({"properties": named}) == ()
    (fault,) = find_schema_faults({"properties": named, "patternProperties": {"b": True}})
    assert "patterns" in fault.what


def test_a_schema_that_refers_to_itself_answers_without_saying_where() -> None:
    """Telling where would cost 2 to the depth; yes or no doesn't."""
    assert SchemaValidator({"properties": {"x": {"$ref": "#"}}}).problems(nested(50, 1)) == ()
    validator = SchemaValidator(TREE)
    assert validator.problems(nested(50, {})) == ()
    (problem,) = validator.problems(nested(50, 1))
    assert "intricate" in problem


def test_a_hostile_pattern_is_linear_in_the_text() -> None:
    """A backtracking engine would take 2 to the 100,000; this one reads the text once."""
    for pattern in ("(a+)+$", "^(a|a)*$", "(.*)*x", "^(([a-z])+.)+[A-Z]([a-z])+$"):
        validator = SchemaValidator({"pattern": pattern})
        assert len(validator.problems("a" * 100_000 + "!")) <= 1


def test_a_value_too_large_for_its_schema_is_refused_unread() -> None:
    parts: JsonObject = {"allOf": [{"type": "array"}] * 4_000}
    validator = SchemaValidator(parts)
    few = VISITS_MAX // 4_001
    assert validator.problems([1] * (few - 1)) == ()
    assert validator.problems([1] * (few + 1)) == ("is too large to be checked",)
    assert validator.problems("x" * 64 * (few + 1)) == ("is too large to be checked",)


def test_a_large_misfit_is_told_without_its_places() -> None:
    validator = SchemaValidator({"items": {"type": "string"}})
    (problem,) = validator.problems([1] * EXPLAINED_MAX)
    assert "too large" in problem


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (float("nan"), "a number that JSON doesn't have"),
        ({"a": [float("inf")]}, "a number that JSON doesn't have"),
        (b"x", "holds a bytes"),
        ({"a": {1, 2}}, "holds a set"),
        ({1: 2}, "a key that isn't text"),
        ("\ud800", "half of a surrogate pair"),
        ({"\ud800": 1}, "half of a surrogate pair"),
    ],
)
def test_what_is_no_json_is_a_problem_and_a_fault(value: JsonValue, problem: str) -> None:
    (told,) = SchemaValidator({}).problems(value)
    assert problem in told
    (fault,) = find_schema_faults({"default": value})
    assert problem in fault.what


def test_nesting_is_bounded() -> None:
    validator = SchemaValidator({})
    assert validator.problems(nested(NESTING_MAX - 1, 1)) == ()
    assert validator.problems(nested(NESTING_MAX, 1)) == ("is nested more than 64 deep",)
    deep = nested(100_000, 1)
    assert validator.problems(deep) == ("is nested more than 64 deep",)
    (fault,) = find_schema_faults({"const": deep})
    assert "nested" in fault.what


def test_a_schema_of_too_many_values_is_refused() -> None:
    (fault,) = find_schema_faults({"enum": list(range(WEIGHT_MAX))})
    assert "too large" in fault.what


def test_a_pattern_is_bounded_in_what_it_compiles_to() -> None:
    assert PATTERN_BYTES_MAX < 10 * 1024 * 1024, "the engine's own default"
    assert find_schema_faults({"pattern": r"^\p{L}{1,20}$"}) == ()
    (fault, *_) = find_schema_faults({"pattern": r"^\p{L}{1,1000}$"})
    assert "pattern" in fault.what


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=10,
)
keywords = st.sampled_from(
    [
        "type",
        "properties",
        "items",
        "allOf",
        "$ref",
        "$defs",
        "not",
        "enum",
        "pattern",
        "required",
        "if",
        "$id",
        "$schema",
        "minimum",
        "additionalProperties",
        "prefixItems",
        "dependentSchemas",
    ]
)
words = st.sampled_from(
    ["string", "object", "#", "#/$defs/a", "#/items", "a+", "(", "http://x", "a"]
)
schemas = st.recursive(
    words | values,
    lambda inner: (
        st.dictionaries(keywords | words, inner, max_size=4) | st.lists(inner, max_size=3)
    ),
    max_leaves=20,
).filter(lambda schema: isinstance(schema, Mapping))


@given(schemas, values)
def test_any_schema_is_refused_or_answers_for_any_value(
    schema: JsonObject, value: JsonValue
) -> None:
    if check_schema(schema):
        with pytest.raises(InvalidSchemaError):
            SchemaValidator(schema)
    else:
        problems = SchemaValidator(schema).problems(value)
        assert len(problems) <= PROBLEMS_MAX
        assert all(problems)
