"""A session: on whose behalf a gateway calls plugins, and the calls themselves.

The embedding gateway vouches for who the caller is; plugins and remote callers never can.
"""

import json
import math
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import attrs
import trio

from sigil_actors.core.calls import ExecuteRequest, ToolDefinition
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.policy import CheckRequest
from sigil_actors.errors import InvalidArgumentsError, LimitExceededError, PluginCallError
from sigil_actors.runtime.admission import Lease
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain
from sigil_actors.runtime.chunks import Chunks
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.instance import Instance
from sigil_actors.runtime.outcome import CallOutcome
from sigil_actors.runtime.settings import RuntimeSettings


@attrs.frozen
class Admitted:
    """A caller's place in one instance."""

    instance: Instance
    lease: Lease


class Plugins(Protocol):
    """What a session needs of the runtime."""

    @property
    def enforcer(self) -> Enforcer:
        """Return the one that decides."""

    @property
    def settings(self) -> RuntimeSettings:
        """Return the runtime's settings."""

    def admit(self, plugin: str, chain: Chain) -> AbstractAsyncContextManager[Admitted]:
        """Let a call into the running instance of a plugin for as long as the block lasts.

        Raises:
            PluginNotFoundError: there is no such plugin.
            PluginUnavailableError: it takes no calls now.
        """

    def new_chain(self) -> Chain:
        """Return a chain for a call that no other call led to."""


class Session:
    """Calls plugins on behalf of one caller. Made by `Runtime.session`; cheap, needs no closing."""

    def __init__(self, plugins: Plugins, caller: Caller, chain: Chain | None = None) -> None:
        self._plugins = plugins
        self._caller = caller
        self._chain = chain

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
        async with self._plugins.admit(plugin, self._chain_into(plugin)) as admitted:
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
        chain = self._chain_into(plugin)
        async with self._plugins.admit(plugin, chain) as admitted:
            instance, lease = admitted.instance, admitted.lease
            definition = instance.tool(tool)
            text = self._encode(plugin, tool, arguments)
            capability = tool_capability(definition.name)
            with lease.operation():
                # In the instance already: one that ends meanwhile is no denial.
                await self._check(plugin, capability, instance.generation)
            problems = instance.argument_problems(tool, arguments or {})
            if problems:
                raise InvalidArgumentsError(plugin, tool, problems)
            async with self._call(instance, lease, chain, capability, tool, text) as chunks:
                yield chunks

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

    @asynccontextmanager
    async def _call(
        self,
        instance: Instance,
        lease: Lease,
        chain: Chain,
        capability: str,
        tool: str,
        arguments: str,
    ) -> AsyncGenerator[Chunks]:
        outcome = CallOutcome(
            self._plugins.enforcer,
            self._caller,
            plugin=instance.plugin,
            generation=instance.generation,
            capability=capability,
        )
        with outcome.recorded():
            async with instance.turns.take(chain, lease):
                with instance.tokens.minted(self._caller, chain) as token:
                    request = ExecuteRequest(
                        tool_name=tool,
                        arguments=arguments,
                        session_id=token,
                        timeout_seconds=_seconds_left(),
                    )
                    async with instance.session.execute(request) as source:
                        outcome.chunks = Chunks(source, lease)
                        yield outcome.chunks

    async def _check(self, plugin: str, capability: str, generation: int) -> None:
        caller = self._caller
        await self._plugins.enforcer.check(
            CheckRequest(
                plugin,
                capability,
                caller.workspace_id,
                caller.workspace_allow,
                caller.user_permissions,
                user_id=caller.user_id,
                session_id=caller.session_id,
                generation=generation,
                actor=caller.actor,
            )
        )

    def _chain_into(self, plugin: str) -> Chain:
        chain = self._chain
        if chain is None:
            chain = self._plugins.new_chain()
        elif chain.is_over:
            raise PluginCallError(
                plugin,
                "the call that this session served has ended",
                remedy="Use a session of the application's own for what goes on afterwards",
            )
        if len(chain.plugins) >= self._plugins.settings.call_depth:
            raise PluginCallError(
                plugin,
                f"the chain of calls is over {self._plugins.settings.call_depth} deep",
                remedy="Plugins call each other in a circle, or raise settings.call_depth",
            )
        return chain.entering(plugin)

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
