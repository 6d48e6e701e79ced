"""Metadata and deadlines as header fields, in both directions."""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from sigil_actors.rpc.hpack_encoding import header
from sigil_actors.rpc.status import DETAILS_KEY, Metadata, RpcError, StatusCode

Given: TypeAlias = Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
"""What callers may give: pairs, or a mapping."""

_KEY: Final = re.compile(r"[0-9a-z_.\-]+")
_VALUE: Final = re.compile(rb"[ -~]*")
_OWN_PREFIX: Final = "grpc-"
_BINARY_SUFFIX: Final = "-bin"
_RESERVED: Final = frozenset(("te", "content-type", "host", "connection"))
_NOT_METADATA: Final = frozenset((b"te", b"content-type", b"user-agent", b"content-length"))


def encode_metadata(given: Given) -> bytes:
    """Return metadata as header fields.

    Raises:
        ValueError: a key or value can't be sent, or belongs to gRPC itself.
    """
    pairs = given.items() if isinstance(given, Mapping) else given
    return b"".join([_field(key, value) for key, value in pairs])


def _field(key: str, value: str | bytes) -> bytes:
    is_own = key.startswith(_OWN_PREFIX) and key != DETAILS_KEY
    if not _KEY.fullmatch(key) or is_own or key in _RESERVED:
        raise ValueError(f"illegal metadata key {key!r}")
    if key.endswith(_BINARY_SUFFIX):
        raw = value.encode() if isinstance(value, str) else bytes(value)
        return header(key.encode(), base64.b64encode(raw).rstrip(b"="))
    try:
        text = value.encode("ascii") if isinstance(value, str) else bytes(value)
    except UnicodeEncodeError:
        text = b"\0"
    if not _VALUE.fullmatch(text):
        raise ValueError(f"illegal metadata value for {key!r}")
    return header(key.encode(), text.strip(b" "))


def decode_metadata(pairs: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """Return the metadata among the fields of a block.

    Raises:
        RpcError: INTERNAL; a binary value isn't base64.
    """
    found: list[tuple[str, str | bytes]] = []
    for name, value in pairs:
        if name[:1] == b":" or name in _NOT_METADATA:
            continue
        key = name.decode("ascii")
        if key.startswith(_OWN_PREFIX) and key != DETAILS_KEY:
            continue
        if key.endswith(_BINARY_SUFFIX):
            found.extend((key, _decoded(key, part)) for part in value.split(b","))
        else:
            found.append((key, value.decode("latin-1")))
    return tuple(found)


def _decoded(key: str, part: bytes) -> bytes:
    try:
        return base64.b64decode(part + b"=" * (-len(part) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RpcError(StatusCode.INTERNAL, f"bad base64 in {key}") from None


_NANOSECONDS: Final = 1_000_000_000
_UNITS: Final = (
    # From the finest: what fits is sent as exactly as it can be.
    (b"n", 1),
    (b"u", 1_000),
    (b"m", 1_000_000),
    (b"S", _NANOSECONDS),
    (b"M", 60 * _NANOSECONDS),
    (b"H", 3600 * _NANOSECONDS),
)
_UNIT_NANOSECONDS: Final[Mapping[bytes, int]] = dict(_UNITS)
_TIMEOUT: Final = re.compile(rb"[0-9]{1,8}[HMSmun]")
_TIMEOUT_DIGITS_LIMIT: Final = 10**8
LONGEST_TIMEOUT_S: Final = (_TIMEOUT_DIGITS_LIMIT - 1) * 3600.0


def encode_timeout(seconds: float) -> bytes:
    """Return a time as `grpc-timeout` has it: rounded up, never negative."""
    if seconds >= LONGEST_TIMEOUT_S:
        return b"99999999H"
    nanoseconds = max(0, int(seconds * _NANOSECONDS))
    for unit, size in _UNITS:
        amount = -(-nanoseconds // size)
        if amount < _TIMEOUT_DIGITS_LIMIT:
            return b"%d%s" % (amount, unit)
    return b"99999999H"


def decode_timeout(value: bytes) -> float:
    """Return the seconds of a `grpc-timeout`.

    Raises:
        ValueError: it isn't one.
    """
    if not _TIMEOUT.fullmatch(value):
        raise ValueError(f"bad grpc-timeout {value[:20]!r}")
    return int(value[:-1]) * _UNIT_NANOSECONDS[value[-1:]] / _NANOSECONDS
