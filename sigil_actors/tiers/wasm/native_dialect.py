"""The messages of the plugin contract as protobuf JSON, which the native dialect carries.

Written lowerCamelCase, read in both spellings, as protobuf's JSON mapping says; unknown fields are
ignored, so that a guest built for a later contract still runs. Knows nothing of Wasm.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus, ToolDefinition
from sigil_actors.core.capability import LENGTH_MAX
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.text import escape_text
from sigil_actors.tiers.wasm.limits import STRUCTURES_MAX, TOOLS_MAX

_FIELDS_MAX = 16


class MalformedMessageError(Exception):
    """The guest's bytes are not the message that belongs here. The text says why, escaped."""


class TooManyToolsError(Exception):
    """A guest describes more than `TOOLS_MAX` tools."""


@attrs.frozen
class InitAnswer:
    """Whether the guest takes its configuration."""

    ok: bool
    error: str


@attrs.frozen
class Chunk:
    """One piece of a tool's answer: text, or the error or the end of it."""

    text: str = ""
    error: str | None = None
    done: bool = False


@attrs.frozen
class CallAsked:
    """The guest wants a host function to run."""

    capability: str
    payload: bytes
    session_id: str


@attrs.frozen
class CheckAsked:
    """The guest wants to know whether it would be allowed."""

    capability: str
    session_id: str


def write_init(config: JsonObject) -> bytes:
    """Return an InitRequest."""
    return _write({"config": config})


def write_execute(request: ExecuteRequest) -> bytes:
    """Return an ExecuteRequest."""
    return _write(
        {
            "toolName": request.tool_name,
            "arguments": request.arguments,
            "sessionId": request.session_id,
            "timeoutSeconds": request.timeout_seconds,
        }
    )


def write_shutdown(timeout_seconds: int) -> bytes:
    """Return a ShutdownRequest."""
    return _write({"timeoutSeconds": timeout_seconds})


def write_call_answer(payload: bytes) -> bytes:
    """Return a CallResponse."""
    return _write({"payload": base64.b64encode(payload).decode("ascii")})


def write_check_answer(*, allowed: bool, reason: str) -> bytes:
    """Return a CheckResponse."""
    return _write({"allowed": allowed, "reason": reason})


EMPTY_REQUEST: Final = b"{}"
"""A HealthRequest, a DescribeRequest."""


def read_init_answer(data: bytes) -> InitAnswer:
    """Read an InitResponse."""
    fields = _read(data)
    return InitAnswer(ok=_flag(fields, "ok"), error=_text(fields, "error"))


_HEALTH_WORDS: Final[Mapping[object, HealthStatus]] = {
    word: status
    for number, status in enumerate(
        (HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY), start=1
    )
    for word in (number, f"HEALTH_STATUS_{status.name}")
}


def read_health(data: bytes) -> Health:
    """Read a HealthResponse. A guest that doesn't say is DEGRADED: shown, but not punished."""
    fields = _read(data)
    status = fields.get("status")
    if not isinstance(status, int | str) or isinstance(status, bool):
        status = None
    message = escape_text(_text(fields, "message"))
    found = _HEALTH_WORDS.get(status)
    if found is None:
        return Health(HealthStatus.DEGRADED, message or "it didn't say how it is")
    return Health(found, message)


def read_shutdown_answer(data: bytes) -> bool:
    """Read a ShutdownResponse."""
    return _flag(_read(data), "clean")


def read_tools(data: bytes) -> tuple[ToolDefinition, ...]:
    """Read a DescribeResponse."""
    tools = _read(data).get("tools") or []
    if not isinstance(tools, list):
        raise MalformedMessageError("tools is no list")
    if len(tools) > TOOLS_MAX:
        raise TooManyToolsError
    return tuple(_read_tool(tool) for tool in tools)


def _read_tool(tool: object) -> ToolDefinition:
    if not isinstance(tool, dict):
        raise MalformedMessageError("a tool is no object")
    name = _text(tool, "name")
    if not name:
        raise MalformedMessageError("a tool has no name")
    schema = _field(tool, "inputSchema", "input_schema")
    if schema is None:
        schema = {}
    if not isinstance(schema, dict):
        raise MalformedMessageError(f"the input schema of {escape_text(name)} is no object")
    return ToolDefinition(
        name=name, description=_text(tool, "description"), input_schema=cast("JsonObject", schema)
    )


def read_chunk(data: bytes) -> Chunk:
    """Read an ExecuteChunk."""
    fields = _read(data)
    error = _text(fields, "error") if fields.get("error") is not None else None
    return Chunk(text=_text(fields, "text"), error=error, done=_flag(fields, "done"))


def read_call(data: bytes) -> CallAsked:
    """Read a CallRequest."""
    fields = _read_flat(data)
    return CallAsked(
        capability=_text(fields, "capability"),
        payload=_bytes(fields, "payload"),
        session_id=_text(fields, "sessionId", "session_id"),
    )


def read_check(data: bytes) -> CheckAsked:
    """Read a CheckRequest."""
    fields = _read_flat(data)
    return CheckAsked(
        capability=_text(fields, "capability"),
        session_id=_text(fields, "sessionId", "session_id"),
    )


def _write(message: JsonObject) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"), default=_plain).encode(
        "utf-8", "surrogatepass"
    )


def _plain(value: object) -> object:
    # The runtime's values may be read-only views, which json doesn't know.
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, tuple | list):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def _read_flat(data: bytes) -> dict[str, Any]:
    # Three texts, of which a payload is base64: whatever has more marks than a capability is long
    # is no such message, and a guest can send it as often as it likes.
    if data.count(b",") + data.count(b"[") + data.count(b"{") > LENGTH_MAX + _FIELDS_MAX:
        raise MalformedMessageError("a host call with more than its fields")
    return _read(data)


def _read(data: bytes) -> dict[str, Any]:
    if not data:
        return {}  # an empty message, as in protobuf's own encoding
    # Counted first, in a few microseconds: what a guest sends is decoded outside of its own bounds.
    if data.count(b"[") + data.count(b"{") > STRUCTURES_MAX:
        raise MalformedMessageError(f"JSON with more than {STRUCTURES_MAX} lists and objects")
    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedMessageError(f"no JSON: {escape_text(str(error), limit=200)}") from None
    if not isinstance(message, dict):
        raise MalformedMessageError("no JSON object")
    return message


def _field(fields: Mapping[str, Any], *spellings: str) -> object:
    for name in spellings:
        if name in fields:
            return cast("object", fields[name])
    return None


def _text(fields: Mapping[str, Any], *spellings: str) -> str:
    value = _field(fields, *spellings)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise MalformedMessageError(f"{spellings[0]} is no text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            # JSON can spell lone surrogates; whoever prints one of those falls over.
            raise MalformedMessageError(f"{spellings[0]} is no Unicode text") from None
    return value


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise MalformedMessageError(f"{name} is neither true nor false")
    return value


def _bytes(fields: Mapping[str, Any], name: str) -> bytes:
    text = _text(fields, name)
    try:
        # Both alphabets and missing padding, as protobuf's JSON mapping reads them.
        plain = text.translate(_URL_SAFE).rstrip("=")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise MalformedMessageError(f"{name} is no base64") from None


_URL_SAFE = str.maketrans("-_", "+/")
