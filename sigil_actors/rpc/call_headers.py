"""The header blocks of a call: what is asked, that it is answered, and how it ended."""

from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

import attrs

from sigil_actors.rpc.header_block import Block
from sigil_actors.rpc.hpack_encoding import encode, header
from sigil_actors.rpc.metadata import Given, decode_metadata, decode_timeout, encode_metadata
from sigil_actors.rpc.status import (
    STATUS_CODES,
    Metadata,
    RpcError,
    StatusCode,
    status_of_http,
)

RESPONSE: Final = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK_TRAILERS: Final = header(b"grpc-status", b"0")

_GRPC: Final = b"application/grpc"
_IDENTITY: Final = b"identity"
_SAFE: Final = bytes(code for code in range(0x20, 0x7F) if code != ord("%")).decode()
_TEXT_BYTES_MAX: Final = 4096
"""Of a status's text that we send; a header block has room for little more."""
_QUOTED_BYTES_MAX: Final = 8192
"""Of one that we take, percent signs and all."""
_SHOWN_MAX: Final = 80


@attrs.frozen
class ResponseHead:
    """What the first block of an answer says."""

    error: RpcError | None
    """Why it isn't gRPC's, where it isn't."""
    names_encoding: bool
    metadata: Metadata


@attrs.frozen
class Trailers:
    """How a call ended."""

    code: StatusCode | None
    """None where the peer didn't say."""
    details: str
    metadata: Metadata


@attrs.frozen
class RequestHead:
    """What is asked."""

    error: RpcError | None
    """Why it can't be a call, where it can't."""
    http_status: bytes
    """What goes with the error: some are for peers that don't speak gRPC."""
    path: str
    timeout_s: float | None
    names_encoding: bool
    metadata: Metadata


def request_block(path: bytes, authority: bytes, scheme: bytes) -> bytes:
    """Return the part of a request that is the same for each call of a method."""
    return encode(
        [
            (b":method", b"POST"),
            (b":scheme", scheme),
            (b":path", path),
            (b":authority", authority),
            (b"content-type", _GRPC),
            (b"te", b"trailers"),
            (b"grpc-accept-encoding", _IDENTITY),
        ]
    )


def trailers_block(code: StatusCode, details: str = "", metadata: Given = ()) -> bytes:
    """Return the last block of an answer."""
    block = header(b"grpc-status", b"%d" % code)
    if details:
        block += header(b"grpc-message", _quoted(details))
    return block + encode_metadata(metadata)


def _quoted(text: str) -> bytes:
    cut = text.encode("utf-8", "replace")[:_TEXT_BYTES_MAX]
    return quote_from_bytes(cut, safe=_SAFE).encode().strip(b" ")


def _unquoted(value: bytes) -> str:
    return unquote_to_bytes(value[:_QUOTED_BYTES_MAX]).decode("utf-8", "replace")


def _is_grpc(content_type: bytes) -> bool:
    return content_type.startswith(_GRPC) and content_type[len(_GRPC) :][:1] in (b"", b"+", b";")


# What was made of a block is kept on it, since equal blocks of a connection are one object.


def read_response(block: Block) -> ResponseHead:
    """Return what the first block of an answer says."""
    if not isinstance(block.memo, ResponseHead):
        block.memo = _read_response(block)
    return block.memo


def _read_response(block: Block) -> ResponseHead:
    fields = dict(block.pairs)
    names_encoding = fields.get(b"grpc-encoding", _IDENTITY) != _IDENTITY
    status = block.pseudo[b":status"]
    content_type = fields.get(b"content-type", b"")
    if status != b"200":
        error = RpcError(status_of_http(status), f"HTTP status {status.decode('latin-1')}")
    elif not _is_grpc(content_type):
        error = RpcError(
            StatusCode.UNKNOWN, f"not gRPC: content-type {content_type[:_SHOWN_MAX]!r}"
        )
    else:
        try:
            return ResponseHead(None, names_encoding, decode_metadata(block.pairs))
        except RpcError as bad_metadata:
            error = bad_metadata
    return ResponseHead(error, names_encoding, ())


def read_trailers(block: Block) -> Trailers:
    """Return how a call ended, from its last block or its only one."""
    if isinstance(block.memo, Trailers):
        return block.memo
    trailers = _read_trailers(block)
    if not block.pseudo:  # else it is an answer's only block, and `read_response` keeps its own
        block.memo = trailers
    return trailers


def _read_trailers(block: Block) -> Trailers:
    fields = dict(block.pairs)
    told = fields.get(b"grpc-status")
    code = None
    if told is not None:
        number = int(told) if told.isdigit() and len(told) <= 2 else -1  # noqa: PLR2004
        code = STATUS_CODES.get(number, StatusCode.UNKNOWN)
    try:
        metadata = decode_metadata(block.pairs)
    except RpcError as error:
        return Trailers(error.code(), error.details(), ())
    return Trailers(code, _unquoted(fields.get(b"grpc-message", b"")), metadata)


def read_request(block: Block) -> RequestHead:
    """Return what is asked."""
    if not isinstance(block.memo, RequestHead):
        block.memo = _read_request(block)
    return block.memo


def _read_request(block: Block) -> RequestHead:
    fields = dict(block.pairs)
    path = block.pseudo.get(b":path", b"").decode("latin-1")
    status, error = b"200", None
    timeout_s: float | None = None
    metadata: Metadata = ()
    if not _is_grpc(fields.get(b"content-type", b"")):
        status = b"415"
        error = RpcError(StatusCode.INTERNAL, "content-type is not application/grpc")
    elif block.pseudo[b":method"] != b"POST":
        status, error = b"405", RpcError(StatusCode.INTERNAL, "method is not POST")
    else:
        try:
            metadata = decode_metadata(block.pairs)
            if (timeout := fields.get(b"grpc-timeout")) is not None:
                timeout_s = decode_timeout(timeout)
        except RpcError as bad_metadata:
            error = bad_metadata
        except ValueError as bad_timeout:
            error = RpcError(StatusCode.INTERNAL, str(bad_timeout))
    return RequestHead(
        error=error,
        http_status=status,
        path=path,
        timeout_s=timeout_s,
        names_encoding=fields.get(b"grpc-encoding", _IDENTITY) != _IDENTITY,
        metadata=metadata,
    )
