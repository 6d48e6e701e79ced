"""The messages of a plugin's lifecycle and of its tools: protobuf to core values and back.

What is read was written by a plugin: whatever isn't a value that the core knows is malformed, and
nothing here takes longer than its bounds let it.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, TypeAlias

import attrs

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import lifecycle_pb2, tool_pb2
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus, ToolDefinition
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.text import escape_text

TOOLS_MAX: Final = 256
DESCRIPTION_BYTES_MAX: Final = 1 << 20
"""What `TierSession.describe` promises: people and models read such a list."""

VALUES_MAX: Final = 100_000
"""Values in the schemas of one description: some 40 ms of reading, which nothing interrupts."""

INT32_MAX: Final = (1 << 31) - 1

_EXACT_MAX: Final = 1 << 53
"""Up to here a protobuf number, which is a double, holds every integer."""

Message: TypeAlias = Any
"""A protobuf message. Those with a struct are made by a pool of their own, and have no class that
a type checker could know."""


class MalformedMessageError(Exception):
    """What a plugin sent isn't the message that belongs there. The text says why, escaped."""


class UnwritableError(Exception):
    """A value doesn't fit into the contract's message. The text says why, escaped."""


class TooLargeError(Exception):
    """A plugin's message is over a bound."""

    def __init__(self, bound: str, value: str) -> None:
        self.bound = bound
        self.value = value
        super().__init__(f"{bound}: {value}")


@attrs.frozen
class InitAnswer:
    """Whether the plugin takes its configuration; `error` in its words, escaped."""

    ok: bool
    error: str


@attrs.frozen
class Chunk:
    """One piece of a tool's answer: text, or the error or the end of it."""

    text: str = ""
    error: str | None = None
    """In the plugin's words, escaped."""
    done: bool = False


@contextmanager
def writing() -> Iterator[None]:
    """Turn what protobuf raises for a value that doesn't fit into `UnwritableError`."""
    try:
        yield
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UnwritableError(escape_text(str(error), limit=200)) from error


def write_init(config: JsonObject) -> lifecycle_pb2.InitRequest:
    """Return an InitRequest."""
    request = lifecycle_pb2.InitRequest()
    with writing():
        write_struct(request.config, config)
    return request


def read_init_answer(message: lifecycle_pb2.InitResponse) -> InitAnswer:
    """Read an InitResponse."""
    return InitAnswer(message.ok, escape_text(message.error))


_HEALTH: Final[Mapping[int, HealthStatus]] = {
    lifecycle_pb2.HEALTH_STATUS_HEALTHY: HealthStatus.HEALTHY,
    lifecycle_pb2.HEALTH_STATUS_DEGRADED: HealthStatus.DEGRADED,
    lifecycle_pb2.HEALTH_STATUS_UNHEALTHY: HealthStatus.UNHEALTHY,
}


def read_health(message: lifecycle_pb2.HealthResponse) -> Health:
    """Read a HealthResponse. A plugin that doesn't say is DEGRADED: shown, but not punished."""
    said = escape_text(message.message)
    status = _HEALTH.get(message.status)
    if status is None:
        return Health(HealthStatus.DEGRADED, said or "it didn't say how it is")
    return Health(status, said)


def write_shutdown(grace_s: float) -> lifecycle_pb2.ShutdownRequest:
    """Return a ShutdownRequest."""
    return lifecycle_pb2.ShutdownRequest(timeout_seconds=min(math.ceil(grace_s), INT32_MAX))


def write_execute(request: ExecuteRequest) -> tool_pb2.ExecuteRequest:
    """Return an ExecuteRequest."""
    with writing():
        return tool_pb2.ExecuteRequest(
            tool_name=request.tool_name,
            arguments=request.arguments,
            session_id=request.session_id,
            timeout_seconds=min(request.timeout_seconds, INT32_MAX),
        )


def read_chunk(message: tool_pb2.ExecuteChunk) -> Chunk:
    """Read an ExecuteChunk."""
    match message.WhichOneof("chunk"):
        case "error":
            return Chunk(error=escape_text(message.error))
        case "done":
            return Chunk(done=message.done)
        case _:
            return Chunk(message.text)


def read_tools(message: tool_pb2.DescribeResponse) -> tuple[ToolDefinition, ...]:
    """Read a DescribeResponse.

    Raises:
        TooLargeError: it is over the bounds of a description.
    """
    if len(message.tools) > TOOLS_MAX:
        raise TooLargeError("tools", f"{TOOLS_MAX}")
    if message.ByteSize() > DESCRIPTION_BYTES_MAX:
        raise TooLargeError("bytes of its description", "1Mi")
    reader = _StructReader()
    return tuple(_read_tool(tool, reader) for tool in message.tools)


def write_tool(message: common_pb2.ToolDefinition, tool: ToolDefinition) -> None:
    """Fill in a ToolDefinition."""
    message.name = tool.name
    message.description = tool.description
    write_struct(message.input_schema, tool.input_schema)


def _read_tool(message: common_pb2.ToolDefinition, reader: "_StructReader") -> ToolDefinition:
    if not message.name:
        raise MalformedMessageError("a tool has no name")
    return ToolDefinition(
        name=message.name,
        description=message.description,
        input_schema=reader.read(message.input_schema),
    )


def write_struct(message: Message, value: JsonObject) -> None:
    """Fill in a Struct; within `writing`, since not every value fits."""
    for key, inner in value.items():
        _write_value(message.fields[key], inner)
    if not value:
        message.SetInParent()  # an empty one isn't an absent one


def _write_value(message: Message, value: JsonValue) -> None:
    match value:
        case None:
            message.null_value = 0
        case bool():
            message.bool_value = value
        case int() | float():
            message.number_value = _exact(value)
        case str():
            message.string_value = value
        case Mapping():
            write_struct(message.struct_value, value)
        case list() | tuple():
            message.list_value.SetInParent()
            for inner in value:
                _write_value(message.list_value.values.add(), inner)
        case _:
            raise TypeError(f"{type(value).__name__} is no JSON value")


def _exact(number: float) -> float:
    # A number that arrives as another one would be worse than one that is refused.
    if isinstance(number, int) and abs(number) > _EXACT_MAX:
        raise ValueError(f"the number {number:.6g} is too large for the contract; make it a text")
    if not math.isfinite(number):
        raise ValueError("a number that JSON doesn't have")
    return float(number)


class _StructReader:
    """Reads the structs of one message; all of them together have `VALUES_MAX` values at most."""

    def __init__(self) -> None:
        self._left = VALUES_MAX

    def read(self, message: Message) -> dict[str, JsonValue]:
        return {key: self._value(value) for key, value in message.fields.items()}

    def _value(self, message: Message) -> JsonValue:
        # The depth is protobuf's own bound: it parses no more than 100 messages within messages.
        self._left -= 1
        if self._left < 0:
            raise TooLargeError("values in its schemas", f"{VALUES_MAX}")
        match message.WhichOneof("kind"):
            case "bool_value":
                return bool(message.bool_value)
            case "number_value":
                return _number(message.number_value)
            case "string_value":
                return str(message.string_value)
            case "struct_value":
                return self.read(message.struct_value)
            case "list_value":
                return [self._value(value) for value in message.list_value.values]
            case _:
                return None


def _number(number: float) -> int | float:
    if not math.isfinite(number):
        raise MalformedMessageError("a number that JSON doesn't have")
    return int(number) if number.is_integer() and abs(number) <= _EXACT_MAX else number


def write_moment(message: Message, moment: datetime | None) -> None:
    """Fill in a Timestamp; leave it out where there is no moment."""
    if moment is not None:
        message.FromDatetime(moment.astimezone(UTC))


def read_moment(message: Message, field: str) -> datetime | None:
    """Read the Timestamp `field` of a message; None where it is absent."""
    if not message.HasField(field):
        return None
    try:
        moment: datetime = getattr(message, field).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise MalformedMessageError(f"{field} is no moment that there is") from error
    return moment
