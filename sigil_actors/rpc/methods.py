"""The methods of a service as stubs hold them, one class for each way of streaming."""

import math
from collections.abc import AsyncIterable, Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from sigil_actors.rpc.call import Call
from sigil_actors.rpc.call_headers import request_block
from sigil_actors.rpc.messages import pack
from sigil_actors.rpc.metadata import Given
from sigil_actors.rpc.status import RpcError, StatusCode

if TYPE_CHECKING:
    from sigil_actors.rpc.channel import Channel

Encode: TypeAlias = Callable[[Any], bytes] | None
Decode: TypeAlias = Callable[[bytes], Any] | None
Requests: TypeAlias = AsyncIterable[Any] | Iterable[Any]


class _Method:
    """One method of a service, as stubs hold it."""

    def __init__(self, channel: "Channel", path: str, encode: Encode, decode: Decode) -> None:
        self._channel = channel
        self._encode = encode
        self._decode = decode
        self._block = request_block(path.encode(), channel.authority, channel.scheme)

    def _body(self, request: Any) -> bytes:
        return pack(self._encode(request) if self._encode else request)

    def _call(
        self,
        timeout: float | None,
        metadata: Given | None,
        opened: Callable[[Call], None],
    ) -> Call:
        """Return a call that is open, or opens when it is first waited for."""
        channel = self._channel
        timeout = _not_negative(timeout)
        head = channel.head(self._block, timeout, metadata)
        deadline = math.inf if timeout is None else trio.current_time() + timeout
        call = Call()

        def begin() -> None:
            channel.open(call, head)
            opened(call)
            if timeout is not None:
                channel.start_soon(call.expire, deadline)

        async def begin_later() -> None:
            await call.open_later(begin, deadline)

        if channel.must_wait():
            call.prepare(channel, self._encode, self._decode, begin_later)
        else:
            call.prepare(channel, self._encode, self._decode)
            begin()
        return call


class UnaryUnary(_Method):
    """One message, one answer."""

    async def __call__(
        self,
        request: Any,
        timeout: float | None = None,  # noqa: ASYNC109 - the name that grpc's stubs have
        metadata: Given | None = None,
        **_options: object,
    ) -> Any:
        """Call it; `timeout` in seconds.

        Raises:
            RpcError: it ended with another status than OK.
        """
        return (await self.with_call(request, timeout, metadata))[0]

    async def with_call(
        self,
        request: Any,
        timeout: float | None = None,  # noqa: ASYNC109
        metadata: Given | None = None,
        **_options: object,
    ) -> tuple[Any, Call]:
        """Call it; return the answer and the call, for its metadata."""
        timeout = _not_negative(timeout)
        if timeout is None:
            return await self._invoke(request, None, metadata)
        with trio.move_on_after(timeout):
            return await self._invoke(request, timeout, metadata)
        raise RpcError(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")

    async def _invoke(
        self, request: Any, timeout_s: float | None, metadata: Given | None
    ) -> tuple[Any, Call]:
        await trio.lowlevel.checkpoint_if_cancelled()
        channel = self._channel
        head = channel.head(self._block, timeout_s, metadata)
        body = self._body(request)
        if channel.must_wait():
            # Between a turn and `open` nothing may raise: else nobody has the turn.
            await channel.wait_for_turn()
        call = Call()
        call.prepare(channel, self._encode, self._decode)
        channel.open(call, head)
        channel.send(call, body, end=True)
        return await call.only_message(), call


class UnaryStream(_Method):
    """One message, many answers."""

    def __call__(
        self,
        request: Any,
        timeout: float | None = None,
        metadata: Given | None = None,
        **_options: object,
    ) -> Call:
        """Call it; return the call, to be iterated over."""
        body = self._body(request)
        return self._call(timeout, metadata, lambda call: self._channel.send(call, body, end=True))


class StreamStream(_Method):
    """Many messages, many answers."""

    def __call__(
        self,
        request_iterator: Requests | None = None,
        timeout: float | None = None,
        metadata: Given | None = None,
        **_options: object,
    ) -> Call:
        """Call it; return the call. Without an iterator its `write` sends."""

        def opened(call: Call) -> None:
            self._channel.flush()
            if request_iterator is not None:
                self._channel.start_soon(call.send_all, request_iterator)

        return self._call(timeout, metadata, opened)


class StreamUnary(StreamStream):
    """Many messages, one answer: await the call for it."""


def _not_negative(timeout_s: float | None) -> float | None:
    """Return the timeout of a caller who may be late already."""
    return None if timeout_s is None else max(0.0, timeout_s)
