"""Asks a running supervisor through its control socket, in the words of `RuntimeOperations`."""

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
    REPLY_BYTES_MAX,
    CallRequest,
    ControlProtocolError,
    DescribeRequest,
    ExplainRequest,
    ListRequest,
    Request,
    decode,
    encode_request,
)
from sigil_actors.control.socket_file import SupervisorUnreachableError, connected_socket
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import SigilError

SEND_S = 30.0
"""How long a supervisor may leave a request untaken."""

ANSWER_S = 30.0
"""How long it may take to tell something that runs no plugin."""


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

    async def list(self) -> JsonObject:
        """Return all plugins, and what was found and can't be used."""
        return await self._ask(ListRequest())

    async def describe(self, request: DescribeRequest) -> JsonObject:
        """Return a plugin's tools."""
        return await self._ask(request)

    async def explain(self, request: ExplainRequest) -> JsonObject:
        """Return why a capability is allowed or denied."""
        return await self._ask(request)

    def report(self, error: SigilError) -> ErrorReport:
        """Return what is told of an error."""
        return report_of(error)

    async def _ask(self, request: Request) -> JsonObject:
        try:
            with trio.fail_after(ANSWER_S):
                async with self._asking(request) as replies:
                    return await replies.done()
        except trio.TooSlowError:
            raise SupervisorUnreachableError(
                f"the supervisor didn't answer within {ANSWER_S:g} s",
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
