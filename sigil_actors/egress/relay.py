"""Passes bytes both ways between a plugin and a server, until both have said all they want.

With back-pressure: nothing is read that the other side hasn't taken. What goes up is looked at as
long as it must be; what comes down is the server's business.
"""

import math
import socket
import struct
from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import trio

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.http_body import BodyReader
from sigil_actors.core.http_request import ProxyRequestError
from sigil_actors.core.server_name import ServerNameError, ServerNameGuard
from sigil_actors.egress.bounds import EgressBounds

PIECE_BYTES = 128 * 1024
"""Read at once at most. Larger ones gain nothing more."""

_CLOSE_BY_RESET = struct.pack("ii", 1, 0)
_LOST = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.define(eq=False)
class Traffic:
    """What has passed, and how it ended."""

    address: str = ""
    """What was dialled last."""
    bytes_up: int = 0
    bytes_down: int = 0
    reason: EgressReason = EgressReason.CANCELLED
    """Until it is known."""
    detail: str = ""


class Relay:
    """One plugin's stream and one server's. `run_tunnel` or `run_request` is its whole life."""

    def __init__(
        self,
        client: trio.SocketStream,
        server: trio.SocketStream,
        *,
        bounds: EgressBounds,
        traffic: Traffic,
    ) -> None:
        self._client = client
        self._server = server
        self._bounds = bounds
        self._traffic = traffic
        self._idle_s = bounds.idle_s
        self._scope = trio.CancelScope()
        self._is_answered = False
        """Whether the one answer has come to its end, and only the client's farewell may follow."""

    async def run_tunnel(self, guard: ServerNameGuard, first: bytes) -> None:
        """Pass everything both ways; `first` has come from the client already."""

        async def up() -> None:
            if await self._pass_guarded(guard, first):
                await self._copy_up()
            with suppress(*_LOST):
                await self._server.send_eof()
            self._half_close()

        async def down() -> None:
            await self._copy_down()
            await self._client.send_eof()
            self._half_close()

        await self._run(up, down)

    async def run_request(self, head: bytes, body: BodyReader, first: bytes) -> None:
        """Pass one HTTP request up and what is answered down; `first` is the body's beginning."""

        async def up() -> None:
            await self._send_up(head)
            await self._pass_body(body, first)
            # What the client says further isn't passed on. It is read, so that its hanging up is
            # seen, and so that closing doesn't take the answer from it.
            while await self._client.receive_some(PIECE_BYTES):
                pass

        async def down() -> None:
            await self._copy_down()
            await self._client.send_eof()
            self._is_answered = True
            self._idle_s = self._bounds.linger_s
            self._touch()

        await self._run(up, down)

    async def _run(
        self, up: Callable[[], Awaitable[None]], down: Callable[[], Awaitable[None]]
    ) -> None:
        with self._scope:
            self._touch()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, up)
                nursery.start_soon(self._pump, down)
            self._end(EgressReason.OK)
        if self._scope.cancelled_caught:
            # By its deadline, unless one of the pumps has said why.
            self._end(EgressReason.OK if self._is_answered else EgressReason.IDLE)

    @trio.lowlevel.enable_ki_protection
    async def _pump(self, pump: Callable[[], Awaitable[None]]) -> None:
        try:
            await pump()
        except _LOST:
            self._cut(EgressReason.CONNECTION_LOST)
        except ServerNameError as error:
            self._cut(error.reason, error.seen)
        except ProxyRequestError as error:
            self._cut(error.reason, error.what)
        except _CutError as error:
            self._cut(error.reason)

    def _end(self, reason: EgressReason, detail: str = "") -> None:
        if self._traffic.reason is EgressReason.CANCELLED:
            self._traffic.reason = reason
            self._traffic.detail = detail

    def _cut(self, reason: EgressReason, detail: str = "") -> None:
        self._end(reason, detail)
        # So that the client can't take what it got for the whole.
        with suppress(OSError, trio.ClosedResourceError):
            self._client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_BY_RESET)
        self._scope.cancel()

    def _touch(self) -> None:
        self._scope.deadline = trio.current_time() + self._idle_s

    def _half_close(self) -> None:
        self._idle_s = min(self._idle_s, self._bounds.half_closed_s)
        self._touch()

    async def _send_up(self, data: bytes) -> bool:
        """Send to the server; tell whether it still listens.

        One that doesn't may have answered nevertheless, so this alone ends nothing.
        """
        try:
            await self._server.send_all(data)
        except _LOST:
            return False
        self._traffic.bytes_up += len(data)
        self._touch()
        return True

    async def _copy_up(self) -> None:
        while data := await self._client.receive_some(PIECE_BYTES):
            if not await self._send_up(data):
                break

    async def _copy_down(self) -> None:
        while data := await self._server.receive_some(PIECE_BYTES):
            await self._client.send_all(data)
            self._traffic.bytes_down += len(data)
            self._touch()

    async def _pass_guarded(self, guard: ServerNameGuard, data: bytes) -> bool:
        """Pass what the guard lets pass; tell whether there may be more when it is done."""
        hello_until = math.inf
        while True:
            passing = guard.receive(data)
            if passing and not await self._send_up(passing):
                return False
            if guard.is_done:
                return True
            if not guard.is_holding:
                hello_until = math.inf
            elif hello_until == math.inf:
                hello_until = trio.current_time() + self._bounds.hello_s
            with trio.CancelScope(deadline=hello_until) as patience:
                data = await self._client.receive_some(PIECE_BYTES)
            if patience.cancelled_caught:
                raise _CutError(EgressReason.HELLO_TIMED_OUT)
            if not data:
                if guard.is_holding:
                    raise _CutError(EgressReason.MALFORMED_HELLO)
                return False

    async def _pass_body(self, body: BodyReader, data: bytes) -> None:
        while True:
            passing = body.receive(data)
            if passing and not await self._send_up(passing):
                return
            if body.is_done:
                return
            data = await self._client.receive_some(PIECE_BYTES)
            if not data:
                raise _CutError(EgressReason.REQUEST_TRUNCATED)


class _CutError(Exception):
    """The client has done what ends the connection."""

    def __init__(self, reason: EgressReason) -> None:
        self.reason = reason
        super().__init__(reason)
