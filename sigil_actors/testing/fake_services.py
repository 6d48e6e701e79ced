"""The channel and the provider of a fake plugin, as scripts."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import attrs
import trio

from sigil_actors.core.channel_calls import (
    InboundMessage,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
)
from sigil_actors.core.provider_calls import (
    ChatEvent,
    ChatRequest,
    Done,
    ModelInfo,
    ProviderStatus,
    TextDelta,
)
from sigil_actors.ports.host_functions import HostFunctions

ListenScript = Callable[[str, HostFunctions], AsyncGenerator[InboundMessage]]
"""What a channel receives: an async generator of messages. Its text is the call's session id.

As a tool's script, it runs in the task that iterates, may sleep on trio's clock, raise
`ScriptCrash`, and errors of the call like `PluginCallError`.
"""

SendScript = Callable[[SendRequest, str, HostFunctions], Awaitable[SendResult]]
"""What becomes of a message; the text is the call's session id."""

IdentityScript = Callable[[str, str, HostFunctions], Awaitable[UserIdentity]]
"""Who somebody is by their id on the platform; the second text is the call's session id."""

ChatScript = Callable[[ChatRequest, str, HostFunctions], AsyncGenerator[ChatEvent]]
"""What a model answers, as a tool's script does; the text is the call's session id."""

StatusScript = Callable[[str], Awaitable[ProviderStatus]]
"""How a provider is; the text is the call's session id."""


async def _silence(_session_id: str, _host: HostFunctions) -> AsyncGenerator[InboundMessage]:
    nothing: tuple[InboundMessage, ...] = ()
    for message in nothing:
        yield message
    await trio.sleep_forever()


async def _sent(_request: SendRequest, _session_id: str, _host: HostFunctions) -> SendResult:
    await trio.lowlevel.checkpoint()
    return SendResult(platform_message_id="sent")


async def _stranger(user: str, _session_id: str, _host: HostFunctions) -> UserIdentity:
    await trio.lowlevel.checkpoint()
    return UserIdentity(platform="fake", platform_user_id=user)


async def _echo(
    request: ChatRequest, _session_id: str, _host: HostFunctions
) -> AsyncGenerator[ChatEvent]:
    for message in request.messages[-1:]:
        yield TextDelta(message.content)
    yield Done()


@attrs.frozen(kw_only=True)
class FakeChannel:
    """How a fake plugin's channel behaves: by default it hears nothing, sends all, knows nobody."""

    listen: ListenScript = _silence
    send: SendScript = _sent
    identity: IdentityScript = _stranger


@attrs.frozen(kw_only=True)
class FakeProvider:
    """How a fake plugin's provider behaves: by default it answers what was said last."""

    models: tuple[ModelInfo, ...] = (ModelInfo(id="echo", name="Echo", provider="fake"),)
    chat: ChatScript = _echo
    status: ProviderStatus | StatusScript = attrs.field(
        factory=lambda: ProviderStatus(available=True, provider="fake")
    )
    """What it says of itself, always or by a script."""


@attrs.frozen(kw_only=True)
class Presence:
    """A presence that a fake channel was told to show."""

    channel_id: str
    status: PresenceStatus


@attrs.frozen
class FakeAsk:
    """Something else than a tool's call that reached a plugin."""

    plugin: str
    generation: int
    capability: str
    """What a caller needs for it: `channel.send`, `provider.chat` …"""
    session_id: str
    """The token that stands for the caller."""
    request: SendRequest | Presence | ChatRequest | str | None = None
    """What was asked; a text where it was about a user."""
