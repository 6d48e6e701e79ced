"""Tools out of plain functions: what they are called, what they take, what they answer."""

import inspect
import json
import types
import typing
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from functools import partial

import attrs
import trio

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import tool_pb2
from sigil_actors.core.json_value import JsonObject
from sigil_actors.sdk.errors import ToolError
from sigil_actors.sdk.plain_servicers import is_plain

ToolFunction = Callable[..., Awaitable[str] | AsyncIterator[str] | str]
"""A plain function runs in a thread."""

_JSON_TYPES: Mapping[object, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
    type(None): "null",
}


@attrs.frozen(kw_only=True)
class Tool:
    """One tool."""

    name: str
    description: str
    input_schema: JsonObject
    run: ToolFunction


class Tools:
    """The tools of a plugin: the servicer `plugin.v1.Tool`, made out of functions.

        tools = Tools()

        @tools.tool()
        async def echo(text: str) -> str:
            "Answer the text as it came."
            return text

    A function's name, docstring and annotations are what the host is told, where nothing else is
    given. It gets the arguments of a call by their names, and answers a text, or many by being an
    asynchronous generator. A plain function may block: it runs in a thread. `ToolError` is for what
    the caller is to read; any other error reaches the caller as its type's name, and the log as a
    traceback.
    """

    def __init__(self) -> None:
        self._tools: dict[str, Tool] = {}

    def tool(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        input_schema: JsonObject | None = None,
    ) -> Callable[[ToolFunction], ToolFunction]:
        """Make a tool of the function.

        Raises:
            ValueError: there is one of that name.
            TypeError: the schema of an argument can't be told from its annotation.
        """

        def register(function: ToolFunction) -> ToolFunction:
            called = name or function.__name__
            if called in self._tools:
                raise ValueError(f"there are two tools called {called}")
            self._tools[called] = Tool(
                name=called,
                description=description or inspect.getdoc(function) or "",
                input_schema=schema_of(function) if input_schema is None else input_schema,
                run=function,
            )
            return function

        return register

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    # The names of the methods are the contract's.
    async def Describe(  # noqa: N802
        self,
        request: tool_pb2.DescribeRequest,  # noqa: ARG002 - it has no fields
        context: object,  # noqa: ARG002
    ) -> tool_pb2.DescribeResponse:
        """Answer which tools there are."""
        response = tool_pb2.DescribeResponse()
        for tool in self._tools.values():
            told: common_pb2.ToolDefinition = response.tools.add()
            told.name = tool.name
            told.description = tool.description
            told.input_schema.update(dict(tool.input_schema))
        return response

    async def Execute(  # noqa: N802
        self,
        request: tool_pb2.ExecuteRequest,
        context: object,  # noqa: ARG002
    ) -> AsyncGenerator[tool_pb2.ExecuteChunk]:
        """Run a tool; answer its pieces, then that it is done."""
        try:
            async with aclosing(self._pieces(request)) as pieces:
                async for text in pieces:
                    yield tool_pb2.ExecuteChunk(text=text)
        except ToolError as error:
            yield tool_pb2.ExecuteChunk(error=error.what)
        else:
            yield tool_pb2.ExecuteChunk(done=True)

    async def _pieces(self, request: tool_pb2.ExecuteRequest) -> AsyncGenerator[str]:
        tool = self._tools.get(request.tool_name)
        if tool is None:
            raise ToolError(f"there is no tool {request.tool_name!r}")
        try:
            arguments = json.loads(request.arguments or "{}")
            inspect.signature(tool.run).bind(**arguments)
        except (ValueError, TypeError) as error:
            raise ToolError(f"the arguments don't fit: {error}") from error
        call = partial(tool.run, **arguments)
        answer = await _in_thread(call) if is_plain(tool.run) else call()
        if isinstance(answer, AsyncIterator):
            async for text in answer:
                yield text
        else:
            yield answer if isinstance(answer, str) else await answer


async def _in_thread(call: ToolFunction) -> Awaitable[str] | AsyncIterator[str] | str:
    # In a tuple: trio takes a bare coroutine from a thread for a mistake, and here it may be what a
    # decorator hid.
    (answer,) = await trio.to_thread.run_sync(lambda: (call(),), abandon_on_cancel=True)
    return answer


def schema_of(function: ToolFunction) -> JsonObject:
    """Return the JSON Schema of a function's arguments, from their annotations.

    Raises:
        TypeError: an argument has no annotation, or one that isn't plain.
    """
    hints = typing.get_type_hints(function)
    properties: dict[str, JsonObject] = {}
    required: list[str] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints:
            raise TypeError(f"the argument {name} of {function.__name__} has no annotation")
        properties[name] = _schema(hints[name], f"{function.__name__}({name})")
        if parameter.default is inspect.Parameter.empty:
            required.append(name)
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _schema(hint: object, where: str) -> JsonObject:
    if hint in _JSON_TYPES:
        return {"type": _JSON_TYPES[hint]}
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is list and len(inner) == 1:
        return {"type": "array", "items": _schema(inner[0], where)}
    if origin is dict:
        return {"type": "object"}
    if origin is typing.Literal:
        return {"enum": list(inner)}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(one, where) for one in inner]}
    raise TypeError(f"{where}: {hint!r} says nothing in JSON. Give the tool an input_schema")
