"""The way back: `sigil.host.v1.Host`, served to one instance of one plugin.

Who asks is known by the connection: the functions served here are bound to the instance, and what
it fills in says only for whose call it asks.
"""

import ssl
from typing import Any, Final

import trio

from sigil_actors._proto.sigil.host.v1 import host_pb2, host_pb2_grpc
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import (
    AuditUnavailableError,
    CapabilityDeniedError,
    HostFunctionMissingError,
    InvalidCapabilityError,
    LimitExceededError,
    SigilError,
)
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.server import Server, ServerBounds
from sigil_actors.rpc.status import RpcError, StatusCode

HOST_SERVICE_ID: Final = 1
"""Under which the broker always has it."""

PAYLOAD_BYTES_MAX: Final = 4 << 20
"""Of a call and of its answer, in every tier."""

_ENVELOPE_BYTES_MAX: Final = 64 << 10
"""Of a message beside its payload: a capability and a token are short."""

_LIMITS: Final = Limits(streams_max=32)
"""As many calls as a plugin may have in flight; what is more waits with the plugin."""

_BOUNDS: Final = ServerBounds(
    # With the calls of each, and their payloads, it is half a gigabyte that a hostile plugin could
    # have its host keep; an honest one makes a connection or two.
    connections_max=4,
    message_max=PAYLOAD_BYTES_MAX + _ENVELOPE_BYTES_MAX,
    send_max=PAYLOAD_BYTES_MAX + _ENVELOPE_BYTES_MAX,
)


class HostService:
    """The service, and the server that has it. For one instance; with TLS, or without.

    Attributes:
        server: To be served by the broker, or at an address of its own.
        reached: Set when the plugin has asked for something.
    """

    def __init__(self, host: HostFunctions, tls: ssl.SSLContext | None = None) -> None:
        self._host = host
        self.reached = trio.Event()
        self.server = Server(tls=tls, limits=_LIMITS, bounds=_BOUNDS)
        add: Any = host_pb2_grpc.add_HostServicer_to_server  # generated code has no types
        add(self, self.server)

    async def Call(  # noqa: N802 - the contract's name
        self, request: host_pb2.CallRequest, _context: object
    ) -> host_pb2.CallResponse:
        """Run a host function."""
        self.reached.set()
        if len(request.payload) > PAYLOAD_BYTES_MAX:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"the payload has {len(request.payload)} bytes, over {PAYLOAD_BYTES_MAX}",
            )
        try:
            payload = await self._host.call(request.capability, request.payload, request.session_id)
        except SigilError as error:
            raise _status_of(error) from error
        return host_pb2.CallResponse(payload=payload)

    async def Check(  # noqa: N802 - the contract's name
        self, request: host_pb2.CheckRequest, _context: object
    ) -> host_pb2.CheckResponse:
        """Tell whether a call would be allowed."""
        self.reached.set()
        try:
            reason = await self._host.check(request.capability, request.session_id)
        except SigilError as error:
            raise _status_of(error) from error
        return host_pb2.CheckResponse(allowed=reason is DenyReason.OK, reason=str(reason))


def _status_of(error: SigilError) -> RpcError:
    """Return what the plugin is told, which is no more than it needs to act on it."""
    match error:
        case CapabilityDeniedError():
            return RpcError(StatusCode.PERMISSION_DENIED, str(error.reason))
        case AuditUnavailableError():
            return RpcError(StatusCode.UNAVAILABLE, "it couldn't be recorded, so nothing ran")
        case HostFunctionMissingError():
            return RpcError(StatusCode.UNIMPLEMENTED, error.what)
        case InvalidCapabilityError():
            return RpcError(StatusCode.INVALID_ARGUMENT, error.what)
        case LimitExceededError():
            return RpcError(StatusCode.RESOURCE_EXHAUSTED, error.what)
        case _:
            # By its attributes or not at all: its text may hold what is the host's own.
            return RpcError(StatusCode.INTERNAL, "the host function failed")
