"""The events of this project's connection and of `h2`'s, in one form that can be compared."""

from collections.abc import Iterable

import h2.config
import h2.connection
import h2.events
import h2.settings

from sigil_actors.rpc import frames
from sigil_actors.rpc.events import (
    ConnectionClosed,
    DataReceived,
    Event,
    GoawayReceived,
    HeadersReceived,
    PongReceived,
    SettingsReceived,
    StreamReset,
    StreamT,
    TrailersReceived,
)
from sigil_actors.rpc.limits import Limits

Plain = tuple[object, ...]

_HEAD_BYTES = frames.HEAD_BYTES


def open_h2(
    *, client: bool, limits: Limits | None = None, settings: dict[int, int] | None = None
) -> h2.connection.H2Connection:
    """Return h2's connection, by default with the settings that ours has."""
    config = h2.config.H2Configuration(client_side=client, header_encoding=None)
    connection = h2.connection.H2Connection(config)
    limits = limits or Limits()
    codes = h2.settings.SettingCodes
    values = {
        codes.INITIAL_WINDOW_SIZE: limits.stream_window,
        codes.HEADER_TABLE_SIZE: limits.table_size,
        codes.MAX_CONCURRENT_STREAMS: limits.streams_max,
        codes.MAX_HEADER_LIST_SIZE: limits.header_list_max,
    }
    if client:
        values[codes.ENABLE_PUSH] = 0
    if settings is not None:
        values = {codes(key): value for key, value in settings.items()}
    connection.local_settings = h2.settings.Settings(client=client, initial_values=values)
    connection.initiate_connection()
    if settings is None:
        increment = limits.connection_window - frames.WINDOW_DEFAULT
        connection.increment_flow_control_window(increment)
    return connection


def plain_h2(events: Iterable[h2.events.Event]) -> list[Plain]:
    """Return what h2 saw."""
    plain: list[Plain] = []
    for event in events:
        match event:
            case h2.events.RequestReceived() | h2.events.ResponseReceived():
                plain.append(("headers", event.stream_id, tuple(field_pairs(event.headers))))
            case h2.events.TrailersReceived():
                plain.append(("trailers", event.stream_id, tuple(field_pairs(event.headers))))
            case h2.events.DataReceived():
                size = event.flow_controlled_length
                plain.append(("data", event.stream_id, bytes(event.data or b""), size))
            case h2.events.StreamEnded():
                plain.append(("end", event.stream_id))
            case h2.events.StreamReset():
                plain.append(("reset", event.stream_id, int(event.error_code)))
            case h2.events.PingAckReceived():
                plain.append(("pong", bytes(event.ping_data or b"")))
            case h2.events.ConnectionTerminated():
                debug = bytes(event.additional_data or b"")[: frames.DEBUG_BYTES_MAX]
                last_id = (event.last_stream_id or 0) & frames.STREAM_ID_MAX
                plain.append(("goaway", int(event.error_code or 0), last_id, debug))
            case h2.events.RemoteSettingsChanged():
                plain.append(("settings",))
            case _:
                pass  # what h2 tells besides: windows, priorities, pings, interim responses
    return plain


def field_pairs(headers: Iterable[object] | None) -> list[tuple[bytes, bytes]]:
    """Return h2's fields as plain pairs."""
    fields = []
    for field in headers or ():
        assert isinstance(field, tuple)
        name, value = field
        fields.append((bytes(name), bytes(value)))
    return fields


def plain_ours(events: Iterable[Event[StreamT]]) -> list[Plain]:
    """Return what ours saw."""
    plain: list[Plain] = []
    for event in events:
        match event:
            case HeadersReceived(stream, block, end):
                plain.append(("headers", stream.id, tuple(block.pairs)))
                plain += [("end", stream.id)] if end else []
            case TrailersReceived(stream, block):
                plain += [("trailers", stream.id, tuple(block.pairs)), ("end", stream.id)]
            case DataReceived(stream, data, flow_length, end):
                plain.append(("data", stream.id, data, flow_length))
                plain += [("end", stream.id)] if end else []
            case StreamReset(stream, code, by_peer):
                plain.append(("reset" if by_peer else "our reset", stream.id, code))
            case PongReceived(data):
                plain.append(("pong", data))
            case GoawayReceived(code, last_id, debug):
                plain.append(("goaway", code, last_id, debug))
            case SettingsReceived():
                plain.append(("settings",))
            case ConnectionClosed(code, text, by_peer):
                plain.append(("closed", code, text, by_peer))
    return plain


def split_frames(data: bytes) -> list[bytes]:
    """Return the frames in bytes that one side wrote, a preface as one of them."""
    parts = []
    position = 0
    if data.startswith(frames.PREFACE[:3]):
        position = len(frames.PREFACE)
        parts.append(data[:position])
    while position < len(data):
        after = position + _HEAD_BYTES + int.from_bytes(data[position : position + 3], "big")
        parts.append(data[position:after])
        position = after
    return parts


def answers(data: bytes) -> list[Plain]:
    """Return which acknowledgements, resets and goodbyes are among these bytes."""
    found: list[Plain] = []
    for part in split_frames(data):
        high, low, kind, flags, stream_id = frames.HEAD.unpack_from(part)
        assert len(part) == _HEAD_BYTES + (high << 8 | low)
        payload = part[_HEAD_BYTES:]
        if kind in (frames.SETTINGS, frames.PING) and flags & frames.ACK:
            found.append((kind, payload))
        elif kind in (frames.RST_STREAM, frames.GOAWAY):
            found.append((kind, stream_id, payload[:8]))
    return found
