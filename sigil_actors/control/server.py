"""Serves the operators of a running supervisor at its control socket.

Whatever a client does, it ends its own connection and nothing else.
"""

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import assert_never

import trio

from sigil_actors.control.error_report import BUG
from sigil_actors.control.lines import LineStream
from sigil_actors.control.operations import RuntimeOperations
from sigil_actors.control.protocol import (
    CHUNK,
    DONE,
    ERROR,
    EVENT,
    REQUEST_BYTES_MAX,
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
    decode_request,
    encode,
)
from sigil_actors.control.socket_file import is_ours, listening_socket, peer_uid
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import SigilError
from sigil_actors.runtime.runtime import Runtime

logger = logging.getLogger(__name__)

CLIENTS_MAX = 64
"""At once. A person has one or two; scripts that run side by side some dozens."""

EVENT_STREAMS_MAX = CLIENTS_MAX // 2
"""At once. They last for as long as somebody looks, and must not keep calls out."""

LASTING_MAX = CLIENTS_MAX - 8
"""Event streams and calls at once. The rest is for what is over soon: whatever else is going on, an
operator can look and stop things, and so can the scripts of some others."""

REQUEST_S = 10.0
"""How long a client may take to send its request: it is there before the connection is."""

SEND_S = 30.0
"""How long a client may leave a line untaken. It holds a turn in the plugin for as long."""


_LOOKS = (AboutRequest, EventsRequest, ExplainRequest, ListRequest, TreeRequest)
"""What asks nothing of any plugin."""

_LASTING = (CallRequest, EventsRequest)
"""What may take for ever, as its client likes."""

_GONE = (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError)


class SupervisorStoppingError(SigilError):
    """The supervisor is stopping: it tells how it is, and does nothing new."""


async def serve_control(
    runtime: Runtime,
    state: Path,
    plugins: Path | None = None,
    *,
    stopping: trio.Event | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Listen in a state folder until the runtime has ended; serve who is here by then to their end.

    The runtime holds the folder. It tells that it has ended before it lets go of that, so that
    only the holder listens. A cancel ends it at once, and cancels the clients' calls.

    Args:
        runtime: Whom the clients ask.
        state: Its state folder.
        plugins: The folder that it was given, for those who ask which it is.
        stopping: From when this is set on, nothing is done any more, and looks are still served:
            a drain takes a while, and whoever waits for it wants to see what it waits for.
        task_status: Told once it listens.

    Raises:
        ControlSocketError: the socket can't be made there.
    """
    server = _Server(runtime, plugins, trio.Event() if stopping is None else stopping)
    async with (
        trio.open_nursery() as clients,
        # Opened before anybody is told that we listen, so that its end can't be missed.
        runtime.events() as happening,
        trio.open_nursery() as accepting,
    ):
        with listening_socket(state) as listener:
            async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as listening:
                accepting.start_soon(server.accept, listening, clients)
                task_status.started()
                async for _ in happening:
                    pass
                accepting.cancel_scope.cancel()


class _Server:
    def __init__(self, runtime: Runtime, plugins: Path | None, stopping: trio.Event) -> None:
        self._runtime = runtime
        self._plugins = plugins
        self._stopping = stopping
        self._clients = 0
        self._lasting: Counter[type[Request]] = Counter()

    async def accept(self, listening: trio.SocketListener, clients: trio.Nursery) -> None:
        """Serve whoever comes, as tasks of `clients`."""
        await trio.serve_listeners(self.serve_client, [listening], handler_nursery=clients)

    async def serve_client(self, stream: trio.SocketStream) -> None:
        self._clients += 1
        try:
            async with stream:
                await self._serve(stream)
        except _GONE as error:
            logger.debug("a control client is gone: %s", type(error).__name__)
        except Exception:  # a client must not end the supervisor, whatever it found
            logger.exception("serving a control client failed; please report this")
        finally:
            self._clients -= 1

    async def _serve(self, stream: trio.SocketStream) -> None:
        lines = LineStream(stream)
        uid = peer_uid(stream.socket)
        if uid is None or not is_ours(stream.socket):
            logger.warning("a control client of user %s was sent away", uid)
            return
        operations = RuntimeOperations(self._runtime, uid=uid, plugins=self._plugins)
        try:
            if self._clients > CLIENTS_MAX:
                raise ControlProtocolError(
                    f"the supervisor serves {CLIENTS_MAX} clients already", remedy="Try again later"
                )
            with trio.fail_after(REQUEST_S):
                line = await lines.receive_line(bytes_max=REQUEST_BYTES_MAX)
            if line is None:
                return
            request = decode_request(line)
            if self._stopping.is_set() and not isinstance(request, _LOOKS):
                raise SupervisorStoppingError(
                    "the supervisor is stopping",
                    remedy="Start it again once it has ended; sigil-actors ps shows what it waits "
                    "for",
                )
            self._check_room(request)
        except SigilError as error:
            last = {ERROR: operations.report(error).to_json()}
            await lines.send(encode(last), within_s=SEND_S)
            return
        # Nothing has been waited for since there was room.
        if isinstance(request, _LASTING):
            self._lasting[type(request)] += 1
        try:
            await _while_connected(lines, lambda: _answer(operations, request, lines))
        finally:
            if isinstance(request, _LASTING):
                self._lasting[type(request)] -= 1

    def _check_room(self, request: Request) -> None:
        if isinstance(request, EventsRequest) and self._lasting[EventsRequest] >= EVENT_STREAMS_MAX:
            raise ControlProtocolError(
                f"the supervisor serves {EVENT_STREAMS_MAX} event streams already",
                remedy="End one of the sigil-actors events, or whatever else follows the events",
            )
        if isinstance(request, _LASTING) and self._lasting.total() >= LASTING_MAX:
            raise ControlProtocolError(
                f"the supervisor serves {LASTING_MAX} calls and event streams already",
                remedy="Try again later",
            )


async def _while_connected(lines: LineStream, answer: Callable[[], Awaitable[None]]) -> None:
    """Answer until done, or until the client hangs up, which cancels it."""
    async with trio.open_nursery() as nursery:

        async def cancel_when_hung_up() -> None:
            await lines.wait_hung_up()
            nursery.cancel_scope.cancel()

        nursery.start_soon(cancel_when_hung_up)
        await answer()
        nursery.cancel_scope.cancel()


async def _answer(operations: RuntimeOperations, request: Request, lines: LineStream) -> None:
    try:
        last = {DONE: await _carry_out(operations, request, lines)}
    except SigilError as error:
        last = {ERROR: operations.report(error).to_json()}
    except _GONE as error:
        logger.debug("a control client is gone: %s", type(error).__name__)
        return
    except Exception:  # a bug of ours, in one request: its client and the log are told
        logger.exception("a request of a control client failed; please report this")
        last = {ERROR: BUG.to_json()}
    with suppress(*_GONE):
        await lines.send(encode(last), within_s=SEND_S)


async def _carry_out(  # noqa: C901, PLR0911, PLR0912 - one case a request, and no more
    operations: RuntimeOperations, request: Request, lines: LineStream
) -> JsonObject:
    match request:
        case CallRequest():
            async with operations.call(request) as chunks:
                async for chunk in chunks:
                    await lines.send(encode({CHUNK: chunk}), within_s=SEND_S)
            return {"chunks": chunks.count, "characters": chunks.characters}
        case EventsRequest():
            return await _follow(operations, request, lines)
        case AboutRequest():
            return operations.about()
        case ListRequest():
            return operations.list(request)
        case TreeRequest():
            return operations.tree()
        case DescribeRequest():
            return await operations.describe(request)
        case ExplainRequest():
            return operations.explain(request)
        case OrderRequest():
            return await operations.order(request)
        case RescanRequest():
            return await operations.rescan()
        case HeldRequest():
            return await operations.held(request)
        case ApproveRequest():
            return await operations.approve(request)
        case never:
            assert_never(never)


async def _follow(
    operations: RuntimeOperations, request: EventsRequest, lines: LineStream
) -> JsonObject:
    told = 0
    async with operations.events(request) as events:
        # So that the client knows from when on it misses nothing.
        await lines.send(encode({EVENT: None}), within_s=SEND_S)
        async for event in events:
            await lines.send(encode({EVENT: event}), within_s=SEND_S)
            told += 1
    return {"events": told}
