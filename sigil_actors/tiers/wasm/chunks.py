"""What a tool answers, piece by piece, pulled out of the guest by whoever iterates."""

from typing import Self

import trio

from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginCallError
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.answers import answer
from sigil_actors.tiers.wasm.ending import Run
from sigil_actors.tiers.wasm.host_imports import Answer


class Chunks:
    """An asynchronous iterator over the pieces of text of one call. For one task at a time."""

    def __init__(self, plugin: str, host: HostFunctions, run: Run) -> None:
        self._plugin = plugin
        self._host = host
        self._run = run
        self._said: Answer | None = None
        """What the guest hears when it goes on."""
        self._is_read = False
        self._is_finished = False
        """Whether the guest has returned."""
        self._is_complete = False
        """Whether the guest has said its last piece; it may still run on."""
        self._error: str | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        """Let the guest run until it has the next piece.

        Raises:
            PluginCallError: the plugin answered with an error, or the call is over already.
        """
        if self._is_read:
            raise trio.BusyResourceError("another task is waiting for the next piece")
        self._is_read = True
        try:
            while not self._is_finished:
                text = self._take(await self._next_chunk())
                if text:
                    return text
        except BaseException:
            # Half an exchange can't be taken up again: the guest may wait for an answer that the
            # cancelled host call will never have.
            await self._run.stop()
            raise
        finally:
            self._is_read = False
        if self._error is not None:
            raise PluginCallError(self._plugin, self._error)
        raise StopAsyncIteration

    async def _next_chunk(self) -> dialect.Chunk:
        while True:
            try:
                question = await self._run.advance(self._said)
            except trio.ClosedResourceError:
                raise PluginCallError(
                    self._plugin,
                    "it was cancelled, or its block left",
                    remedy="Make a new call",
                ) from None
            if question is None:
                self._is_finished = True
                return self._read_last(self._run.result)
            if isinstance(question, dialect.Chunk):
                self._said = Answer()
                return question
            self._said = await answer(self._host, question)

    def _read_last(self, data: bytes) -> dialect.Chunk:
        try:
            return dialect.read_chunk(data)
        except dialect.MalformedMessageError as error:
            return dialect.Chunk(error=f"its last chunk is malformed: {error}")

    def _take(self, chunk: dialect.Chunk) -> str:
        if self._is_complete:
            return ""
        if chunk.error is not None:
            # Told when the guest has returned, so that it may clean up and be used again.
            self._error = escape_text(chunk.error)
            self._is_complete = True
            return ""
        self._is_complete = chunk.done
        return chunk.text
