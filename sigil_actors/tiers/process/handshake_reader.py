"""Reads the one line that a plugin begins with, and nothing beyond what that may be."""

import trio

from sigil_actors.core.handshake import LINE_BYTES_MAX

_PIECE_BYTES = 4096


class NoHandshakeError(Exception):
    """There is no line: the output ended, or it goes on and on. Says which."""


class OutputClosedError(NoHandshakeError):
    """There is no line, since the output has ended: as likely as not, so has the plugin."""


class Output:
    """A plugin's standard output: first a line, then whatever comes after it."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._read = bytearray()

    async def read_line(self) -> bytes:
        """Return the first line, without its end.

        Raises:
            NoHandshakeError: there is none.
        """
        searched = 0
        while (end := self._read.find(b"\n", searched)) < 0:
            searched = len(self._read)
            if searched >= LINE_BYTES_MAX:
                raise NoHandshakeError(
                    f"wrote {LINE_BYTES_MAX // 1024} KiB to its standard output without a line end"
                )
            piece = await self._stream.receive_some(_PIECE_BYTES)
            if not piece:
                raise OutputClosedError("closed its standard output")
            self._read += piece
        line = bytes(self._read[:end]).removesuffix(b"\r")
        del self._read[: end + 1]
        return line

    async def receive_some(self, most: int) -> bytes:
        """Return what comes after the line; empty at the end."""
        if self._read:
            piece = bytes(self._read[:most])
            del self._read[:most]
            return piece
        return bytes(await self._stream.receive_some(most))
