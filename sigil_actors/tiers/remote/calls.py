"""How a call into a plugin is made and what its status means: one answer, or a stream of them."""

import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs
import trio

from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginCallError, PluginError
from sigil_actors.rpc.call import Call
from sigil_actors.rpc.channel import Channel
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.tiers.remote.ending import Ending
from sigil_actors.tiers.remote.messages import (
    MalformedMessageError,
    TooLargeError,
    UnwritableError,
)

CALL_TOKEN_KEY: Final = "sigil-call"  # noqa: S105 - the name, not a token
"""The metadata key of the token that stands for the caller."""

LATE_S: Final = 0.1
"""Seconds by which a plugin's deadline is later than its caller's: whose time is up is told by his
own cancel scope, and never by a status that overtook it."""

TRAIL_S: Final = 1.0
"""Seconds that a plugin gets to return after the last piece of its answer, so that what it does at
the end isn't cancelled; then it is."""

IN_A_ROW_MAX: Final = 64
"""Messages that are taken before other tasks have their turn. A window holds a hundred thousand
small ones, which would keep the whole host waiting for half a second."""

DETAILS_CHARACTERS_MAX: Final = 500
"""Of the text of a plugin's status."""

Piece = TypeVar("Piece")
Answer = TypeVar("Answer")


@attrs.frozen(kw_only=True)
class End(Generic[Piece]):
    """What a reader makes of the message after which nothing follows."""

    piece: Piece | None = None
    """What is still passed on."""
    error: str | None = None
    """What the caller gets then, in the plugin's words, escaped."""


class _Unary(Protocol):
    def __call__(self, request: Any, timeout: float | None, metadata: Any) -> Awaitable[Any]: ...


class _Streaming(Protocol):
    def __call__(self, request: Any, timeout: float | None, metadata: Any) -> Call: ...


class PluginCalls:
    """Calls over one plugin's channel."""

    def __init__(self, plugin: str, channel: Channel, ending: Ending) -> None:
        self.plugin = plugin
        self._channel = channel
        self._ending = ending

    async def ask(
        self,
        method: _Unary,
        write: Callable[[], Any],
        read: Callable[[Any], Answer],
        *,
        session_id: str = "",
        unserved: Answer | None = None,
    ) -> Answer:
        """Make a call that has one answer.

        `write` makes the request, `read` makes a value of the answer; `unserved` is what a plugin
        answers that doesn't have the service, if that is no error.

        Raises:
            PluginCrashedError: the instance has ended.
            PluginCallError: the plugin's status, or its answer, is an error.
            LimitExceededError: the answer is over a bound.
        """
        self._ending.check()
        request = self._written(write)
        try:
            answer = await method(request, timeout=_timeout_s(), metadata=_metadata(session_id))
        except RpcError as error:
            if unserved is not None and error.code() is StatusCode.UNIMPLEMENTED:
                return unserved
            raise await self.error_of(error) from None
        return self.read(read, answer)

    @asynccontextmanager
    async def stream(
        self,
        method: _Streaming,
        write: Callable[[], Any],
        read: Callable[[Any], Piece | End[Piece] | None],
        *,
        session_id: str,
        timeout_s: float = math.inf,
    ) -> AsyncGenerator["Pieces[Piece]"]:
        """Make a call that has a stream of answers; leaving the block cancels it.

        `read` makes a piece of a message, `End` of one that ends the answer, and None of one to be
        passed over. Raises what `ask` raises, on entering and from the iterator.
        """
        self._ending.check()
        request = self._written(write)
        try:
            call = method(request, timeout=_timeout_s(timeout_s), metadata=_metadata(session_id))
        except RpcError as error:
            raise await self.error_of(error) from None
        try:
            yield Pieces(self, call, read)
        finally:
            call.cancel()

    def read(self, read: Callable[[Any], Answer], message: Any) -> Answer:
        """Make a value of what the plugin answered; raises what `ask` raises."""
        try:
            return read(message)
        except MalformedMessageError as error:
            raise PluginCallError(
                self.plugin,
                f"its answer is malformed: {error}",
                remedy="The plugin's author can correct it; the contract has the message",
            ) from None
        except TooLargeError as error:
            raise LimitExceededError(
                self.plugin, bound=error.bound, value=error.value, key=""
            ) from None

    async def error_of(self, error: RpcError) -> PluginError:
        """Return what a status means for its caller."""
        code = error.code()
        if code is StatusCode.UNAVAILABLE and not self._channel.is_usable:
            return await self._ending.lost()
        said = escape_text(error.details(), limit=DETAILS_CHARACTERS_MAX)
        match code:
            case StatusCode.UNIMPLEMENTED:
                what, remedy = f"it doesn't serve that ({said})", "Is it a plugin of another type?"
            case StatusCode.DEADLINE_EXCEEDED:
                what, remedy = "it didn't answer in time", "Give it longer, or ask for less"
            case StatusCode.CANCELLED:
                what, remedy = f"it was cancelled, or its block left ({said})", "Make a new call"
            case _:
                what, remedy = f"{code.name}: {said}" if said else code.name, ""
        return PluginCallError(self.plugin, what, remedy=remedy)

    def _written(self, write: Callable[[], Answer]) -> Answer:
        try:
            return write()
        except UnwritableError as error:
            raise PluginCallError(
                self.plugin,
                f"what it was to be asked doesn't fit into the contract's message: {error}",
                remedy="The caller can change what it asks for",
            ) from None


class Pieces(Generic[Piece]):
    """An asynchronous iterator over what a call answers. For one task at a time."""

    def __init__(
        self,
        calls: PluginCalls,
        call: Call,
        read: Callable[[Any], Piece | End[Piece] | None],
    ) -> None:
        self._calls = calls
        self._call = call
        self._read = read
        self._end: End[Piece] | None = None
        self._is_over = False
        self._in_a_row = 0

    def __aiter__(self) -> "Pieces[Piece]":
        return self

    async def __anext__(self) -> Piece:
        """Return the next piece.

        Raises:
            PluginCrashedError: the instance has ended.
            PluginCallError: the plugin answered with an error, or the call was cancelled.
            LimitExceededError: it ran into a bound.
        """
        if self._end is None and not self._is_over:
            piece = await self._next()
            if piece is not None:
                return piece
        if not self._is_over:
            self._is_over = True
            await self._let_it_return()
            if self._end is not None and self._end.error is not None:
                raise PluginCallError(self._calls.plugin, self._end.error)
        raise StopAsyncIteration

    async def _next(self) -> Piece | None:
        """Return the next piece, or None at the end."""
        try:
            async for message in self._call:
                self._in_a_row += 1
                if self._in_a_row >= IN_A_ROW_MAX:
                    self._in_a_row = 0
                    await trio.lowlevel.checkpoint()
                made = self._calls.read(self._read, message)
                if isinstance(made, End):
                    self._end = made
                    return made.piece
                if made is not None:
                    return made
        except RpcError as error:
            self._is_over = True
            raise await self._calls.error_of(error) from None
        except PluginError:
            self._is_over = True
            raise
        self._is_over = True
        return None

    async def _let_it_return(self) -> None:
        with trio.move_on_after(TRAIL_S):
            try:
                async for _ in self._call:
                    await trio.lowlevel.checkpoint()
            except RpcError:
                pass  # what it had to say was said


def _timeout_s(most_s: float = math.inf) -> float | None:
    left_s = min(most_s, trio.current_effective_deadline() - trio.current_time())
    return None if left_s == math.inf else max(left_s, 0) + LATE_S


def _metadata(session_id: str) -> list[tuple[str, str]]:
    return [(CALL_TOKEN_KEY, session_id)] if session_id else []
