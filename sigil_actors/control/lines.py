"""Lines over a stream, with a bound on each."""

import trio
from trio.abc import Stream

from sigil_actors.control.protocol import ControlProtocolError

_RECEIVE_BYTES = 64 * 1024


class LineStream:
    """Sends and receives lines. One task receives, one sends."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def receive_line(self, *, bytes_max: int) -> bytes | None:
        """Return the next line without its end; None where the other side has hung up.

        Raises:
            ControlProtocolError: it is longer than `bytes_max`, or has no end.
            trio.BrokenResourceError: the connection is gone.
        """
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > bytes_max:
                raise ControlProtocolError(
                    f"a line is longer than {bytes_max} bytes", remedy="Send less at once"
                )
            some = await self._stream.receive_some(_RECEIVE_BYTES)
            if not some:
                if self._buffer:
                    raise ControlProtocolError(
                        "the connection ended in the middle of a line", remedy="Try again"
                    )
                return None
            self._buffer += some
        if end > bytes_max:
            raise ControlProtocolError(
                f"a line is longer than {bytes_max} bytes", remedy="Send less at once"
            )
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    async def wait_hung_up(self) -> None:
        """Return when the other side hangs up, or says anything more, which nobody asked it to."""
        if self._buffer:
            return
        try:
            self._buffer += await self._stream.receive_some(1)
        except trio.BrokenResourceError:
            return

    async def send(self, line: bytes, *, within_s: float) -> None:
        """Send a line.

        Raises:
            trio.TooSlowError: the other side didn't take it in time.
            trio.BrokenResourceError: the connection is gone.
        """
        with trio.fail_after(within_s):
            await self._stream.send_all(line)
