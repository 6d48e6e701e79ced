"""One call as its caller sees it."""

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from contextlib import AsyncExitStack, aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import trio

from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.messages import MessageStream, pack
from sigil_actors.rpc.status import Metadata, RpcError, StatusCode
from sigil_actors.rpc.waiter import Waiter

if TYPE_CHECKING:
    from sigil_actors.rpc.channel import Channel


class Call(MessageStream):
    """One call. Iterate over it, or `read`, `write` and `done_writing`, as its method streams.

    Await it for the one answer of a method that has one. It is a context manager too: leaving the
    block cancels what isn't over, which a bare `break` doesn't. Inside the block, cancelling a
    `read` or a `write` cancels just that; without one it cancels the call, since nobody else would.
    """

    __slots__ = (
        "_begin",
        "_channel",
        "_code",
        "_decode",
        "_details",
        "_encode",
        "_has_block",
        "_initial",
        "_opening",
        "_readers",
        "_request_error",
        "_scopes",
        "_trailing",
        "_wants_initial",
        "_writers",
    )

    def __init__(self) -> None:
        super().__init__()
        self._channel: Channel
        self._encode: Callable[[Any], bytes] | None = None
        self._decode: Callable[[bytes], Any] | None = None
        self._begin: Callable[[], Awaitable[None]] | None = None
        self._code: StatusCode | None = None
        self._details = ""
        self._initial: Metadata | None = None
        self._trailing: Metadata = ()
        self._request_error: Exception | None = None
        self._has_block = False
        """Whether an `async with` answers for its end."""
        self._opening: trio.Event | None = None
        """Set when another task has opened it; None while nobody does."""
        self._scopes: tuple[trio.CancelScope, ...] = ()
        """Of what runs for the call and ends with it."""
        self._wants_initial = False
        self._readers = Waiter()
        self._writers = Waiter()

    def prepare(
        self,
        channel: "Channel",
        encode: Callable[[Any], bytes] | None,
        decode: Callable[[bytes], Any] | None,
        begin: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Set what the call is made with; `begin` opens it where that has to wait."""
        self._channel = channel
        self._encode = encode
        self._decode = decode
        self._begin = begin
        self.receive_max = channel.message_max

    # What the channel tells.

    def finish(self, code: StatusCode, details: str = "", trailing: Metadata = ()) -> None:
        """Take it that the call is over. The first word counts."""
        if self._code is None:
            self._code = code
            self._details = details
            self._trailing = trailing
            if self._initial is None:
                self._initial = ()
            for scope in self._scopes:
                scope.cancel()
        self._readers.wake()
        self._writers.wake()

    def take_initial(self, metadata: Metadata) -> None:
        """Take the metadata that came before the first message."""
        self._initial = metadata
        if self._wants_initial:
            self._readers.wake()

    def data_arrived(self) -> None:
        """Let the reader look."""
        self._readers.wake()

    def drained(self) -> None:
        """Let the writer go on."""
        self._writers.wake()

    @property
    def is_over(self) -> bool:
        """Whether its status is here."""
        return self._code is not None

    # What callers use.

    def code(self) -> StatusCode | None:
        """Return the status code, or None while the call goes on."""
        return self._code

    def details(self) -> str:
        """Return the text of the status."""
        return self._details

    def trailing_metadata(self) -> Metadata:
        """Return what came with the status."""
        return self._trailing

    async def initial_metadata(self) -> Metadata:
        """Return what the server sent before its first message, waiting for it."""
        await self._begun()
        self._wants_initial = True
        while self._initial is None:
            await self._wait(self._readers)
        return self._initial

    def cancel(self) -> None:
        """End the call; the server is told. Nothing happens where it is over."""
        self._abandon("cancelled by the caller")

    async def read(self) -> Any | None:
        """Return the next message, or None at the end.

        Raises:
            RpcError: the call ended with another status than OK.
        """
        body = await self.next_body()
        if body is None:
            self._raise_status()
            return None
        return self.decoded(body)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        waiting = self.messages
        if len(waiting) > 1:  # the window is given back with the last one
            return self.decoded(waiting.popleft())
        body = await self.next_body()
        if body is None:
            self._raise_status()
            raise StopAsyncIteration
        return self.decoded(body)

    async def write(self, message: Any) -> None:
        """Send a message; wait while the server reads too slowly.

        Raises:
            RpcError: the call is over.
        """
        await self._begun()
        await self._check_cancelled()
        self._check_going_on()
        self._channel.send(self, pack(self._encode(message) if self._encode else message))
        while self.pending is not None and self._code is None:
            await self._wait(self._writers)

    async def done_writing(self) -> None:
        """Say that no more messages follow."""
        await self._begun()
        if not self.local_done and not self.end_after and self._code is None:
            self._channel.send(self, b"", end=True)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self.only_message().__await__()

    async def __aenter__(self) -> Self:
        await self._begun()
        self._has_block = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.cancel()

    # What `channel` builds the kinds of calls from.

    async def next_body(self) -> bytes | None:
        """Return the next message undecoded, or None at the end, whatever the status."""
        await self._begun()
        waiting = self.messages
        while not waiting:
            if self._code is not None:
                return None
            await self._wait(self._readers)
        body = waiting.popleft()
        if not waiting and self.unread:
            unread, self.unread = self.unread, 0
            self._channel.consumed(self, unread)
        return body

    async def only_message(self) -> Any:
        """Return the one message of a call that answers with one.

        Raises:
            RpcError: the status isn't OK, or there isn't just one message.
        """
        if self._begin is not None or self._opening is not None:
            await self._begun()
        while self._code is None:
            await self._wait(self._readers)
        self._raise_status()
        if len(self.messages) != 1:
            raise RpcError(
                StatusCode.INTERNAL,
                f"{len(self.messages)} messages where one was to come",
                self._trailing,
            )
        return self.decoded(self.messages[0])

    def decoded(self, body: bytes) -> Any:
        """Return a message as the stub wants it.

        Raises:
            RpcError: INTERNAL; it can't be decoded.
        """
        if self._decode is None:
            return body
        try:
            return self._decode(body)
        except Exception as error:
            self._abandon("the response can't be decoded")
            raise RpcError(
                StatusCode.INTERNAL,
                f"the response can't be decoded: {type(error).__name__}",
                self._trailing,
            ) from error

    async def open_later(self, open_now: Callable[[], None], deadline: float) -> None:
        """Open the call when it is its turn. Where it is over before, its status tells."""
        with self._run(trio.CancelScope(deadline=deadline)) as scope:
            await self._channel.wait_for_turn()
        if trio.current_time() >= deadline:
            self._abandon("Deadline Exceeded", StatusCode.DEADLINE_EXCEEDED)
        if self._code is None:
            open_now()
        elif not scope.cancelled_caught:
            self._channel.give_turn_back()

    async def send_all(self, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        """Send every request, then half-close. Ends with the call; keeps the iterator's error."""
        with self._run(trio.CancelScope()):
            try:
                await self._send_each(requests)
            except RpcError:
                pass  # the call is over: its reader is told
            except Exception as error:  # noqa: BLE001 - the caller's own iterator, raised to the caller
                self._request_error = error
                self._abandon("the iterator of requests raised")

    async def _send_each(self, requests: AsyncIterable[Any] | Iterable[Any]) -> None:
        if isinstance(requests, AsyncIterable):
            async with AsyncExitStack() as stack:
                if isinstance(requests, AsyncGenerator):
                    # Else its clean-up runs whenever it is collected, outside of any task.
                    await stack.enter_async_context(aclosing(requests))
                async for request in requests:
                    await self.write(request)
        else:
            for request in requests:
                await self.write(request)
        await self.done_writing()

    async def expire(self, deadline: float) -> None:
        """End the call at its deadline."""
        with self._run(trio.CancelScope()):
            await trio.sleep_until(deadline)
            self._abandon("Deadline Exceeded", StatusCode.DEADLINE_EXCEEDED)

    def _run(self, scope: trio.CancelScope) -> trio.CancelScope:
        """Have a scope end with the call."""
        self._scopes += (scope,)
        if self._code is not None:
            scope.cancel()
        return scope

    def _abandon(self, why: str, code: StatusCode = StatusCode.CANCELLED) -> None:
        if self._code is None:
            self._begin = None
            if self.id:
                self._channel.reset(self, Code.CANCEL)
            self.finish(code, why)

    def _check_going_on(self) -> None:
        if self._code is not None:
            self._raise_status()
            raise RpcError(StatusCode.INTERNAL, "the call is over")

    def _raise_status(self) -> None:
        if self._request_error is not None:
            raise self._request_error
        if self._code:
            raise RpcError(self._code, self._details, self._trailing, self._initial or ())

    async def _begun(self) -> None:
        """Open the call if that had to wait; where another task is about to, wait for it."""
        begin, self._begin = self._begin, None
        if begin is None:
            if self._opening is not None:
                await self._opening.wait()
            return
        self._opening = trio.Event()
        try:
            await begin()
        except RpcError as error:
            self.finish(error.code(), error.details())
            raise
        except BaseException:
            self.cancel()
            raise
        finally:
            self._opening.set()
            self._opening = None

    async def _check_cancelled(self) -> None:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException:
            self._leave()
            raise

    async def _wait(self, waiter: Waiter) -> None:
        """Wait until something arrives, or there is room."""
        try:
            await waiter.wait()
        except trio.BusyResourceError:
            raise  # that the caller has two readers is no reason to end the call
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        """Cancel a call whose caller is cancelled, unless a block answers for it."""
        if not self._has_block:
            self.cancel()
