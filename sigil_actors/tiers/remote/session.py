"""A plugin's session: the runtime's questions become gRPC calls of the contract's services."""

import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TypeVar

import trio

from sigil_actors._proto.plugin.v1 import (
    channel_pb2,
    channel_pb2_grpc,
    lifecycle_pb2,
    lifecycle_pb2_grpc,
    provider_pb2,
    provider_pb2_grpc,
    tool_pb2,
    tool_pb2_grpc,
)
from sigil_actors.core.calls import (
    ExecuteRequest,
    Health,
    InstanceEnd,
    ToolDefinition,
    Usage,
)
from sigil_actors.core.channel_calls import (
    InboundMessage,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.provider_calls import ChatEvent, ChatRequest, Done, ModelInfo, ProviderStatus
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginCallError, PluginError, PluginStartError
from sigil_actors.rpc.channel import Channel
from sigil_actors.tiers.remote import channel_messages, messages, provider_messages
from sigil_actors.tiers.remote.calls import End, Pieces, PluginCalls
from sigil_actors.tiers.remote.ending import Ending
from sigil_actors.tiers.remote.stubs import stub

Answer = TypeVar("Answer")


class RemoteSession:
    """A `TierSession` over a plugin's channel, which its tier opens and closes.

    Args:
        plugin: Its name.
        channel: Where it is spoken to; one to its own connection, with its own TLS.
        ending: Told by the tier when the program ends, and when the host stops it: before it
            closes the channel, so that calls under way learn why.
        usage: Tells what the program uses of the machine.
    """

    def __init__(
        self,
        plugin: str,
        channel: Channel,
        ending: Ending,
        usage: Callable[[], Usage | None] = lambda: None,
    ) -> None:
        self._plugin = plugin
        self._ending = ending
        self._usage = usage
        self._calls = PluginCalls(plugin, channel, ending)
        self._lifecycle = stub(lifecycle_pb2_grpc.PluginLifecycleStub, channel)
        self._tool = stub(tool_pb2_grpc.ToolStub, channel)
        self._channel = stub(channel_pb2_grpc.ChannelStub, channel)
        self._provider = stub(provider_pb2_grpc.ProviderStub, channel)

    @property
    def calls_at_once(self) -> int | None:
        """Return None: it takes any number of calls at the same time."""
        return None

    # Lifecycle

    async def init(self, config: JsonObject) -> None:
        """Hand over the configuration; once, first.

        Raises:
            PluginStartError: the plugin refused it, in its own words, or couldn't be asked.
        """
        try:
            answer = await self._calls.ask(
                self._lifecycle.Init,
                partial(messages.write_init, config),
                messages.read_init_answer,
            )
        except PluginCallError as error:
            raise PluginStartError(
                self._plugin,
                f"couldn't be given its configuration: {error.reason}",
                remedy=error.remedy or "It has to serve plugin.v1.PluginLifecycle",
            ) from error
        if not answer.ok:
            raise PluginStartError(
                self._plugin,
                f"refused its configuration: {answer.error or 'it gave no reason'}",
                remedy="Correct its configuration, or its answer to Init",
            )

    async def health(self) -> Health:
        """Ask how it is."""
        return await self._calls.ask(
            self._lifecycle.Health, lifecycle_pb2.HealthRequest, messages.read_health
        )

    async def shutdown(self, *, grace_s: float) -> bool:
        """Ask it to finish; tell whether it said that it did so cleanly, within `grace_s`."""
        with trio.move_on_after(grace_s):
            try:
                return await self._calls.ask(
                    self._lifecycle.Shutdown,
                    partial(messages.write_shutdown, grace_s),
                    _is_clean,
                )
            except PluginError:
                return False
        return False

    async def wait_ended(self) -> InstanceEnd:
        """Wait until it is over though nobody stopped it."""
        return await self._ending.wait()

    def usage(self) -> Usage | None:
        """Return what it uses of the machine, or None where that can't be told."""
        return self._usage()

    # Tools

    async def describe(self) -> tuple[ToolDefinition, ...]:
        """Ask which tools it has; none where it doesn't serve any."""
        return await self._calls.ask(
            self._tool.Describe,
            tool_pb2.DescribeRequest,
            messages.read_tools,
            unserved=(),
        )

    @asynccontextmanager
    async def execute(self, request: ExecuteRequest) -> AsyncGenerator[AsyncIterator[str]]:
        """Call a tool; iterate over the pieces of text that it answers."""
        async with self._calls.stream(
            self._tool.Execute,
            partial(messages.write_execute, request),
            _text_of,
            session_id=request.session_id,
            timeout_s=request.timeout_seconds or math.inf,
        ) as pieces:
            yield pieces

    # Channels

    @asynccontextmanager
    async def listen(self, *, session_id: str) -> AsyncGenerator[AsyncIterator[InboundMessage]]:
        """Have a channel start; iterate over the messages that it receives."""
        async with self._calls.stream(
            self._channel.Start,
            channel_pb2.StartRequest,
            channel_messages.read_inbound,
            session_id=session_id,
        ) as pieces:
            yield pieces

    async def send(self, request: SendRequest, *, session_id: str) -> SendResult:
        """Have a channel write a message."""
        answer = await self._calls.ask(
            self._channel.Send,
            partial(channel_messages.write_send, request),
            _itself,
            session_id=session_id,
        )
        if not answer.ok:
            raise self._refused(answer.error, "it didn't send the message, and gave no reason")
        return SendResult(platform_message_id=answer.platform_message_id)

    async def update_presence(
        self, channel_id: str, status: PresenceStatus, *, session_id: str
    ) -> None:
        """Have a channel show a presence."""
        answer = await self._calls.ask(
            self._channel.UpdatePresence,
            partial(channel_messages.write_presence, channel_id, status),
            _itself,
            session_id=session_id,
        )
        if not answer.ok:
            raise self._refused("", "it didn't show the presence")

    async def get_identity(self, platform_user_id: str, *, session_id: str) -> UserIdentity:
        """Ask a channel who somebody is."""
        return await self._calls.ask(
            self._channel.GetIdentity,
            partial(channel_messages.write_identity_request, platform_user_id),
            channel_messages.read_identity,
            session_id=session_id,
        )

    # Providers

    async def list_models(self, *, session_id: str) -> tuple[ModelInfo, ...]:
        """Ask a provider which models it has."""
        return await self._calls.ask(
            self._provider.ListModels,
            provider_pb2.ListModelsRequest,
            provider_messages.read_models,
            session_id=session_id,
        )

    @asynccontextmanager
    async def chat(
        self, request: ChatRequest, *, session_id: str
    ) -> AsyncGenerator[AsyncIterator[ChatEvent]]:
        """Have a model go on with a chat; iterate over what it answers."""
        answer: AbstractAsyncContextManager[Pieces[ChatEvent]] = self._calls.stream(
            self._provider.Chat,
            partial(provider_messages.write_chat, request),
            _event_of,
            session_id=session_id,
        )
        async with answer as pieces:
            yield pieces

    async def provider_status(self, *, session_id: str) -> ProviderStatus:
        """Ask a provider how it is."""
        return await self._calls.ask(
            self._provider.Status,
            provider_pb2.StatusRequest,
            provider_messages.read_status,
            session_id=session_id,
        )

    def _refused(self, said: str, otherwise: str) -> PluginCallError:
        return PluginCallError(self._plugin, escape_text(said) or otherwise)


def _text_of(message: tool_pb2.ExecuteChunk) -> str | End[str] | None:
    # Nearly all are text, and then they are nothing else.
    if message.text:
        return message.text
    chunk = messages.read_chunk(message)
    if chunk.error is not None:
        return End(error=chunk.error or "it gave no reason")
    if chunk.done:
        return End()
    return None


def _event_of(message: provider_pb2.ChatEvent) -> ChatEvent | End[ChatEvent] | None:
    try:
        event = provider_messages.read_event(message)
    except provider_messages.ChatFailedError as error:
        return End(error=str(error) or "it gave no reason")
    return End(piece=event) if isinstance(event, Done) else event


def _is_clean(message: lifecycle_pb2.ShutdownResponse) -> bool:
    return message.clean


def _itself(message: Answer) -> Answer:
    return message
