"""One HTTP/2 connection at work on trio: what it reads becomes events, what it says is sent.

What a client and a server have in common. Which tasks run for it is for `channel` and `server`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic

import attrs
import trio

from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import StreamT
from sigil_actors.rpc.transport import Transport
from sigil_actors.rpc.waiter import Waiter

_KEEPALIVE_PING: Final = b"keepaliv"
_READS_IN_A_ROW: Final = 16
"""Then other tasks have their turn, however fast the peer sends."""

_FEW_STREAMS: Final = 8
"""So many each send for themselves, at once. Of more, those whose tasks run in the same pass of the
scheduler are sent together: a system call for each would cost more than all else about a call."""


@attrs.frozen(kw_only=True)
class Keepalive:
    """When a silent peer is asked whether it is there."""

    idle_s: float
    """Seconds of silence before it is asked."""
    answer_s: float = 20.0
    """Seconds that it has to answer; gRPC's default."""


class Session(Generic[StreamT]):
    """A connection, its transport, and what to do about each kind of event."""

    def __init__(
        self,
        transport: Transport,
        connection: Connection[StreamT],
        keepalive: Keepalive | None = None,
    ) -> None:
        self.transport = transport
        self.connection = connection
        self.handlers: Mapping[type, Callable[[Any], None]] = {}
        """By the class of the event; what isn't there is passed over."""
        self.reason = "connection lost"
        """Why calls fail once it is over."""
        self._was_met = trio.Event()
        self._flusher = Waiter()
        self._keepalive = keepalive
        self._was_heard = False
        self._answer: trio.Event | None = None

    def flush(self) -> None:
        """Send what there is to send, as far as the socket takes it; never waits."""
        connection, transport = self.connection, self.transport
        while not transport.is_blocked and not transport.is_dead:
            data = connection.data_to_send()
            if not data:
                break
            transport.send(data)
        if connection.drained:
            drained, connection.drained = connection.drained, []
            for stream in drained:
                self.stream_drained(stream)

    def flush_soon(self) -> None:
        """Send what there is to send, at the latest when every task that can run has run."""
        if len(self.connection.streams) <= _FEW_STREAMS:
            self.flush()
        else:
            self._flusher.wake()

    async def keep_flushing(self) -> None:
        """Send what is to go out soon."""
        while True:
            self.flush()  # first of all, too: before that nobody was there to be woken
            await self._flusher.wait()

    def stream_drained(self, stream: StreamT) -> None:
        """Take it that all of a stream's DATA has left; for subclasses."""

    def ended(self) -> None:
        """Take it that the connection is over, and every stream with it; for subclasses."""

    async def read(self) -> None:
        """Read until the connection ends. However it ends, every stream has ended then."""
        connection = self.connection
        try:
            self.flush()
            reads = 0
            while not connection.closed:
                data = await self.transport.receive()
                if not data:
                    self.handle(connection.eof())
                    break
                self._was_heard = True
                if self._answer is not None:
                    self._answer.set()
                self.handle(connection.receive(data, trio.current_time()))
                self.flush()
                if connection.established:
                    self._was_met.set()
                reads += 1
                if reads % _READS_IN_A_ROW == 0:
                    await trio.lowlevel.checkpoint()
        finally:
            self.end()

    def end(self) -> None:
        """End the connection at once: GOAWAY goes out as far as the socket takes it."""
        if not self.connection.closed:
            self.handle(self.connection.close())
        self.flush()
        self.transport.stop()
        self.ended()

    def handle(self, events: "list[Any]") -> None:
        """Do what there is to do about events."""
        handlers = self.handlers
        for event in events:
            handler = handlers.get(type(event))
            if handler is not None:
                handler(event)

    async def keep_writing(self) -> None:
        """Bring out what the socket didn't take at once."""

        def sent() -> None:
            self.flush()
            self.all_sent()

        await self.transport.keep_sending(sent)

    def all_sent(self) -> None:
        """Take it that the socket took all that it hadn't at first; for subclasses."""

    async def expect_settings(self, within_s: float) -> None:
        """End the connection of a peer that doesn't begin it: it speaks no HTTP/2, or stalls us."""
        with trio.move_on_after(within_s):
            await self._was_met.wait()
        if not self._was_met.is_set():
            self.reason = "the peer did not begin to speak HTTP/2"
            self.end()

    async def keep_alive(self) -> None:
        """Ask a silent peer whether it is there, and end the connection where it isn't."""
        if self._keepalive is None:
            return
        while True:
            self._was_heard = False
            await trio.sleep(self._keepalive.idle_s)
            if self._was_heard:
                continue
            self._answer = trio.Event()
            self.connection.ping(_KEEPALIVE_PING)
            self.flush()
            with trio.move_on_after(self._keepalive.answer_s):
                await self._answer.wait()
            self._answer = None
            if not self._was_heard:
                self.reason = "the peer did not answer a keep-alive"
                self.end()
                return
