"""A provider of models as a plugin: which there are, and what they say."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeAlias

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import provider_pb2

ChatRequest = provider_pb2.ChatRequest
ModelInfo = provider_pb2.ModelInfo
ToolCall = common_pb2.ToolCall
TokenUsage = common_pb2.Usage

Said: TypeAlias = str | common_pb2.ToolCall | common_pb2.Usage
"""A piece of text, a tool that the model wants called, or what it cost."""


class ProviderError(Exception):
    """Raised by `chat`: its text is what the caller gets as the answer."""


class Provider:
    """The servicer `plugin.v1.Provider`, out of what an author overrides."""

    async def models(self) -> Sequence[ModelInfo]:
        """Return which models there are."""
        raise NotImplementedError

    def chat(self, request: ChatRequest) -> AsyncIterator[Said]:
        """Yield what a model says, as it says it. An asynchronous generator.

        Raises:
            ProviderError: it can't be had.
        """
        raise NotImplementedError

    async def status(self) -> provider_pb2.StatusResponse:
        """Return whether the models can be had now; that they can, by default."""
        return provider_pb2.StatusResponse(available=True)

    # The names of the methods are the contract's.
    async def ListModels(  # noqa: N802
        self,
        request: provider_pb2.ListModelsRequest,  # noqa: ARG002 - it has no fields
        context: object,  # noqa: ARG002
    ) -> provider_pb2.ListModelsResponse:
        """Tell which models there are."""
        return provider_pb2.ListModelsResponse(models=await self.models())

    async def Chat(  # noqa: N802
        self,
        request: ChatRequest,
        context: object,  # noqa: ARG002
    ) -> AsyncGenerator[provider_pb2.ChatEvent]:
        """Stream what is said, then that it is done."""
        said = self.chat(request)
        try:
            if isinstance(said, AsyncGenerator):
                async with aclosing(said):
                    async for piece in said:
                        yield _event(piece)
            else:
                async for piece in said:
                    yield _event(piece)
        except ProviderError as error:
            yield provider_pb2.ChatEvent(error=str(error))
        else:
            yield provider_pb2.ChatEvent(done=True)

    async def Status(  # noqa: N802
        self,
        request: provider_pb2.StatusRequest,  # noqa: ARG002 - it has no fields
        context: object,  # noqa: ARG002
    ) -> provider_pb2.StatusResponse:
        """Tell how the provider is."""
        return await self.status()


def _event(said: Said) -> provider_pb2.ChatEvent:
    if isinstance(said, str):
        return provider_pb2.ChatEvent(text_delta=provider_pb2.TextDelta(text=said))
    if isinstance(said, ToolCall):
        return provider_pb2.ChatEvent(tool_call=said)
    return provider_pb2.ChatEvent(usage=said)
