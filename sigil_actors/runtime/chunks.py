"""What a plugin answers in pieces, on its way to the caller."""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

import trio

from sigil_actors.errors import SigilError
from sigil_actors.runtime.admission import Lease

Piece = TypeVar("Piece")


class Pieces(Generic[Piece]):
    """An answer's pieces, as they come. Iterate once, within the call's block.

    Raises:
        PluginCallError: the plugin answered with an error.
        GuestTrapError: its code trapped.
        LimitExceededError: it ran into a bound.
        PluginCrashedError: its instance ended.
        PluginUnavailableError: it was stopped while the call was in it.
    """

    def __init__(self, source: AsyncIterator[Piece], lease: Lease) -> None:
        self._source = source
        self._lease = lease
        self.count = 0
        self.characters = 0
        self.dropped = 0
        """How many were not passed on, since they break the contract."""
        self.is_finished = False
        self.failure: SigilError | None = None

    def __aiter__(self) -> "Pieces[Piece]":
        """Return itself."""
        return self

    async def __anext__(self) -> Piece:
        """Return the next piece; see the class for what it raises."""
        while True:
            try:
                with self._lease.operation():
                    piece = await anext(self._source)
                characters = self._accept(piece)
            except StopAsyncIteration:
                self.is_finished = True
                raise
            except SigilError as error:
                self.failure = error
                raise
            if characters is not None:
                self.count += 1
                self.characters += characters
                return piece
            self.dropped += 1
            # A source that always has a piece needn't have let anybody else have a turn.
            await trio.lowlevel.checkpoint()

    def _accept(self, piece: Piece) -> int | None:
        """Return how many characters a piece has, or None where it isn't to be passed on."""
        raise NotImplementedError


class Chunks(Pieces[str]):
    """The pieces of text that a tool answers, as they come. Iterate once, within the call's block.

    The pieces are the plugin's own text, not escaped: escape them before they reach a terminal.
    """

    def _accept(self, piece: str) -> int:
        return len(piece)
