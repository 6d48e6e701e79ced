"""The fake tier passes the contracts of the real ones: tools, channels, providers."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors import PluginCallError
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.channel_calls import InboundMessage, SendRequest, SendResult, UserIdentity
from sigil_actors.core.provider_calls import ChatEvent, ChatRequest, ProviderStatus, TextDelta
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.testing import (
    FakeChannel,
    FakePlugin,
    FakeProvider,
    FakeTier,
    ScriptCrash,
    channel_contract,
    provider_contract,
)
from sigil_actors.testing.channel_contract import ChannelSessionContract, OpenChannel
from sigil_actors.testing.provider_contract import OpenProvider, ProviderSessionContract
from sigil_actors.testing.tier_contract import Behaviour, OpenSession, TierSessionContract
from tests.runtime.world import manifest
from tests.testing.no_host import NoHost


async def echo(request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield request.arguments


async def stream(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    for piece in "abc":
        yield piece


async def error(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "so far"
    raise PluginCallError("fake", "it went wrong")


async def no_pieces() -> list[str]:
    await trio.lowlevel.checkpoint()
    return []


async def crash(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    for piece in await no_pieces():
        yield piece
    raise ScriptCrash("as asked")


async def endless(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
    yield "started"
    await trio.sleep_forever()


PLUGIN = FakePlugin(
    tools={
        Behaviour.ECHO.value: echo,
        Behaviour.STREAM.value: stream,
        Behaviour.ERROR.value: error,
        Behaviour.CRASH.value: crash,
        Behaviour.ENDLESS.value: endless,
    }
)


async def chat(
    request: ChatRequest, session_id: str, _host: HostFunctions
) -> AsyncGenerator[ChatEvent]:
    match request.model:
        case "error":
            yield TextDelta("so far")
            raise PluginCallError("fake", "it went wrong")
        case "crash":
            raise ScriptCrash("as asked")
        case "endless":
            yield TextDelta("started")
            await trio.sleep_forever()
        case _:
            pass
    for event in provider_contract.echo_of(request, session_id):
        yield event


class EchoChannel:
    """Hears what it is told to send."""

    def __init__(self) -> None:
        self._listener: trio.MemorySendChannel[InboundMessage] | None = None

    async def listen(self, session_id: str, _host: HostFunctions) -> AsyncGenerator[InboundMessage]:
        first = channel_contract.FIRST
        self._listener, heard = trio.open_memory_channel[InboundMessage](math.inf)
        with self._listener, heard:
            yield attrs.evolve(first, metadata={**first.metadata, "session": session_id})
            while True:
                yield await heard.receive()

    async def send(self, request: SendRequest, session_id: str, _host: HostFunctions) -> SendResult:
        await trio.lowlevel.checkpoint()
        match request.content:
            case "refuse":
                raise PluginCallError("fake", "it went wrong")
            case "crash":
                raise ScriptCrash("as asked")
            case _:
                pass
        sent = f"sent {request.content}"
        if self._listener is not None:
            with suppress(trio.ClosedResourceError):
                self._listener.send_nowait(
                    InboundMessage(
                        message_id=sent,
                        channel_id=request.channel_id,
                        sender=UserIdentity(),
                        content=request.content,
                        thread_id=request.thread_id,
                        media=request.media,
                        metadata={
                            "session": session_id,
                            "typing": str(request.typing_indicator).lower(),
                            "reply_to": request.reply_to_message_id,
                        },
                    )
                )
        return SendResult(platform_message_id=sent)

    async def identity(self, user: str, session_id: str, _host: HostFunctions) -> UserIdentity:
        await trio.lowlevel.checkpoint()
        return channel_contract.identity_of(user, session_id)


async def status(session_id: str) -> ProviderStatus:
    await trio.lowlevel.checkpoint()
    return provider_contract.status_for(session_id)


@asynccontextmanager
async def open_fake(plugin: FakePlugin) -> AsyncGenerator[TierSession]:
    launch = Launch(
        plugin="fake",
        generation=1,
        manifest=manifest("fake"),
        folder=Path("unused"),
        host=NoHost(),
        log=lambda _level, _text: None,
    )
    async with FakeTier({"fake": plugin}).open(launch) as session:
        await session.init({})
        yield session


class TestFakeTier(TierSessionContract):
    @pytest.fixture
    def open_session(self) -> OpenSession:
        return lambda _behaviour: open_fake(PLUGIN)


class TestFakeChannels(ChannelSessionContract):
    @pytest.fixture
    def open_channel(self) -> OpenChannel:
        echo = EchoChannel()
        channel = FakeChannel(listen=echo.listen, send=echo.send, identity=echo.identity)
        return lambda: open_fake(FakePlugin(tools={}, channel=channel))


class TestFakeProviders(ProviderSessionContract):
    @pytest.fixture
    def open_provider(self) -> OpenProvider:
        provider = FakeProvider(models=provider_contract.MODELS, chat=chat, status=status)
        return lambda: open_fake(FakePlugin(tools={}, provider=provider))
