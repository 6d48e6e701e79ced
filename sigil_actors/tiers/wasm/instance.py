"""One store with one instance in it: how a guest is entered, and what may go wrong inside.

Used by one thread at a time; two in one store end the process.
"""

from collections.abc import Callable
from typing import TypeVar, cast

import wasmtime

from sigil_actors.core.guest_ops import GuestOp
from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginCrashedError, PluginStartError
from sigil_actors.tiers.wasm.faults import explain_trap, memory_error, misbehaved
from sigil_actors.tiers.wasm.guest_memory import GuestMemory, OutOfMemoryRangeError, unsigned
from sigil_actors.tiers.wasm.host_imports import Ask, HostImports
from sigil_actors.tiers.wasm.limits import (
    ANSWER_BYTES_MAX,
    TABLE_ELEMENTS_MAX,
    GuestLimits,
    shown_bytes,
)

Value = TypeVar("Value")

_REASON_MAX = 300


class GuestStoppedError(Exception):
    """The guest was interrupted because its run is stopped; whoever stopped it knows why."""


class GuestInstance:
    """A guest with its memory. Must be closed, and not used again after it was interrupted."""

    def __init__(
        self,
        plugin: str,
        engine: wasmtime.Engine,
        ready: wasmtime.InstancePre,
        imports: HostImports,
        *,
        limits: GuestLimits,
        is_stopping: Callable[[], bool],
    ) -> None:
        self._plugin = plugin
        self._imports = imports
        self._limits = limits
        self._memory: GuestMemory | None = None
        self._store = wasmtime.Store(engine)
        try:
            self._store.set_limits(
                memory_size=limits.memory_bytes,
                table_elements=TABLE_ELEMENTS_MAX,
                instances=1,
                tables=4,  # compilers make one
                memories=1,
            )
            imports.rest()
            imports.error = None
            self._refill(is_stopping)
            exports = self._inside(lambda: ready.instantiate(self._store)).exports(self._store)
            self._memory = GuestMemory(self._store, cast("wasmtime.Memory", exports["memory"]))
            self._alloc = cast("wasmtime.Func", exports["sigil_alloc"])
            self._call = cast("wasmtime.Func", exports["sigil_call"])
            initialize = exports.get("_initialize")
            if isinstance(initialize, wasmtime.Func):
                self._inside(lambda: initialize(self._store))
        except BaseException:
            self.close()
            raise

    def enter(
        self, op: GuestOp, request: bytes, *, ask: Ask, is_stopping: Callable[[], bool]
    ) -> bytes:
        """Have the guest work on `request`; return its answer. Its questions go to `ask`.

        Raises:
            GuestTrapError: it trapped, or broke the dialect's rules.
            LimitExceededError: it reached a bound.
            GuestStoppedError: it was interrupted.
        """
        memory = self._memory
        assert memory is not None  # noqa: S101 - only while being made
        self._imports.serve(memory, ask)
        try:
            self._refill(is_stopping)
            pointer = self._place(memory, request)
            packed = self._inside(lambda: self._call(self._store, op, pointer, len(request)))
            return self._take(memory, packed)
        finally:
            self._imports.rest()

    def close(self) -> None:
        """Free the store; no thread may be inside."""
        self._store.close()

    def _refill(self, is_stopping: Callable[[], bool]) -> None:
        self._store.set_fuel(self._limits.fuel)
        self._store.set_epoch_deadline(1)
        # The deadline counts from now, so an interrupt that came before it would be lost.
        if is_stopping():
            raise GuestStoppedError

    def _place(self, memory: GuestMemory, request: bytes) -> int:
        pointer = unsigned(self._inside(lambda: self._alloc(self._store, len(request))))
        if pointer == 0 and request:
            raise memory_error(self._plugin, self._limits)
        try:
            memory.write(pointer, request)
        except OutOfMemoryRangeError as error:
            raise misbehaved(self._plugin, f"sigil_alloc answered with {error}") from None
        return pointer

    def _take(self, memory: GuestMemory, packed: int) -> bytes:
        pointer, length = unsigned(packed >> 32), unsigned(packed)
        try:
            memory.check(pointer, length)
        except OutOfMemoryRangeError as error:
            raise misbehaved(self._plugin, f"sigil_call answered with {error}") from None
        if length > ANSWER_BYTES_MAX:
            raise LimitExceededError(
                self._plugin,
                bound="bytes of one answer",
                value=shown_bytes(ANSWER_BYTES_MAX),
                key="",
            )
        return memory.read(pointer, length)

    def _inside(self, enter: Callable[[], Value]) -> Value:
        try:
            value = enter()
        except wasmtime.Trap as trap:
            self._raise_kept()
            if _was_interrupted(trap):
                raise GuestStoppedError from None
            raise explain_trap(self._plugin, trap, self._limits, self._memory) from None
        except wasmtime.WasmtimeError as error:
            self._raise_kept()
            words = escape_text(" ".join(str(error).split()), limit=_REASON_MAX)
            if self._memory is None:
                raise PluginStartError(
                    self._plugin,
                    f"can't be instantiated: {words}",
                    remedy="Its tables or memories may be larger than this host allows",
                ) from None
            raise PluginCrashedError(self._plugin, f"ended: {words}") from None
        except Exception as error:
            # wasmtime keeps one last exception for the whole process: this may be another
            # library's, raised in place of our guest's own trap. Either way this guest is over.
            self._raise_kept()
            raise PluginCrashedError(
                self._plugin, f"ended with wasmtime's {type(error).__name__}"
            ) from error
        self._raise_kept()  # a guest may return before it notices that it was interrupted
        return value

    def _raise_kept(self) -> None:
        error = self._imports.error
        if error is not None:
            raise error


def _was_interrupted(trap: wasmtime.Trap) -> bool:
    try:
        return trap.trap_code is wasmtime.TrapCode.INTERRUPT
    except ValueError:
        return False
