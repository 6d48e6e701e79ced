"""Channels, providers and lifecycles: what an author overrides becomes the contract's services."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from sigil_actors._proto.plugin.v1 import channel_pb2, lifecycle_pb2, provider_pb2
from sigil_actors.sdk import (
    Channel,
    ChannelError,
    ChatRequest,
    ConfigurationError,
    InboundMessage,
    Lifecycle,
    ModelInfo,
    Provider,
    ProviderError,
    SendRequest,
    TokenUsage,
    ToolCall,
)
from sigil_actors.sdk.providers import Said


class Platform(Channel):
    def __init__(self, *, as_iterator: bool = False) -> None:
        self.log: list[object] = []
        self._as_iterator = as_iterator

    def messages(self) -> AsyncIterator[InboundMessage]:
        generator = self._messages()
        return Plain(generator) if self._as_iterator else generator

    async def _messages(self) -> AsyncGenerator[InboundMessage]:
        try:
            for text in "ab":
                yield InboundMessage(content=text)
        finally:
            self.log.append("closed")

    async def send(self, message: SendRequest) -> str:
        if not message.content:
            raise ChannelError("there is nothing to say")
        return f"id of {message.content}"

    async def show_presence(self, channel_id: str, status: int) -> None:
        self.log.append((channel_id, status))


class Plain:
    """An asynchronous iterator that is no generator."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __aiter__(self) -> Any:
        return self

    async def __anext__(self) -> Any:
        return await anext(self._inner)


@pytest.mark.parametrize("as_iterator", [False, True])
async def test_a_channels_messages_are_streamed(as_iterator: bool) -> None:  # noqa: FBT001
    platform = Platform(as_iterator=as_iterator)
    start = platform.Start(channel_pb2.StartRequest(), None)
    assert [message.content async for message in start] == ["a", "b"]
    assert platform.log == ["closed"]


async def test_messages_are_closed_when_nobody_listens_any_more() -> None:
    platform = Platform()
    async with aclosing(platform.Start(channel_pb2.StartRequest(), None)) as start:
        await anext(start)
    assert platform.log == ["closed"]


async def test_a_channel_sends_or_says_why_not() -> None:
    platform = Platform()
    sent = await platform.Send(SendRequest(content="a"), None)
    assert (sent.ok, sent.platform_message_id, sent.error) == (True, "id of a", "")
    failed = await platform.Send(SendRequest(), None)
    assert (failed.ok, failed.error) == (False, "there is nothing to say")


async def test_a_channel_shows_presence_and_knows_users_by_their_id() -> None:
    platform = Platform()
    request = channel_pb2.PresenceRequest(channel_id="c", status=channel_pb2.PRESENCE_STATUS_TYPING)
    assert (await platform.UpdatePresence(request, None)).ok
    assert platform.log == [("c", 2)]
    user = await platform.GetIdentity(channel_pb2.GetIdentityRequest(platform_user_id="u"), None)
    assert user.platform_user_id == "u"
    await Channel().show_presence("c", 2)


class Models(Provider):
    async def models(self) -> Sequence[ModelInfo]:
        return [ModelInfo(id="m")]

    async def chat(self, request: ChatRequest) -> AsyncGenerator[Said]:
        yield "hello"
        if request.model != "m":
            raise ProviderError(f"there is no model {request.model}")
        yield ToolCall(id="1", name="echo")
        yield TokenUsage(input_tokens=3)


async def test_a_provider_tells_its_models_and_that_it_is_there() -> None:
    told = await Models().ListModels(provider_pb2.ListModelsRequest(), None)
    assert [model.id for model in told.models] == ["m"]
    assert (await Models().Status(provider_pb2.StatusRequest(), None)).available


@pytest.mark.parametrize(
    ("model", "kinds"),
    [
        ("m", ["text_delta", "tool_call", "usage", "done"]),
        ("n", ["text_delta", "error"]),
    ],
)
async def test_a_chat_is_streamed_to_its_end(model: str, kinds: list[str]) -> None:
    events = [event async for event in Models().Chat(ChatRequest(model=model), None)]
    assert [event.WhichOneof("event") for event in events] == kinds
    if model == "n":
        assert events[-1].error == "there is no model n"


async def configured(lifecycle: Lifecycle, **config: int) -> lifecycle_pb2.InitResponse:
    request = lifecycle_pb2.InitRequest()
    request.config.update(dict(config))
    return await lifecycle.Init(request, None)


async def test_a_configuration_is_taken_by_a_function_of_either_kind() -> None:
    taken: list[object] = []

    async def take(config: object) -> None:
        taken.append(config)

    for configure in (taken.append, take):
        assert (await configured(Lifecycle(configure), a=1)).ok
    assert taken == [{"a": 1.0}, {"a": 1.0}]
    assert (await configured(Lifecycle())).ok


async def test_a_configuration_is_refused_in_the_plugins_own_words() -> None:
    def refuse(_config: object) -> None:
        raise ConfigurationError("there is no token")

    told = await configured(Lifecycle(refuse))
    assert (told.ok, told.error) == (False, "there is no token")


async def test_health_is_a_yes_or_a_no() -> None:
    class Ill(Lifecycle):
        async def is_healthy(self) -> bool:
            return False

    for lifecycle, status in (
        (Lifecycle(), lifecycle_pb2.HEALTH_STATUS_HEALTHY),
        (Ill(), lifecycle_pb2.HEALTH_STATUS_UNHEALTHY),
    ):
        told = await lifecycle.Health(lifecycle_pb2.HealthRequest(), None)
        assert told.status == status
