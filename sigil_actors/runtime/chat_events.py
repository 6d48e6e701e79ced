"""A model's answer on its way to the caller."""

from collections.abc import AsyncIterator

from sigil_actors.core.provider_calls import (
    ChatEvent,
    Done,
    TextDelta,
    TokenUsage,
    ToolCall,
    event_problem,
)
from sigil_actors.runtime.admission import Lease
from sigil_actors.runtime.call import unsound
from sigil_actors.runtime.chunks import Pieces


class ChatEvents(Pieces[ChatEvent]):
    """What a model answers, as it comes. Iterate once, within the call's block.

    `Done` is the last; an answer that ends without it may have been cut short. All text is the
    model's or the plugin's own, not escaped.
    """

    def __init__(self, plugin: str, source: AsyncIterator[ChatEvent], lease: Lease) -> None:
        super().__init__(source, lease)
        self._plugin = plugin

    async def __anext__(self) -> ChatEvent:
        """Return the next event; see `Pieces` for what it raises."""
        if self.is_finished:
            raise StopAsyncIteration  # whatever the plugin goes on to say
        return await super().__anext__()

    def _accept(self, piece: ChatEvent) -> int:
        wrong = event_problem(piece)
        if wrong:
            raise unsound(self._plugin, wrong)
        match piece:
            case TextDelta(text):
                return len(text)
            case ToolCall(arguments=arguments):
                return len(arguments)
            case Done():
                self.is_finished = True
                return 0
            case TokenUsage():
                return 0
