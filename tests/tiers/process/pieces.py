"""A stream of bytes that the tests cut as they like."""

import trio


class Pieces(trio.abc.ReceiveStream):
    """A stream that gives these pieces; counts what was taken."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)
        self.taken = 0

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Return the next piece, or as much of it as fits."""
        await trio.lowlevel.checkpoint()
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if max_bytes is not None and len(piece) > max_bytes:
            self._pieces.insert(0, piece[max_bytes:])
            piece = piece[:max_bytes]
        self.taken += len(piece)
        return piece

    async def aclose(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()
