"""What a plugin asks of its host: `sigil.host.v1.Host`, as two functions."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import attrs
import trio

from sigil_actors._proto.sigil.host.v1 import host_pb2
from sigil_actors.rpc.channel import Channel, open_channel
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.sdk.caller import current_session
from sigil_actors.sdk.errors import HostCallError, HostDeniedError, HostUnreachableError

ANSWER_BYTES_MAX: Final = (4 << 20) + (64 << 10)
"""Of an answer: the host's own bound of a payload, and the envelope around it."""

FIND_S: Final = 5.0
"""Seconds that a host has to announce its functions, which it does right after the start; as long
as go-plugin waits."""

_SERVICE: Final = "/sigil.host.v1.Host"
_NO_HOST: Final = "This host offers plugins no functions, or the plugin was made without `host=`"


@attrs.frozen(kw_only=True)
class HostAddress:
    """Where the host's functions are, and how they are spoken to."""

    address: str
    """`unix:PATH`, or `HOST:PORT`."""
    tls: ssl.SSLContext | None = None


Find: TypeAlias = Callable[[], Awaitable[HostAddress]]


class Host:
    """The host of a plugin. Make one, use it in tools and channels, and pass it to `serve`.

    It is connected to when it is first asked for something.
    """

    def __init__(self) -> None:
        self._connection: HostConnection | None = None

    async def call(
        self, capability: str, payload: bytes = b"", *, session_id: str | None = None
    ) -> bytes:
        """Have the host do something, and return what it answers.

        Args:
            capability: What, as in plugin.yaml: `kv.get`, `messages.send.telegram`.
            payload: What the function takes; JSON for those that come with the host.
            session_id: On whose behalf; by default that of the call that is being served. Empty
                for the plugin's own, outside of any call.

        Raises:
            HostDeniedError: the plugin may not do that, or not for this caller.
            HostUnreachableError: there is no host to ask, or it is gone.
            HostCallError: it didn't do it; says why.
        """
        request = host_pb2.CallRequest(
            capability=capability, payload=payload, session_id=_session(session_id)
        )
        answer = await self._ask(capability, lambda methods: methods.call(request))
        return bytes(answer.payload)

    async def check(self, capability: str, *, session_id: str | None = None) -> bool:
        """Tell whether a call would be allowed.

        Raises:
            HostUnreachableError: there is no host to ask, or it is gone.
            HostCallError: it didn't say.
        """
        request = host_pb2.CheckRequest(capability=capability, session_id=_session(session_id))
        answer = await self._ask(capability, lambda methods: methods.check(request))
        return bool(answer.allowed)

    def connect_by(self, connection: "HostConnection | None") -> None:
        """Use this connection from now on; None for none."""
        self._connection = connection

    async def _ask(self, capability: str, ask: Callable[["_HostMethods"], Awaitable[Any]]) -> Any:
        if self._connection is None:
            raise HostUnreachableError(capability, "the plugin isn't served", remedy=_NO_HOST)
        try:
            methods = await self._connection.methods()
        except OSError as error:
            raise HostUnreachableError(
                capability, f"the host can't be connected to: {error}", remedy=_NO_HOST
            ) from error
        try:
            return await ask(methods)
        except RpcError as error:
            raise _typed(capability, error, is_connected=methods.channel.is_usable) from error


class _HostMethods:
    """The methods of the service on one connection."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.call = channel.unary_unary(
            f"{_SERVICE}/Call",
            host_pb2.CallRequest.SerializeToString,
            host_pb2.CallResponse.FromString,
        )
        self.check = channel.unary_unary(
            f"{_SERVICE}/Check",
            host_pb2.CheckRequest.SerializeToString,
            host_pb2.CheckResponse.FromString,
        )


class HostConnection:
    """One connection at a time, made when it is needed. It lives in the nursery that it is given.

    Args:
        nursery: Where it runs; cancelled when the plugin ends.
        find: Tells where the host is; waited for within bounds.
    """

    def __init__(self, nursery: trio.Nursery, find: Find) -> None:
        self._nursery = nursery
        self._find = find
        self._one_at_a_time = trio.Lock()
        self._methods: _HostMethods | None = None
        self._scope = trio.CancelScope()

    async def methods(self) -> _HostMethods:
        """Return the methods on a connection that has a chance.

        Raises:
            OSError: there is nobody.
        """
        async with self._one_at_a_time:
            if self._methods is None or not self._methods.channel.is_usable:
                self._scope.cancel()
                with trio.move_on_after(FIND_S):
                    self._methods = await self._nursery.start(self._hold)
                    return self._methods
                raise TimeoutError(f"it announced nothing within {FIND_S:.0f} s")
            return self._methods

    async def _hold(self, *, task_status: trio.TaskStatus[_HostMethods]) -> None:
        with trio.CancelScope() as self._scope:
            found = await self._find()
            async with open_channel(
                found.address, tls=found.tls, message_max=ANSWER_BYTES_MAX
            ) as channel:
                task_status.started(_HostMethods(channel))
                await trio.sleep_forever()


def _session(given: str | None) -> str:
    return current_session() if given is None else given


def _typed(capability: str, error: RpcError, *, is_connected: bool) -> HostCallError:
    said = error.details()
    match error.code():
        case StatusCode.PERMISSION_DENIED:
            return HostDeniedError(capability, said)
        case StatusCode.UNIMPLEMENTED:
            return HostCallError(
                capability,
                "the host has no such function",
                remedy="Have the application that runs the host register it",
            )
        case StatusCode.UNAVAILABLE if not is_connected:
            return HostUnreachableError(
                capability,
                f"the connection to the host is gone: {said}",
                remedy="The call may have taken effect or not. The next one connects anew",
            )
        case code:
            return HostCallError(capability, f"{code.name}: {said}")
