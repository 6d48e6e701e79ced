"""What a connection reports: one tuple for each thing that happened, in the order of the wire.

Generic in the class of the streams, so that the layer above gets its own back.
"""

from typing import Generic, NamedTuple, TypeAlias, TypeVar

from sigil_actors.rpc.header_block import Block
from sigil_actors.rpc.stream import Stream

StreamT = TypeVar("StreamT", bound=Stream)


class HeadersReceived(NamedTuple, Generic[StreamT]):
    """The first header block of a stream: a request, or the final response."""

    stream: StreamT
    block: Block
    end: bool
    """Nothing follows."""


class TrailersReceived(NamedTuple, Generic[StreamT]):
    """The last header block of a stream. Nothing follows."""

    stream: StreamT
    block: Block


class DataReceived(NamedTuple, Generic[StreamT]):
    """Bytes of a stream, without their padding."""

    stream: StreamT
    data: bytes
    flow_length: int
    """What they cost of the window: `consumed` wants this number back."""
    end: bool
    """Nothing follows."""


class StreamReset(NamedTuple, Generic[StreamT]):
    """A stream ended before its time; it takes no more commands and has no more events.

    Either side reset it, or it died with its connection. A reset that the application asked for
    isn't reported.
    """

    stream: StreamT
    code: int | None
    """A `Code`, or whatever number the peer sent; None where the connection was lost."""
    by_peer: bool


class PongReceived(NamedTuple):
    """The answer to a PING."""

    data: bytes


class GoawayReceived(NamedTuple):
    """The peer takes no new streams. Those of ours that it didn't see are reset, right after."""

    code: int
    last_id: int
    debug: bytes


class SettingsReceived(NamedTuple):
    """The peer's settings have changed: more streams may be allowed."""


class ConnectionClosed(NamedTuple):
    """The end, after a `StreamReset` for each stream. Never reported for an own `close`."""

    code: int
    text: str
    by_peer: bool
    """Whether the peer hung up; else it broke a rule or a bound, which `text` names."""


Event: TypeAlias = (
    HeadersReceived[StreamT]
    | TrailersReceived[StreamT]
    | DataReceived[StreamT]
    | StreamReset[StreamT]
    | PongReceived
    | GoawayReceived
    | SettingsReceived
    | ConnectionClosed
)
