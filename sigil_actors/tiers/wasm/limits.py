"""What a guest may use: what the manifest sets, and what is the tier's, with its reasons."""

from typing import Final

import attrs

from sigil_actors.core.execution import WasmLimits

KIBIBYTE: Final = 1 << 10
MEBIBYTE: Final = 1 << 20

MODULE_BYTES_MAX: Final = 16 * MEBIBYTE
"""A Go program is 2 to 8 MiB, an interpreter compiled to Wasm up to about that."""

THREAD_COMPILE_BYTES_MAX: Final = 16 * KIBIBYTE
"""A larger module is compiled in a program of its own.

Compiling can't be interrupted, and its cost grows with the square of a function's length: 16 KiB of
the worst code took 0.3 s and 100 MiB, 64 KiB 1.9 s and 300 MiB, 1 MiB more than five minutes.
"""

COMPILE_MEMORY_BYTES_MAX: Final = 2 * 1024 * MEBIBYTE
"""Address space of that program. Honest modules of 16 MiB stay below half of it."""

COMPILED_BYTES_MAX: Final = 256 * MEBIBYTE
"""Machine code of one module. It is two to eight times the module's size."""

STACK_BYTES_MAX: Final = 512 * KIBIBYTE
"""Well below the 8 MiB of a thread, where running over ends the whole process; enough for some
thousand frames of honest recursion."""

TABLE_ELEMENTS_MAX: Final = 100_000
"""Function pointers, 8 bytes each. Large programs have some ten thousand."""

CHUNK_BYTES_MAX: Final = MEBIBYTE
"""One emitted chunk, as JSON. A tool that has more to say says it in pieces."""

PAYLOAD_BYTES_MAX: Final = 4 * MEBIBYTE
"""What a host call carries either way: the bound that every tier shares."""

HOST_CALL_BYTES_MAX: Final = PAYLOAD_BYTES_MAX // 3 * 4 + 64 * KIBIBYTE
"""The same in base64, with its envelope."""

ANSWER_BYTES_MAX: Final = 4 * MEBIBYTE
"""What a guest returns from one entry."""

DESCRIPTION_BYTES_MAX: Final = MEBIBYTE
TOOLS_MAX: Final = 256
"""What `TierSession.describe` promises: people and models read such a list."""

MALFORMED_CALLS_MAX: Final = 16
"""Host calls in one request that aren't one: they pass no other bound and cost the host's time."""

STRUCTURES_MAX: Final = 100_000
"""Lists and objects in one message of a guest: some 30 ms of decoding, which nothing interrupts."""

EXPORTS_MAX: Final = 1000
"""Exports of a module: their look-up costs the square of their number, where nothing interrupts."""

CALLS_AT_ONCE_MAX: Final = 16
"""Instances that a plugin with `instance: per-call` has at the same time; each has a thread and may
have its whole memory. What is more waits."""

STOP_S: Final = 5.0
"""How long an interrupted guest is waited for. It stops within milliseconds; the longest that can't
be interrupted is one bulk operation over its memory, which is some tens of milliseconds."""

_FUEL_MAX: Final = (1 << 63) - 1
"""What fits wasmtime's counter with room for its own arithmetic; centuries of work."""


@attrs.frozen(kw_only=True)
class GuestLimits:
    """The bounds of one guest."""

    fuel: int
    """Instructions, roughly, for one entry into the guest."""
    timeout_s: float
    """How long the guest itself may run in one call. While it waits for its host, or for the caller
    to take a chunk, the clock stands still: those waits are not the plugin's doing."""
    memory_bytes: int

    @classmethod
    def of(cls, wasm: WasmLimits) -> "GuestLimits":
        """Return what the manifest allows."""
        return cls(fuel=min(wasm.fuel, _FUEL_MAX), timeout_s=wasm.timeout, memory_bytes=wasm.memory)


def shown_bytes(count: int) -> str:
    """Return a size for people, the way a manifest writes it."""
    for unit, size in (("Gi", 1024 * MEBIBYTE), ("Mi", MEBIBYTE), ("Ki", KIBIBYTE)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count} bytes"


def shown_seconds(seconds: float) -> str:
    """Return a duration for people, the way a manifest writes it."""
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"
