"""A tool's answer on its way to the caller."""

from collections.abc import AsyncIterator

from sigil_actors.errors import SigilError
from sigil_actors.runtime.admission import Lease


class Chunks:
    """The pieces of text that a tool answers, as they come. Iterate once, within the call's block.

    The pieces are the plugin's own text, not escaped: escape them before they reach a terminal.
    """

    def __init__(self, source: AsyncIterator[str], lease: Lease) -> None:
        self._source = source
        self._lease = lease
        self.count = 0
        self.characters = 0
        self.is_finished = False
        self.failure: SigilError | None = None

    def __aiter__(self) -> "Chunks":
        """Return itself."""
        return self

    async def __anext__(self) -> str:
        """Return the next piece.

        Raises:
            PluginCallError: the plugin answered with an error.
            GuestTrapError: its code trapped.
            LimitExceededError: it ran into a bound.
            PluginCrashedError: its instance ended.
            PluginUnavailableError: it was stopped while the call was in it.
        """
        try:
            with self._lease.operation():
                text = await anext(self._source)
        except StopAsyncIteration:
            self.is_finished = True
            raise
        except SigilError as error:
            self.failure = error
            raise
        self.count += 1
        self.characters += len(text)
        return text
