"""What went wrong in a guest, as the errors of this package."""

import wasmtime

from sigil_actors.core.text import escape_text
from sigil_actors.errors import GuestTrapError, LimitExceededError, PluginError
from sigil_actors.tiers.wasm.guest_memory import GuestMemory
from sigil_actors.tiers.wasm.limits import STACK_BYTES_MAX, GuestLimits, shown_bytes

_PAGE_BYTES = 65_536
_FUNCTION_NAME_MAX = 80
_REASON_MAX = 300

_MEMORY_KEY = "execution.wasm.memory"


def memory_error(plugin: str, limits: GuestLimits) -> LimitExceededError:
    """Return the error for a guest that needs more memory than it may have."""
    return LimitExceededError(
        plugin, bound="memory", value=shown_bytes(limits.memory_bytes), key=_MEMORY_KEY
    )


def explain_trap(
    plugin: str, trap: wasmtime.Trap, limits: GuestLimits, memory: GuestMemory | None
) -> PluginError:
    """Return the error for a trap: the bound that was reached, or what the guest did wrong."""
    code = _code(trap)
    if code == "out_of_fuel":
        return LimitExceededError(
            plugin, bound="fuel", value=f"{limits.fuel}", key="execution.wasm.fuel"
        )
    if code == "stack_overflow":
        return LimitExceededError(plugin, bound="stack", value=shown_bytes(STACK_BYTES_MAX), key="")
    if code == "unreachable" and memory is not None and _is_full(memory, limits):
        # wasmtime answers a refused `memory.grow` with -1, and what every allocator makes of that
        # is `unreachable`.
        return memory_error(plugin, limits)
    return GuestTrapError(plugin, code, detail=_place(trap))


def misbehaved(plugin: str, what: str) -> GuestTrapError:
    """Return the error for a guest that broke the dialect's rules, which counts as a trap."""
    return GuestTrapError(plugin, "dialect broken", detail=escape_text(what, limit=_REASON_MAX))


def _is_full(memory: GuestMemory, limits: GuestLimits) -> bool:
    return memory.size_bytes + _PAGE_BYTES > limits.memory_bytes


def _code(trap: wasmtime.Trap) -> str:
    try:
        code = trap.trap_code
    except ValueError:  # a later wasmtime knows more codes than its Python side
        return "unknown"
    return "unknown" if code is None else code.name.lower()


def _place(trap: wasmtime.Trap) -> str:
    frames = trap.frames
    if not frames:
        return ""
    name = frames[0].func_name
    if name is None:
        return f"in function {frames[0].func_index}"
    return f"in {escape_text(name, limit=_FUNCTION_NAME_MAX)}"
