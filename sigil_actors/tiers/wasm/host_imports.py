"""The two functions that a guest imports: `sigil.host_call` and `sigil.host_reply`.

They run in the guest's thread, with the guest's frames below them. They never raise: wasmtime keeps
one last exception for the whole process, so it could surface in another plugin's call. An error is
kept aside and the guest interrupted instead.
"""

from collections.abc import Callable
from typing import Final, TypeAlias

import attrs
import wasmtime

from sigil_actors.core.guest_ops import HostOp, HostRefusal
from sigil_actors.errors import LimitExceededError
from sigil_actors.tiers.wasm import native_dialect as dialect
from sigil_actors.tiers.wasm.faults import misbehaved
from sigil_actors.tiers.wasm.guest_memory import GuestMemory, OutOfMemoryRangeError, unsigned
from sigil_actors.tiers.wasm.limits import (
    CHUNK_BYTES_MAX,
    HOST_CALL_BYTES_MAX,
    MALFORMED_CALLS_MAX,
    shown_bytes,
)

IMPORT_MODULE: Final = "sigil"
_I32: Final = wasmtime.ValType.i32()
HOST_CALL_TYPE: Final = ((_I32,) * 5, (_I32,))
HOST_REPLY_TYPE: Final = ((_I32,) * 2, (_I32,))

Question: TypeAlias = dialect.CallAsked | dialect.CheckAsked | dialect.Chunk


@attrs.frozen
class Answer:
    """What the host says to a question: a refusal, or the bytes of a reply."""

    refusal: HostRefusal | None = None
    reply: bytes = b""


Ask: TypeAlias = Callable[[Question], Answer | None]


class HostImports:
    """The host as one instance sees it from inside. Belongs to the thread that is in the guest."""

    def __init__(self, plugin: str, interrupt: Callable[[], None]) -> None:
        self._plugin = plugin
        self._interrupt = interrupt
        self._memory: GuestMemory | None = None
        self._ask: Ask | None = None
        self._kept: bytes | None = None
        """A reply that was longer than the guest's buffer; `host_reply` fetches it."""
        self._malformed = 0
        self.error: BaseException | None = None
        """Why the guest was interrupted from in here."""

    def define_in(self, linker: wasmtime.Linker) -> None:
        """Put both functions into `linker`."""
        for name, (parameters, results), function in (
            ("host_call", HOST_CALL_TYPE, self._host_call),
            ("host_reply", HOST_REPLY_TYPE, self._host_reply),
        ):
            function_type = wasmtime.FuncType(list(parameters), list(results))
            linker.define_func(IMPORT_MODULE, name, function_type, function)

    def serve(self, memory: GuestMemory, ask: Ask) -> None:
        """Answer the guest with this memory by asking `ask`, from now on until `rest`."""
        self._memory = memory
        self._ask = ask
        self._kept = None
        self._malformed = 0
        self.error = None

    def rest(self) -> None:
        """Serve nobody; whatever the guest asks now has failed."""
        self._memory = None
        self._ask = None
        self._kept = None

    def _host_call(
        self, op: int, pointer: int, length: int, out_pointer: int, out_capacity: int
    ) -> int:
        try:
            answer = self._serve_call(
                op,
                unsigned(pointer),
                unsigned(length),
                unsigned(out_pointer),
                unsigned(out_capacity),
            )
        except (OutOfMemoryRangeError, dialect.MalformedMessageError):
            answer = HostRefusal.MALFORMED
        except BaseException as error:  # noqa: BLE001 - see the head of this module
            return self._give_up(error)
        if answer == HostRefusal.MALFORMED:
            self._malformed += 1
            if self._malformed > MALFORMED_CALLS_MAX:
                return self._give_up(misbehaved(self._plugin, "too many malformed host calls"))
        return answer

    def _host_reply(self, out_pointer: int, out_capacity: int) -> int:
        try:
            kept, memory = self._kept, self._memory
            if kept is None or memory is None:
                return HostRefusal.MALFORMED
            if len(kept) <= unsigned(out_capacity):
                memory.write(unsigned(out_pointer), kept)
                self._kept = None
            return len(kept)
        except OutOfMemoryRangeError:
            return HostRefusal.MALFORMED
        except BaseException as error:  # noqa: BLE001 - see the head of this module
            return self._give_up(error)

    def _serve_call(
        self, op: int, pointer: int, length: int, out_pointer: int, out_capacity: int
    ) -> int:
        memory, ask = self._memory, self._ask
        if memory is None or ask is None:
            return HostRefusal.FAILED  # from start code, before there is a call to serve
        self._kept = None
        if op not in _READERS:
            return HostRefusal.MALFORMED
        bound, bytes_max, read = _READERS[HostOp(op)]
        memory.check(pointer, length)
        if length > bytes_max:
            raise LimitExceededError(
                self._plugin, bound=bound, value=shown_bytes(bytes_max), key=""
            )
        # Before anything happens: a buffer that isn't there must not cost the effect.
        memory.check(out_pointer, out_capacity)
        answer = ask(read(memory.read(pointer, length)))
        if answer is None:
            return HostRefusal.FAILED
        if answer.refusal is not None:
            return answer.refusal
        if len(answer.reply) <= out_capacity:
            memory.write(out_pointer, answer.reply)
        else:
            self._kept = answer.reply
        return len(answer.reply)

    def _give_up(self, error: BaseException) -> int:
        if self.error is None:
            self.error = error
        self._interrupt()
        return HostRefusal.FAILED


_READERS: Final[dict[HostOp, tuple[str, int, Callable[[bytes], Question]]]] = {
    HostOp.CALL: ("bytes of one host call", HOST_CALL_BYTES_MAX, dialect.read_call),
    HostOp.CHECK: ("bytes of one host call", HOST_CALL_BYTES_MAX, dialect.read_check),
    HostOp.EMIT: ("bytes of one chunk", CHUNK_BYTES_MAX, dialect.read_chunk),
}
