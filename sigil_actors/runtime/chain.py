"""Chains of calls: a plugin that is called may have its host call another, and so on.

A chain knows which plugins it went through and when its first call began. That is what keeps calls
back from waiting for themselves, and lets a drain finish what had begun before it.
"""

from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager

import attrs
import trio

from sigil_actors.errors import PluginCallError, PluginUnavailableError
from sigil_actors.runtime.admission import Lease


@attrs.define(eq=False)
class Chain:
    """The calls that led to this one, first one first. Compared by identity: one a running call."""

    began: int
    """When the chain's first call began, counted in calls; see `Counter` of the runtime."""
    plugins: tuple[str, ...] = ()
    """Whose instances are in a call of this chain and wait for its end."""
    parent: "Chain | None" = None
    is_over: bool = False
    """Whether the call has ended; what is done on its behalf afterwards is no part of it."""

    def entering(self, plugin: str) -> "Chain":
        """Return the chain as it goes on inside `plugin`."""
        return Chain(self.began, (*self.plugins, plugin), self)

    def is_part_of(self, other: "Chain") -> bool:
        """Tell whether this call is `other` or one of those that led to it."""
        link: Chain | None = other
        while link is not None:
            if link is self:
                return True
            link = link.parent
        return False


class Turns:
    """Whose turn it is in an instance that takes a bounded number of calls at once, in order."""

    def __init__(self, plugin: str, *, at_once: int | None, waiting: int, waits: "Waits") -> None:
        self._plugin = plugin
        self._at_once = at_once
        self._waiting_max = waiting
        self._waits = waits
        self._inside: dict[Chain, None] = {}
        self._queue: dict[Chain, trio.Event] = {}

    @property
    def holders(self) -> tuple[Chain, ...]:
        """Return the calls that have their turn now."""
        return tuple(self._inside)

    @asynccontextmanager
    async def take(self, chain: Chain, lease: Lease) -> AsyncGenerator[None]:
        """Wait for a turn and keep it for the block. `chain` ends in this instance's plugin.

        Raises:
            PluginCallError: `reentrant`; the turn could come only after this very chain has ended.
            PluginUnavailableError: `busy`; too many wait already.
            SigilError: the instance ended meanwhile; see `Lease.operation`.
        """
        if self._at_once is None:
            yield
            return
        with lease.operation():
            await self._wait_turn(chain, self._at_once)
        try:
            yield
        finally:
            self._leave(chain)

    @contextmanager
    def take_if_free(self) -> Generator[bool]:
        """Keep a turn for the block if one is free; tells whether it was."""
        is_free = self._at_once is None or (len(self._inside) < self._at_once and not self._queue)
        if self._at_once is None or not is_free:
            yield is_free
            return
        chain = Chain(0)
        self._inside[chain] = None
        try:
            yield True
        finally:
            self._leave(chain)

    async def _wait_turn(self, chain: Chain, at_once: int) -> None:
        if len(self._inside) < at_once and not self._queue:
            self._inside[chain] = None
            return
        if self._waits.would_wait_for_itself(chain, self):
            raise PluginCallError(
                self._plugin,
                "reentrant",
                remedy="It can't be called by what it waits for itself; make the call before or"
                " after, or set execution.wasm.instance to per-call",
            )
        if len(self._queue) >= self._waiting_max:
            raise PluginUnavailableError(self._plugin, "busy", retry_after_s=1.0)
        turn = self._queue[chain] = trio.Event()
        try:
            with self._waits.waiting(chain, self):
                await turn.wait()
        except BaseException:
            if turn.is_set():
                self._leave(chain)  # It came while we were being cancelled: hand it on.
            self._queue.pop(chain, None)
            raise

    def _leave(self, chain: Chain) -> None:
        self._inside.pop(chain, None)
        if self._queue:
            following, turn = next(iter(self._queue.items()))
            del self._queue[following]
            self._inside[following] = None
            turn.set()


class Waits:
    """Which chain waits for which turn, over the whole runtime."""

    def __init__(self) -> None:
        self._by_chain: dict[Chain, Turns] = {}

    def waiting(self, chain: Chain, turns: Turns) -> "_Waiting":
        """Keep it on record for a block that `chain` waits for a turn."""
        return _Waiting(self._by_chain, chain, turns)

    def would_wait_for_itself(self, chain: Chain, turns: Turns) -> bool:
        """Tell whether a turn could come only after `chain` itself has ended.

        Follows who holds the turns, and what they wait for in their turn. Each `Turns` is looked
        at once, so the work is bounded by the calls under way.
        """
        seen: set[Turns] = set()
        todo = [turns]
        while todo:
            looked_at = todo.pop()
            if looked_at in seen:
                continue
            seen.add(looked_at)
            for holder in looked_at.holders:
                if holder.is_part_of(chain):
                    return True
                todo.extend(
                    waits_for
                    for waiter, waits_for in self._by_chain.items()
                    if holder.is_part_of(waiter)
                )
        return False


class _Waiting:
    def __init__(self, record: dict[Chain, Turns], chain: Chain, turns: Turns) -> None:
        self._record = record
        self._chain = chain
        self._turns = turns

    def __enter__(self) -> None:
        self._record[self._chain] = self._turns

    def __exit__(self, *_exc_info: object) -> None:
        self._record.pop(self._chain, None)
