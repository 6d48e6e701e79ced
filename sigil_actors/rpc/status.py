"""How a call ends: gRPC's status codes, and the error that a call without OK raises."""

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias

from sigil_actors.rpc.frames import Code

Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]
"""Keys in lower case, each with a text, or bytes where the key ends in `-bin`. May repeat."""


class StatusCode(IntEnum):
    """The codes of gRPC, with its numbers."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


STATUS_CODES: Final[Mapping[int, StatusCode]] = {code.value: code for code in StatusCode}

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The metadata key under which a `google.rpc.Status` travels, serialised."""


class RpcError(Exception):
    """A call that ended with a status other than OK, from whichever side it came.

    The methods are those of grpcio's error of that name, so that callers need not care whose
    channel they have.
    """

    def __init__(
        self,
        code: StatusCode,
        details: str = "",
        trailing: Metadata = (),
        initial: Metadata = (),
    ) -> None:
        self._code = code
        self._details = details
        self._trailing = trailing
        self._initial = initial
        super().__init__(f"{code.name}: {details}" if details else code.name)

    def code(self) -> StatusCode:
        """Return the status code."""
        return self._code

    def details(self) -> str:
        """Return the text that came with it, a stranger's where the peer sent it."""
        return self._details

    def trailing_metadata(self) -> Metadata:
        """Return what came with the status."""
        return self._trailing

    def initial_metadata(self) -> Metadata:
        """Return what came before the first message."""
        return self._initial

    def status_details(self) -> bytes | None:
        """Return the serialised `google.rpc.Status` that came along, or None."""
        for key, value in self._trailing:
            if key == DETAILS_KEY and isinstance(value, bytes):
                return value
        return None


def status_code(code: object) -> StatusCode:
    """Return our code for one of ours, a plain number, or a member of `grpc.StatusCode`."""
    value = getattr(code, "value", code)
    if isinstance(value, tuple):  # grpcio's members are (number, text)
        value = value[0]
    return (
        STATUS_CODES.get(value, StatusCode.UNKNOWN)
        if isinstance(value, int)
        else StatusCode.UNKNOWN
    )


_BY_HTTP_STATUS: Final[Mapping[bytes, StatusCode]] = {
    b"400": StatusCode.INTERNAL,
    b"401": StatusCode.UNAUTHENTICATED,
    b"403": StatusCode.PERMISSION_DENIED,
    b"404": StatusCode.UNIMPLEMENTED,
    b"429": StatusCode.UNAVAILABLE,
    b"502": StatusCode.UNAVAILABLE,
    b"503": StatusCode.UNAVAILABLE,
    b"504": StatusCode.UNAVAILABLE,
}
_BY_RESET: Final[Mapping[int, StatusCode]] = {
    Code.REFUSED_STREAM: StatusCode.UNAVAILABLE,
    Code.CANCEL: StatusCode.CANCELLED,
    Code.ENHANCE_YOUR_CALM: StatusCode.RESOURCE_EXHAUSTED,
    Code.INADEQUATE_SECURITY: StatusCode.PERMISSION_DENIED,
}


def status_of_http(status: bytes) -> StatusCode:
    """Return the code for an answer that isn't gRPC's, as gRPC's documentation maps them."""
    return _BY_HTTP_STATUS.get(status, StatusCode.UNKNOWN)


def status_of_reset(code: int | None, *, by_peer: bool) -> tuple[StatusCode, str]:
    """Return the status of a stream that was reset; None stands for a lost connection."""
    if code is None:
        return StatusCode.UNAVAILABLE, "connection lost"
    try:
        name = Code(code).name
    except ValueError:
        name = str(code)
    whose = " by the peer" if by_peer else ""
    return _BY_RESET.get(code, StatusCode.INTERNAL), f"stream reset{whose}: {name}"
