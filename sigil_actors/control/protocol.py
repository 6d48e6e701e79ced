"""What is said through the control socket: one request a connection, as lines of JSON.

The client sends one line, the request. The supervisor answers with lines `{"chunk": TEXT}` to a
call, or `{"event": OBJECT}` to one who follows events (the first of them holds null: from now on
nothing is missed), as many as there are, and one last line: `{"done": OBJECT}` or
`{"error": REPORT}`. Whoever hangs up, with one half of the connection or both, cancels what was
asked for.
"""

import json
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar, Final, NoReturn, TypeAlias, get_args

import attrs

from sigil_actors.control.error_report import texts
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.errors import Fault, SigilError

VERSION: Final = 1
"""Sent with every request; another one is refused, so that an upgrade can't be misunderstood."""

REQUEST_BYTES_MAX: Final = 32 * 1024 * 1024
"""One request. The arguments of a call are 4 MiB at most, and escapes make six bytes of one."""

REPLY_BYTES_MAX: Final = 32 * 1024 * 1024
"""One line of an answer. A chunk of a plugin is 4 MiB at most, and escapes make six bytes of one.
"""

CHUNK: Final = "chunk"
EVENT: Final = "event"
DONE: Final = "done"
ERROR: Final = "error"


class ControlProtocolError(SigilError):
    """What came through the control socket isn't what this protocol says."""

    fault = Fault.CALLER


@attrs.frozen(kw_only=True)
class CallRequest:
    """Call a tool."""

    operation: ClassVar[str] = "call"
    plugin: str
    tool: str
    arguments: JsonObject
    workspace_allow: tuple[str, ...] = ()
    """Patterns that narrow what the operator may do; none: everything."""
    user_permissions: tuple[str, ...] = ()
    """The same for the second set."""


@attrs.frozen(kw_only=True)
class ListRequest:
    """Tell all plugins, and what was found and can't be used."""

    operation: ClassVar[str] = "list"
    plugin: str = ""
    """Only this one; empty: all."""


@attrs.frozen(kw_only=True)
class DescribeRequest:
    """Tell a plugin's tools."""

    operation: ClassVar[str] = "describe"
    plugin: str


@attrs.frozen(kw_only=True)
class ExplainRequest:
    """Tell why a capability is allowed or denied."""

    operation: ClassVar[str] = "explain"
    plugin: str
    capability: str
    workspace_allow: tuple[str, ...] = ()
    user_permissions: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class AboutRequest:
    """Tell what this supervisor was started with."""

    operation: ClassVar[str] = "about"


@attrs.frozen(kw_only=True)
class TreeRequest:
    """Tell the supervision tree."""

    operation: ClassVar[str] = "tree"


class Verb(StrEnum):
    """What an operator can have done to one plugin."""

    START = "start"
    STOP = "stop"
    DRAIN = "drain"
    RELOAD = "reload"


@attrs.frozen(kw_only=True)
class OrderRequest:
    """Do something to one plugin; answered when it is done."""

    operation: ClassVar[str] = "order"
    verb: Verb
    plugin: str


@attrs.frozen(kw_only=True)
class RescanRequest:
    """Look into the plugins folder again: start, reload and stop what has changed."""

    operation: ClassVar[str] = "rescan"


@attrs.frozen(kw_only=True)
class HeldRequest:
    """Tell which version of a plugin waits to be approved, once the plugin is up or held."""

    operation: ClassVar[str] = "held"
    plugin: str


@attrs.frozen(kw_only=True)
class ApproveRequest:
    """Approve the version that is held, and start it."""

    operation: ClassVar[str] = "approve"
    plugin: str
    snapshot_sha256: str
    """What is approved, so that it is what was shown: where other files are held, none is."""


@attrs.frozen(kw_only=True)
class EventsRequest:
    """Tell what happens from now on, until the client or the supervisor ends."""

    operation: ClassVar[str] = "events"
    plugin: str = ""
    """Only of this one; empty: of all."""


Request: TypeAlias = (
    CallRequest
    | ListRequest
    | DescribeRequest
    | ExplainRequest
    | AboutRequest
    | TreeRequest
    | OrderRequest
    | RescanRequest
    | HeldRequest
    | ApproveRequest
    | EventsRequest
)
_REQUESTS: Final[Mapping[str, type[Request]]] = {kind.operation: kind for kind in get_args(Request)}


def encode(message: JsonObject) -> bytes:
    """Return a message as its line."""
    # In ASCII, so that half a surrogate pair out of a plugin passes like any other character.
    return json.dumps(message, allow_nan=False, separators=(",", ":")).encode() + b"\n"


def decode(line: bytes) -> JsonObject:
    """Return the message of a line.

    Raises:
        ControlProtocolError: it holds none.
    """
    try:
        message = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _wrong(f"a line isn't JSON ({type(error).__name__})") from None
    if not isinstance(message, dict):
        raise _wrong("a line isn't a JSON object")
    return message


def encode_request(request: Request) -> bytes:
    """Return the line of a request."""
    fields = attrs.asdict(request, recurse=False)
    return encode({"version": VERSION, "operation": request.operation, **fields})


def decode_request(line: bytes) -> Request:
    """Return the request of a line.

    Raises:
        ControlProtocolError: it holds none.
    """
    fields = dict(decode(line))
    version, operation = fields.pop("version", None), fields.pop("operation", None)
    if version != VERSION:
        raise ControlProtocolError(
            f"this supervisor speaks version {VERSION} of the control protocol",
            remedy="Use the sigil-actors that the supervisor was started with",
        )
    kind = _REQUESTS.get(operation) if isinstance(operation, str) else None
    if kind is None:
        raise _wrong(f"a request has to name one of these operations: {', '.join(_REQUESTS)}")
    known = {field.name: field for field in attrs.fields(kind)}
    if unknown := fields.keys() - known.keys():
        raise _wrong(f"a request has {len(unknown)} fields that {kind.operation} doesn't know")
    values: dict[str, Any] = {name: _value(field, fields) for name, field in known.items()}
    return kind(**values)


def _value(field: "attrs.Attribute[object]", fields: Mapping[str, JsonValue]) -> object:
    if field.name not in fields:
        if field.default is attrs.NOTHING:
            raise _wrong(f"a request lacks {field.name}")
        return field.default
    value = fields[field.name]
    read: object = None
    if field.type is str and isinstance(value, str):
        read = value
    elif field.type is Verb and isinstance(value, str) and value in {*Verb}:
        read = Verb(value)
    elif field.type == tuple[str, ...]:
        read = texts(value)
    elif field.type == JsonObject and isinstance(value, dict):
        read = value
    if read is None:
        raise _wrong(f"a request has a {field.name} of the wrong kind")
    return read


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _wrong(what: str) -> ControlProtocolError:
    return ControlProtocolError(what, remedy="sigil_actors.control.protocol says what is sent")
