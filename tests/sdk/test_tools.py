"""Tools out of functions: what the host is told of them, and how a call comes out."""

import json
import threading
from collections.abc import AsyncGenerator
from functools import wraps
from typing import Literal

import pytest

from sigil_actors._proto.plugin.v1 import tool_pb2
from sigil_actors.core.json_value import JsonObject
from sigil_actors.sdk.errors import ToolError
from sigil_actors.sdk.tools import ToolFunction, Tools, schema_of


def example() -> Tools:
    tools = Tools()

    @tools.tool()
    async def echo(text: str, times: int = 1) -> str:
        """Answer the text."""
        return text * times

    @tools.tool(name="count")
    async def counting(to: int) -> AsyncGenerator[str]:
        for number in range(to):
            yield str(number)

    @tools.tool()
    async def fail() -> str:
        raise ToolError("it can't be done")

    @tools.tool()
    def block(text: str) -> str:
        return f"{text} {threading.current_thread() is threading.main_thread()}"

    @tools.tool()
    @hidden
    async def decorated() -> str:
        return "async"

    return tools


def hidden(function: ToolFunction) -> ToolFunction:
    @wraps(function)
    def run(**arguments: object) -> object:
        return function(**arguments)

    return run  # type: ignore[return-value] # as decorators are often written


async def call(name: str, arguments: object) -> list[tuple[str, object]]:
    request = tool_pb2.ExecuteRequest(tool_name=name, arguments=json.dumps(arguments))
    return [
        (chunk.WhichOneof("chunk") or "", getattr(chunk, chunk.WhichOneof("chunk") or ""))
        async for chunk in example().Execute(request, None)
    ]


async def test_a_tool_answers_its_text() -> None:
    assert await call("echo", {"text": "ab", "times": 2}) == [("text", "abab"), ("done", True)]


async def test_a_generator_answers_in_pieces() -> None:
    assert await call("count", {"to": 2}) == [("text", "0"), ("text", "1"), ("done", True)]


async def test_a_plain_function_runs_in_a_thread() -> None:
    assert await call("block", {"text": "a"}) == [("text", "a False"), ("done", True)]


async def test_a_function_that_is_asynchronous_behind_a_decorator_is_awaited() -> None:
    assert await call("decorated", {}) == [("text", "async"), ("done", True)]


async def test_a_tools_error_is_the_answer() -> None:
    assert await call("fail", {}) == [("error", "it can't be done")]


@pytest.mark.parametrize("arguments", [{}, {"text": "a", "more": 1}, [1], "x", None])
async def test_arguments_that_dont_fit_are_an_answer(arguments: object) -> None:
    ((kind, text),) = await call("echo", arguments)
    assert kind == "error"
    assert "don't fit" in str(text)


async def test_a_tool_that_isnt_there_is_an_answer() -> None:
    assert await call("nothing", {}) == [("error", "there is no tool 'nothing'")]


async def test_the_host_is_told_names_descriptions_and_schemas() -> None:
    told = (await example().Describe(tool_pb2.DescribeRequest(), None)).tools
    assert [tool.name for tool in told] == ["echo", "count", "fail", "block", "decorated"]
    assert told[0].description == "Answer the text."
    assert told[0].input_schema["required"] == ["text"]


def test_two_tools_of_one_name_are_refused() -> None:
    tools = example()
    with pytest.raises(ValueError, match="two tools called echo"):
        tools.tool(name="echo")(tools["fail"].run)


def test_annotations_become_a_schema() -> None:
    async def run(mode: Literal["fast", "slow"], names: list[str], limit: int | None = None) -> str:
        return f"{mode}{names}{limit}"

    schema: JsonObject = schema_of(run)
    assert schema == {
        "type": "object",
        "properties": {
            "mode": {"enum": ["fast", "slow"]},
            "names": {"type": "array", "items": {"type": "string"}},
            "limit": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        },
        "required": ["mode", "names"],
        "additionalProperties": False,
    }


def test_an_annotation_that_says_nothing_in_json_asks_for_a_schema() -> None:
    async def run(thing: bytes) -> str:
        return repr(thing)

    with pytest.raises(TypeError, match="Give the tool an input_schema"):
        schema_of(run)
