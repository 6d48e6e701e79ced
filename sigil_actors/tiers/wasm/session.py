"""A plugin's session: its calls become messages to a guest, and the guest's questions are answered.

Knows nothing of threads and stores; where an entry finds its instance is for `instances`.
"""

import math
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager, contextmanager

import trio

from sigil_actors.core.calls import (
    ExecuteRequest,
    Health,
    HealthStatus,
    InstanceEnd,
    ToolDefinition,
)
from sigil_actors.core.guest_ops import GuestOp
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import LimitExceededError, PluginCallError, PluginError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch
from sigil_actors.ports.tools_only import ToolsOnly
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.answers import answer
from sigil_actors.tiers.wasm.chunks import Chunks
from sigil_actors.tiers.wasm.ending import Ending
from sigil_actors.tiers.wasm.entry import Entry, check_init
from sigil_actors.tiers.wasm.host_imports import Answer
from sigil_actors.tiers.wasm.instances import Instances
from sigil_actors.tiers.wasm.limits import DESCRIPTION_BYTES_MAX, TOOLS_MAX, shown_bytes


class WasmSession(ToolsOnly):
    """One plugin's guest or guests. The tier opens it, and closes it."""

    def __init__(self, launch: Launch, instances: Instances, ending: Ending) -> None:
        super().__init__(launch.plugin)
        self._host: HostFunctions = launch.host
        self._instances = instances
        self._ending = ending

    @property
    def calls_at_once(self) -> int | None:
        """Return how many calls it takes at the same time, or None for any number."""
        return self._instances.calls_at_once

    async def start(self) -> None:
        """Make the first instance, so that what is wrong with the module shows now."""
        await self._ask(None)

    async def init(self, config: JsonObject) -> None:
        """Hand over the configuration; once, first. Every later instance is told it too.

        Raises:
            PluginStartError: the plugin refused it, in its own words.
        """
        request = dialect.write_init(config)
        check_init(self.plugin, await self._ask(Entry(GuestOp.INIT, request)))
        self._instances.init_request = request

    async def health(self) -> Health:
        """Ask how it is; a busy one isn't asked, since its bounds watch over it."""
        if self._instances.is_busy:
            # A guest does one thing at a time. Waiting for a long call, or for one with a slow
            # reader, would count as a missed check, and have an honest plugin restarted.
            await trio.lowlevel.checkpoint()
            self._ending.check()
            return Health(HealthStatus.HEALTHY, "busy with a call")
        reply = await self._ask(Entry(GuestOp.HEALTH, dialect.EMPTY_REQUEST))
        with self._reading("health"):
            return dialect.read_health(reply)

    async def describe(self) -> tuple[ToolDefinition, ...]:
        """Ask which tools it has."""
        reply = await self._ask(Entry(GuestOp.DESCRIBE, dialect.EMPTY_REQUEST))
        if len(reply) > DESCRIPTION_BYTES_MAX:
            raise self._over("bytes of its description", shown_bytes(DESCRIPTION_BYTES_MAX))
        try:
            with self._reading("description"):
                return dialect.read_tools(reply)
        except dialect.TooManyToolsError:
            raise self._over("tools", f"{TOOLS_MAX}") from None

    @asynccontextmanager
    async def execute(self, request: ExecuteRequest) -> AsyncGenerator[Chunks, None]:
        """Call a tool; iterate over the pieces of text that it answers.

        The guest runs while the iterator is waited for, and stands still while it isn't.
        """
        entry = Entry(GuestOp.EXECUTE, dialect.write_execute(request))
        async with self._instances.enter(entry) as run:
            yield Chunks(self.plugin, self._host, run)

    async def shutdown(self, *, grace_s: float) -> bool:
        """Ask it to finish; tell whether it said that it did so cleanly."""
        entry = Entry(GuestOp.SHUTDOWN, dialect.write_shutdown(math.ceil(grace_s)))
        with trio.move_on_after(grace_s):
            try:
                return dialect.read_shutdown_answer(await self._ask(entry))
            except (PluginError, dialect.MalformedMessageError):
                return False
        return False

    async def wait_ended(self) -> InstanceEnd:
        """Wait until it is over though nobody stopped it."""
        return await self._ending.wait()

    async def close(self) -> None:
        """Stop whatever runs, then free everything. Calls under way raise in their tasks."""
        await self._ending.close()
        self._instances.close()

    async def _ask(self, entry: Entry | None) -> bytes:
        async with self._instances.enter(entry) as run:
            said: Answer | None = None
            while (question := await run.advance(said)) is not None:
                # No chunk gets here: an entry that isn't EXECUTE refuses it in the guest's thread.
                assert not isinstance(question, dialect.Chunk)  # noqa: S101
                said = await answer(self._host, question)
            return run.result

    @contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        try:
            yield
        except dialect.MalformedMessageError as error:
            raise PluginCallError(
                self.plugin,
                f"its {what} is malformed: {error}",
                remedy="The plugin's author can correct it; the contract has the message",
            ) from None

    def _over(self, bound: str, value: str) -> LimitExceededError:
        return LimitExceededError(self.plugin, bound=bound, value=value, key="")
