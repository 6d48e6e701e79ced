"""What a tier promises: an instance lives inside a `with` block and is gone when it is left."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

import attrs

from sigil_actors.core.calls import ExecuteRequest, Health, InstanceEnd, ToolDefinition, Usage
from sigil_actors.core.channel_calls import (
    InboundMessage,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.provider_calls import ChatEvent, ChatRequest, ModelInfo, ProviderStatus
from sigil_actors.ports.egress import EgressGate, NoEgress
from sigil_actors.ports.host_functions import HostFunctions

PluginLog = Callable[[str, str], None]
"""Takes a level (debug, info, warn, error) and raw text from the plugin; escapes and bounds it.

Never blocks, any thread.
"""


@attrs.frozen(kw_only=True)
class Launch:
    """Everything that a tier needs to bring up one instance."""

    plugin: str
    generation: int
    manifest: Manifest
    folder: Path | None
    """The snapshot of the plugin's folder: what was checked is what runs.

    Read-only; it outlives the instance.
    """
    host: HostFunctions
    """The way back for this instance: its identity is already bound to it."""
    log: PluginLog
    egress: EgressGate = attrs.field(factory=NoEgress)
    """What decides about each connection that it makes; without one, none is allowed."""


class Tier(Protocol):
    """A way of running plugins.

    One that has what outlives its instances (a thread, a folder) is an asynchronous context manager
    too: `open_runtime` enters it before the first instance, and leaves it after the last.
    """

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it in `execution.tier`."""

    def open(self, launch: Launch) -> AbstractAsyncContextManager["TierSession"]:
        """Run one instance for as long as the block lasts.

        On leaving, by any road, nothing of the instance is left: no process, no thread, no socket,
        no file.

        Raises:
            PluginStartError: on entering; the instance couldn't be brought up.
            LimitExceededError: on entering; it ran into a bound while starting.
            GuestTrapError: on entering; its start code trapped.
        """


class TierSession(Protocol):
    """One running instance.

    Every method is called in the caller's own task and may be cancelled at any await.

    When the instance ends by itself, whatever is waiting in it raises, and `wait_ended` returns. A
    call that is cancelled leaves the session usable: a tier that can't go on with the same memory
    renews it by itself.

    Every call into the plugin names its `session_id`, the token by which the plugin says in its
    host calls for whom it asks; a tier whose messages have no field for it sends it beside them
    (the gRPC metadata `sigil-call`).

    What a plugin is asked that it has no service for raises a `PluginCallError`; a tier that has
    neither channels nor providers says so by `ToolsOnly`. That answers are within the bounds of
    `core.channel_calls` and `core.provider_calls` is for the runtime to check.
    """

    @property
    def calls_at_once(self) -> int | None:
        """Return how many calls it takes at the same time, or None for any number.

        The runtime keeps to it.
        """

    async def init(self, config: JsonObject) -> None:
        """Hand over the configuration; once, first.

        Raises:
            PluginStartError: the plugin refused it, in its own words.
        """

    async def health(self) -> Health:
        """Ask how it is."""

    async def describe(self) -> tuple[ToolDefinition, ...]:
        """Ask which tools it has; none where it has no tools. Bounded: 256 tools, 1 MiB in all."""

    def execute(self, request: ExecuteRequest) -> AbstractAsyncContextManager[AsyncIterator[str]]:
        """Call a tool; iterate over the pieces of text that it answers, as they come.

        With back-pressure.

        Entering doesn't wait for the plugin. Leaving the block early cancels the call. An error of
        the block's body leaves it bare.

        Raises:
            PluginCrashedError: on entering; the instance has ended already.
            PluginCallError: from the iterator; the plugin answered with an error.
            GuestTrapError: from the iterator; this call trapped.
            LimitExceededError: from the iterator; this call ran into a bound.
            PluginCrashedError: from the iterator; the instance ended while the call was in it.
        """

    def listen(
        self, *, session_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[InboundMessage]]:
        """Have a channel start; iterate over the messages that it receives, as they come.

        With back-pressure: a message that nobody waits for isn't asked for either. It goes on until
        the plugin ends it, or the block is left. Entering and leaving are as with `execute`, and so
        are the errors.
        """

    async def send(self, request: SendRequest, *, session_id: str) -> SendResult:
        """Have a channel write a message.

        Raises:
            PluginCallError: it wasn't written, in the plugin's own words.
            PluginCrashedError: the instance has ended, before or during the call.
        """

    async def update_presence(
        self, channel_id: str, status: PresenceStatus, *, session_id: str
    ) -> None:
        """Have a channel show a presence. Raises what `send` raises."""

    async def get_identity(self, platform_user_id: str, *, session_id: str) -> UserIdentity:
        """Ask a channel who somebody is. Raises what `send` raises."""

    async def list_models(self, *, session_id: str) -> tuple[ModelInfo, ...]:
        """Ask a provider which models it has. Raises what `send` raises."""

    def chat(
        self, request: ChatRequest, *, session_id: str
    ) -> AbstractAsyncContextManager[AsyncIterator[ChatEvent]]:
        """Have a model go on with a chat; iterate over what it answers, as it comes.

        With back-pressure. `Done` is told like any other event, and the iterator ends after it; it
        ends without one where the plugin's answer does. An error event is a `PluginCallError` from
        the iterator. Entering and leaving are as with `execute`, and so are the errors.
        """

    async def provider_status(self, *, session_id: str) -> ProviderStatus:
        """Ask a provider how it is. Raises what `send` raises."""

    def usage(self) -> Usage | None:
        """Return what the instance uses, or None where its tier can't tell.

        Never waits, never raises.
        """

    async def shutdown(self, *, grace_s: float) -> bool:
        """Ask it to finish; tell whether it said that it did so cleanly.

        Never takes longer than `grace_s`.
        """

    async def wait_ended(self) -> InstanceEnd:
        """Wait until the instance is over though nobody stopped it."""
