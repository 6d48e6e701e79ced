"""A session: on whose behalf a gateway calls plugins, and the calls themselves.

The embedding gateway vouches for who the caller is; plugins and remote callers never can.
"""

import json
import math
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from sigil_actors.core.call_bounds import text_problem
from sigil_actors.core.calls import ExecuteRequest, ToolDefinition
from sigil_actors.core.channel_calls import (
    MediaAttachment,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
    identity_problem,
    send_problem,
    sent_problem,
)
from sigil_actors.core.execution import PluginType
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.provider_calls import (
    ChatOptions,
    ChatRequest,
    Message,
    ModelInfo,
    ProviderStatus,
    chat_problem,
    models_problem,
    status_problem,
)
from sigil_actors.errors import InvalidArgumentsError, InvalidRequestError, LimitExceededError
from sigil_actors.runtime.call import Calls, Plugins
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.chat_events import ChatEvents
from sigil_actors.runtime.chunks import Chunks
from sigil_actors.runtime.inbox import Inbox, open_inbox


class Session:
    """Calls plugins on behalf of one caller. Made by `Runtime.session`; cheap, needs no closing."""

    def __init__(self, plugins: Plugins, caller: Caller, chain: Chain | None = None) -> None:
        self._plugins = plugins
        self._caller = caller
        self._calls = Calls(plugins, caller, chain)

    @property
    def caller(self) -> Caller:
        """Return on whose behalf it calls."""
        return self._caller

    async def describe(self, plugin: str) -> tuple[ToolDefinition, ...]:
        """Return the tools of a running plugin, as it described them when it was loaded.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it takes no calls now.
        """
        await trio.lowlevel.checkpoint()
        async with self._plugins.admit(plugin, self._calls.chain_into(plugin)) as admitted:
            return admitted.instance.tools

    @asynccontextmanager
    async def execute(
        self, plugin: str, tool: str, arguments: JsonObject | None = None
    ) -> AsyncGenerator[Chunks]:
        """Call a tool; iterate over what the block is given to get its answer as it comes.

        Leaving the block early cancels the call. An error of the block leaves it as it is.

        Raises:
            PluginNotFoundError: there is no such plugin.
            ToolNotFoundError: it has no such tool.
            PluginUnavailableError: it takes no calls now.
            InvalidArgumentsError: the arguments don't fit the tool's schema.
            CapabilityDeniedError: the caller, the workspace or the plugin may not.
            AuditUnavailableError: it couldn't be recorded, so nothing ran.
            PluginCallError: `reentrant`; the plugin waits for this very call.
        """
        chain = self._calls.chain_into(plugin)
        async with self._plugins.admit(plugin, chain) as admitted:
            definition = admitted.instance.tool(tool)
            text = self._encode(plugin, tool, arguments)
            capability = tool_capability(definition.name)
            await self._calls.check(admitted, capability)
            problems = admitted.instance.argument_problems(tool, arguments or {})
            if problems:
                raise InvalidArgumentsError(plugin, tool, problems)
            async with self._calls.enter(admitted, chain, capability) as call:
                request = ExecuteRequest(
                    tool_name=tool,
                    arguments=text,
                    session_id=call.token,
                    timeout_seconds=_seconds_left(),
                )
                async with call.session.execute(request) as source:
                    yield call.follow(Chunks(source, call.lease))

    async def execute_text(
        self, plugin: str, tool: str, arguments: JsonObject | None = None
    ) -> str:
        """Call a tool and return its whole answer; raises what `execute` and `Chunks` raise.

        Raises:
            LimitExceededError: the answer is over `settings.text_bytes`.
        """
        pieces: list[str] = []
        size = 0
        async with self.execute(plugin, tool, arguments) as chunks:
            async for piece in chunks:
                size += len(piece.encode(errors="surrogatepass"))
                if size > self._plugins.settings.text_bytes:
                    raise LimitExceededError(
                        plugin,
                        bound="answer gathered by execute_text",
                        value=f"{self._plugins.settings.text_bytes} bytes",
                        key="settings.text_bytes",
                    )
                pieces.append(piece)
        return "".join(pieces)

    # Channels

    def listen(self, plugin: str) -> AbstractAsyncContextManager[Inbox]:
        """Listen to a channel; iterate over what the block is given to get its messages.

        Nothing is received while nobody waits for it. When the plugin is swapped, the listening
        goes on with the version that takes over; when it is stopped, the iterator raises. All of a
        message was written by strangers, and is bounded but not escaped.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it takes no calls now.
            PluginCallError: it is no channel; or `reentrant`, it waits for this very call.
            CapabilityDeniedError: `channel.listen` isn't allowed.
            AuditUnavailableError: it couldn't be recorded, so nothing ran.
        """
        return open_inbox(self._calls, plugin)

    async def send(
        self,
        plugin: str,
        *,
        channel_id: str,
        content: str,
        thread_id: str = "",
        media: Sequence[MediaAttachment] = (),
        typing_indicator: bool = False,
        reply_to_message_id: str = "",
    ) -> SendResult:
        """Have a channel write a message; returns when the plugin says that it did.

        Raises:
            InvalidRequestError: it is over the contract's bounds.
            PluginCallError: it wasn't written, in the plugin's own words; or as with `listen`.
            PluginCrashedError: the instance ended meanwhile; nobody knows if it was written.
            SigilError: what entering `listen` raises, for `channel.send`.
        """
        request = SendRequest(
            channel_id=channel_id,
            content=content,
            thread_id=thread_id,
            media=media,
            typing_indicator=typing_indicator,
            reply_to_message_id=reply_to_message_id,
        )
        _refuse(plugin, send_problem(request))
        return await self._calls.ask(
            plugin,
            PluginType.CHANNEL,
            "channel.send",
            ask=lambda session, token: session.send(request, session_id=token),
            problem=sent_problem,
        )

    async def update_presence(
        self, plugin: str, *, channel_id: str, status: PresenceStatus
    ) -> None:
        """Have a channel show a presence; needs `channel.presence`. Raises what `send` raises."""
        _refuse(plugin, text_problem("the channel's id", channel_id))
        await self._calls.ask(
            plugin,
            PluginType.CHANNEL,
            "channel.presence",
            ask=lambda session, token: session.update_presence(
                channel_id, status, session_id=token
            ),
        )

    async def identity(self, plugin: str, platform_user_id: str) -> UserIdentity:
        """Ask a channel who somebody is; needs `channel.identity`. Raises what `send` raises."""
        _refuse(plugin, text_problem("the user's id", platform_user_id))
        return await self._calls.ask(
            plugin,
            PluginType.CHANNEL,
            "channel.identity",
            ask=lambda session, token: session.get_identity(platform_user_id, session_id=token),
            problem=identity_problem,
        )

    # Providers

    async def models(self, plugin: str) -> tuple[ModelInfo, ...]:
        """Ask a provider for its models; needs `provider.models`. Raises what `send` raises."""
        return await self._calls.ask(
            plugin,
            PluginType.PROVIDER,
            "provider.models",
            ask=lambda session, token: session.list_models(session_id=token),
            problem=models_problem,
        )

    @asynccontextmanager
    async def chat(
        self,
        plugin: str,
        *,
        model: str,
        messages: Sequence[Message],
        tools: Sequence[ToolDefinition] = (),
        system_prompt: str = "",
        options: ChatOptions | None = None,
    ) -> AsyncGenerator[ChatEvents]:
        """Have a model go on with a chat; iterate over what the block is given to get its answer.

        Leaving the block early cancels the call. An error of the block leaves it as it is.

        Raises:
            InvalidRequestError: it is over the contract's bounds.
            SigilError: what entering `listen` raises, for a provider and `provider.chat`.
        """
        request = ChatRequest(
            model=model,
            messages=messages,
            tools=tools,
            system_prompt=system_prompt,
            options=options,
        )
        _refuse(plugin, chat_problem(request))
        async with (
            self._calls.open(plugin, PluginType.PROVIDER, "provider.chat") as call,
            call.session.chat(request, session_id=call.token) as source,
        ):
            yield call.follow(ChatEvents(plugin, source, call.lease))

    async def provider_status(self, plugin: str) -> ProviderStatus:
        """Ask a provider how it is; needs `provider.status`. Raises what `send` raises."""
        return await self._calls.ask(
            plugin,
            PluginType.PROVIDER,
            "provider.status",
            ask=lambda session, token: session.provider_status(session_id=token),
            problem=status_problem,
        )

    def _encode(self, plugin: str, tool: str, arguments: JsonObject | None) -> str:
        try:
            text = json.dumps({} if arguments is None else arguments, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            problem = f"they can't be written as JSON ({error})"
            raise InvalidArgumentsError(plugin, tool, [problem]) from error
        if len(text) > self._plugins.settings.arguments_bytes:
            problem = (
                f"they are {len(text)} bytes as JSON, over settings.arguments_bytes"
                f" ({self._plugins.settings.arguments_bytes})"
            )
            raise InvalidArgumentsError(plugin, tool, [problem])
        return text


def _refuse(plugin: str, problem: str) -> None:
    if problem:
        raise InvalidRequestError(plugin, problem)


def tool_capability(tool: str) -> str:
    """Return what a caller needs for a tool: `tool.NAME`, dots in the name becoming `_`."""
    return f"tool.{tool.replace('.', '_')}"


def _seconds_left() -> int:
    """Return how long the caller will wait, whole seconds rounded up; 0 where it has no bound."""
    left = trio.current_effective_deadline() - trio.current_time()
    if left == math.inf:
        return 0
    # A caller that has been cancelled already has minus infinity left.
    return math.ceil(min(max(left, 1), 2**31 - 1))
