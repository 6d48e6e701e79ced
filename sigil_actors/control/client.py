"""Asks a running supervisor through its control socket, in the words of `RuntimeOperations`."""

import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import trio

from sigil_actors.control.error_report import (
    ErrorReport,
    ReportedError,
    report_from_json,
    report_of,
)
from sigil_actors.control.lines import LineStream
from sigil_actors.control.protocol import (
    CHUNK,
    DONE,
    ERROR,
    EVENT,
    REPLY_BYTES_MAX,
    AboutRequest,
    ApproveRequest,
    CallRequest,
    ControlProtocolError,
    DescribeRequest,
    EventsRequest,
    ExplainRequest,
    HeldRequest,
    ListRequest,
    OrderRequest,
    Request,
    RescanRequest,
    TreeRequest,
    decode,
    encode_request,
)
from sigil_actors.control.socket_file import SupervisorUnreachableError, connected_socket
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import SigilError

SEND_S = 30.0
"""How long a supervisor may leave a request untaken."""

ANSWER_S = 30.0
"""How long it may take to tell something that waits for no plugin. What starts or drains one takes
as long as the plugin may, and is over at once where the supervisor ends."""


class ReplyChunks:
    """The pieces of text that a tool answers, as they come from the supervisor."""

    def __init__(self, replies: "_Replies") -> None:
        self._replies = replies
        self.count = 0
        self.characters = 0

    def __aiter__(self) -> AsyncIterator[str]:
        """Return itself."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece.

        Raises:
            ReportedError: the call failed.
            SupervisorUnreachableError: the supervisor is gone.
        """
        text = await self._replies.next_chunk()
        if text is None:
            raise StopAsyncIteration
        self.count += 1
        self.characters += len(text)
        return text


class ReplyEvents:
    """What happens in the supervisor, as it comes; ends with the supervisor."""

    def __init__(self, replies: "_Replies") -> None:
        self._replies = replies

    def __aiter__(self) -> AsyncIterator[JsonObject]:
        """Return itself."""
        return self

    async def __anext__(self) -> JsonObject:
        """Return the next event, as `event_json` has it.

        Raises:
            SupervisorUnreachableError: the supervisor is gone without having said so.
        """
        event = await self._replies.next_event()
        if event is None:
            raise StopAsyncIteration
        return event


class ControlClient:
    """Asks the supervisor that holds a state folder; one connection a question."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def is_supervised(self) -> bool:
        """Tell whether a supervisor is listening.

        Raises:
            SupervisorUnreachableError: it may not be used, or takes nobody.
        """
        found = connected_socket(self._state)
        if found is None:
            return False
        found.close()
        return True

    @asynccontextmanager
    async def call(self, request: CallRequest) -> AsyncGenerator[ReplyChunks]:
        """Call a tool; leaving the block early cancels it.

        Raises:
            ReportedError: the call failed.
            SupervisorUnreachableError: there is no supervisor, or it went away.
        """
        async with self._asking(request) as replies:
            yield ReplyChunks(replies)

    @asynccontextmanager
    async def events(self, request: EventsRequest) -> AsyncGenerator[ReplyEvents]:
        """Follow what happens from the beginning of the block on.

        Raises:
            ReportedError: there is no such plugin.
            SupervisorUnreachableError: there is no supervisor, or it went away.
        """
        async with self._asking(request) as replies:
            await replies.following()
            yield ReplyEvents(replies)

    async def about(self) -> JsonObject:
        """Return what the supervisor was started with."""
        return await self._ask(AboutRequest())

    async def list(self, request: ListRequest) -> JsonObject:
        """Return all plugins or one, and what was found and can't be used."""
        return await self._ask(request)

    async def tree(self) -> JsonObject:
        """Return the supervision tree."""
        return await self._ask(TreeRequest())

    async def describe(self, request: DescribeRequest) -> JsonObject:
        """Return a plugin's tools."""
        return await self._ask(request)

    async def explain(self, request: ExplainRequest) -> JsonObject:
        """Return why a capability is allowed or denied."""
        return await self._ask(request)

    async def order(self, request: OrderRequest) -> JsonObject:
        """Start, stop, drain or reload a plugin; return its status when that is done."""
        return await self._ask(request, within_s=math.inf)

    async def rescan(self) -> JsonObject:
        """Have the supervisor look into its plugins folder again; return what came of it."""
        return await self._ask(RescanRequest(), within_s=math.inf)

    async def held(self, request: HeldRequest) -> JsonObject:
        """Return which version of a plugin waits to be approved."""
        return await self._ask(request, within_s=math.inf)

    async def approve(self, request: ApproveRequest) -> JsonObject:
        """Approve the version that is held, and start it; return its status then."""
        return await self._ask(request, within_s=math.inf)

    def report(self, error: SigilError) -> ErrorReport:
        """Return what is told of an error."""
        return report_of(error)

    async def _ask(self, request: Request, *, within_s: float = ANSWER_S) -> JsonObject:
        try:
            with trio.fail_after(within_s):
                async with self._asking(request) as replies:
                    return await replies.done()
        except trio.TooSlowError:
            raise SupervisorUnreachableError(
                f"the supervisor didn't answer within {within_s:g} s",
                remedy="Look whether it still works; its log may tell",
            ) from None

    @asynccontextmanager
    async def _asking(self, request: Request) -> "AsyncGenerator[_Replies]":
        connection = connected_socket(self._state)
        if connection is None:
            raise SupervisorUnreachableError(
                f"no supervisor is listening in {self._state}",
                remedy="Start one with sigil-actors run, or name its state folder",
            )
        async with trio.SocketStream(trio.socket.from_stdlib_socket(connection)) as stream:
            lines = LineStream(stream)
            # Where it hangs up, it may have said why before: that it is busy, for one.
            with suppress(trio.BrokenResourceError, trio.TooSlowError):
                await lines.send(encode_request(request), within_s=SEND_S)
            yield _Replies(lines)


class _Replies:
    def __init__(self, lines: LineStream) -> None:
        self._lines = lines

    async def next_chunk(self) -> str | None:
        reply = await self._receive()
        if DONE in reply:
            return None
        text = reply.get(CHUNK)
        if not isinstance(text, str):
            raise _not_understood()
        return text

    async def following(self) -> None:
        """Wait until nothing is missed any more."""
        reply = await self._receive()
        if EVENT not in reply or reply[EVENT] is not None:
            raise _not_understood()

    async def next_event(self) -> JsonObject | None:
        reply = await self._receive()
        if DONE in reply:
            return None
        event = reply.get(EVENT)
        if not isinstance(event, dict):
            raise _not_understood()
        return event

    async def done(self) -> JsonObject:
        answer = (await self._receive()).get(DONE)
        if not isinstance(answer, dict):
            raise _not_understood()
        return answer

    async def _receive(self) -> JsonObject:
        try:
            line = await self._lines.receive_line(bytes_max=REPLY_BYTES_MAX)
        except trio.BrokenResourceError:
            line = None
        if line is None:
            raise SupervisorUnreachableError(
                "the supervisor went away before it had answered",
                remedy="Look at its log; start it again with sigil-actors run",
            )
        reply = decode(line)
        if ERROR not in reply:
            return reply
        report = report_from_json(reply[ERROR])
        if report is None:
            raise _not_understood()
        raise ReportedError(report)


def _not_understood() -> ControlProtocolError:
    return ControlProtocolError(
        "the supervisor's answer isn't one of this protocol",
        remedy="Use the sigil-actors that the supervisor was started with",
    )
