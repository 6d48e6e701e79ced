"""A call as a plain servicer's method sees it in its thread: `grpc.ServicerContext`, that is."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NoReturn

import trio

from sigil_actors.rpc.metadata import Given
from sigil_actors.rpc.server_call import AbortError, ServerCall
from sigil_actors.rpc.status import Metadata, RpcError, StatusCode, status_code

_LOG = logging.getLogger(__name__)


class PlainContext:
    """The methods are grpcio's. Those that do nothing are for what this server has no need of."""

    def __init__(self, call: ServerCall) -> None:
        self._call = call
        self._code: StatusCode | None = None
        self._details = ""
        self._trailing: Given = ()
        self._callbacks: list[Callable[[], object]] = []
        self._has_ended = False
        self._waits: set[trio.CancelScope] = set()

    # What the client sent, and who it is.

    def invocation_metadata(self) -> Metadata:
        """Return what the client sent along."""
        return self._call.invocation_metadata()

    def peer(self) -> str:
        """Return who the client is."""
        return self._call.peer()

    def peer_identities(self) -> None:
        """Return None: with AutoMTLS there is one client only, and without nobody is known."""

    def peer_identity_key(self) -> None:
        """Return None."""

    def auth_context(self) -> Mapping[str, list[bytes]]:
        """Return nothing."""
        return {}

    def time_remaining(self) -> float | None:
        """Return the seconds until the client gives up, None where it didn't say."""
        return trio.from_thread.run_sync(self._call.time_remaining)

    def is_active(self) -> bool:
        """Tell whether somebody still waits for the answer."""
        return not self._has_ended and self._call.is_active()

    # How it ends.

    def set_code(self, code: object) -> None:
        """Set the status that the call ends with; a `grpc.StatusCode`, ours, or its number."""
        self._code = status_code(code)
        self._call.set_code(self._code)

    def set_details(self, details: str) -> None:
        """Set the text of the status."""
        self._details = details
        self._call.set_details(details)

    def set_trailing_metadata(self, metadata: Given) -> None:
        """Set what goes with the status."""
        self._trailing = metadata
        self._call.set_trailing_metadata(metadata)

    def code(self) -> StatusCode | None:
        """Return the status that was set."""
        return self._code

    def details(self) -> str:
        """Return the text that was set."""
        return self._details

    def trailing_metadata(self) -> Given:
        """Return what was set to go with the status."""
        return self._trailing

    def abort(self, code: object, details: str = "") -> NoReturn:
        """End the call with a status, and leave the method."""
        self.set_code(status_code(code) or StatusCode.UNKNOWN)
        self.set_details(details)
        raise AbortError

    def abort_with_status(self, status: Any) -> NoReturn:
        """End the call with a status that has details, as grpcio-status makes it."""
        self.set_trailing_metadata(status.trailing_metadata or ())
        self.abort(status.code, status.details)

    def cancel(self) -> None:
        """End the call as cancelled."""
        trio.from_thread.run_sync(self._cancel)

    def _cancel(self) -> None:
        self._call.end(StatusCode.CANCELLED, "cancelled by the server")
        self._call.kill()

    def add_callback(self, callback: Callable[[], object]) -> bool:
        """Have it called when the call is over; False where it is already."""
        if self._has_ended:
            return False
        self._callbacks.append(callback)
        return True

    # What is sent, and what more is read.

    def send_initial_metadata(self, metadata: Given) -> None:
        """Send metadata now, before the first message."""
        self._wait(self._call.send_initial_metadata, metadata)

    def set_compression(self, compression: object) -> None:
        """Do nothing: messages go uncompressed."""

    def disable_next_message_compression(self) -> None:
        """Do nothing: messages go uncompressed."""

    def write(self, message: Any) -> None:
        """Send a message; wait while the client reads too slowly."""
        self._wait(self._call.write, message)

    def read(self) -> Any | None:
        """Return the next message of the request, or None at its end."""
        return self._wait(self._call.read)

    def end(self) -> None:
        """Take it, in trio, that the call is over: a thread that waits for it doesn't any more."""
        self._has_ended = True
        for scope in self._waits:
            scope.cancel()
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # noqa: BLE001 - a callback is not ours
                _LOG.exception("a callback of %s failed", self._call.method)

    def _wait(self, wait: Callable[..., Any], *arguments: Any) -> Any:
        """Wait for it in trio, from the thread.

        Raises:
            RpcError: CANCELLED; the call is over.
        """
        return trio.from_thread.run(self._in_scope, wait, arguments)

    async def _in_scope(self, wait: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        # A thread that was abandoned waits by a task of trio's own, which nobody else would cancel.
        if not self._has_ended:
            with trio.CancelScope() as scope:
                self._waits.add(scope)
                try:
                    return await wait(*arguments)
                finally:
                    self._waits.discard(scope)
        raise RpcError(StatusCode.CANCELLED, "the call is over")


class PlainRequests:
    """The messages of a streamed request, to be iterated over in the thread."""

    def __init__(self, context: PlainContext, call: ServerCall) -> None:
        self._context = context
        self._call = call

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        message = self._context.read()
        if message is None:
            raise StopIteration
        return message

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._call.__aiter__()
