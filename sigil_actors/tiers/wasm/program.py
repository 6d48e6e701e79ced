"""A module's machine code in an engine of its own, from which instances are made.

One engine for one running guest: what interrupts it then touches no other.
"""

from collections.abc import Callable
from typing import Final

import wasmtime

from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginStartError
from sigil_actors.tiers.wasm.engine import new_engine
from sigil_actors.tiers.wasm.faults import memory_error
from sigil_actors.tiers.wasm.host_imports import (
    HOST_CALL_TYPE,
    HOST_REPLY_TYPE,
    IMPORT_MODULE,
    HostImports,
)
from sigil_actors.tiers.wasm.instance import GuestInstance
from sigil_actors.tiers.wasm.limits import EXPORTS_MAX, STACK_BYTES_MAX, GuestLimits

_I32: Final = wasmtime.ValType.i32()
_I64: Final = wasmtime.ValType.i64()
_PAGE_BYTES: Final = 65_536
_NAMED_MAX: Final = 5
"""Imports that an error names; a module may have a thousand."""
_NAME_MAX: Final = 80

_Signature = tuple[tuple[wasmtime.ValType, ...], tuple[wasmtime.ValType, ...]]

_IMPORTS: Final[dict[str, _Signature]] = {
    "host_call": HOST_CALL_TYPE,
    "host_reply": HOST_REPLY_TYPE,
}
_EXPORTS: Final[dict[str, _Signature]] = {
    "sigil_alloc": ((_I32,), (_I32,)),
    "sigil_call": ((_I32,) * 3, (_I64,)),
}
_INITIALIZE: Final = "_initialize"


class Program:
    """Makes instances; at most one of them runs at a time. Must be closed."""

    def __init__(self, plugin: str, code: bytes, limits: GuestLimits) -> None:
        """Load machine code that this package's compiler made.

        Raises:
            PluginStartError: it imports what this host doesn't have, or lacks an export.
            LimitExceededError: it starts with more memory than it may have.
        """
        self._plugin = plugin
        self._limits = limits
        self.imports = HostImports(plugin, self.interrupt)
        self._engine = new_engine(stack_bytes=STACK_BYTES_MAX)
        self._module: wasmtime.Module | None = None
        self._linker: wasmtime.Linker | None = None
        self._ready: wasmtime.InstancePre | None = None
        try:
            self._module = wasmtime.Module.deserialize(self._engine, code)
            _check_imports(plugin, self._module)
            _check_exports(plugin, self._module, limits)
            self._linker = wasmtime.Linker(self._engine)
            self.imports.define_in(self._linker)
            self._ready = self._linker.instantiate_pre(self._module)
        except BaseException:
            self.close()
            raise

    def instantiate(self, is_stopping: Callable[[], bool]) -> GuestInstance:
        """Return a fresh instance; its start code runs, so only a guest's thread may do this.

        Raises:
            GuestTrapError: its start code trapped.
            LimitExceededError: its start code ran into a bound.
        """
        assert self._ready is not None  # noqa: S101 - closed: our own bug
        return GuestInstance(
            self._plugin,
            self._engine,
            self._ready,
            self.imports,
            limits=self._limits,
            is_stopping=is_stopping,
        )

    def interrupt(self) -> None:
        """Have the instance that runs trap soon. From any thread."""
        self._engine.increment_epoch()

    def close(self) -> None:
        """Free everything; no thread may be inside."""
        # Explicitly, and from the inside out: the linker's functions refer to this object, and
        # wasmtime's table of functions to them, a cycle that no collector sees.
        for part in (self._ready, self._linker, self._module, self._engine):
            if part is not None:
                part.close()


def _matches(found: wasmtime.FuncType, wanted: _Signature) -> bool:
    return (tuple(found.params), tuple(found.results)) == wanted


def _spelled(signature: _Signature) -> str:
    parameters, results = signature
    return f"({', '.join(map(str, parameters))}) -> {', '.join(map(str, results))}"


def _check_imports(plugin: str, module: wasmtime.Module) -> None:
    foreign: list[str] = []
    for found in module.imports:
        wanted = _IMPORTS.get(found.name or "") if found.module == IMPORT_MODULE else None
        if wanted is None:
            name = f"{found.module}.{found.name}"
            foreign.append(escape_text(name, limit=_NAME_MAX))
        elif not isinstance(found.type, wasmtime.FuncType) or not _matches(found.type, wanted):
            raise PluginStartError(
                plugin,
                f"imports {IMPORT_MODULE}.{found.name} with another signature",
                remedy=f"It is {_spelled(wanted)}; sigil.h declares it",
            )
    if not foreign:
        return
    more = f" and {len(foreign) - _NAMED_MAX} more" if len(foreign) > _NAMED_MAX else ""
    supported = " and ".join(f"{IMPORT_MODULE}.{name}" for name in _IMPORTS)
    raise PluginStartError(
        plugin,
        f"imports what this host doesn't have: {', '.join(foreign[:_NAMED_MAX])}{more}",
        remedy=f"{_import_remedy(foreign)}; a guest may import {supported}, and nothing else",
    )


def _import_remedy(foreign: list[str]) -> str:
    if any(name.startswith("wasi") for name in foreign):
        return "WASI isn't supported yet: build without a libc, for wasm32-freestanding"
    if any(name.startswith("extism:") for name in foreign):
        return "Extism plugins aren't supported yet: build for the native dialect"
    return "Build it for the native dialect"


def _check_exports(plugin: str, module: wasmtime.Module, limits: GuestLimits) -> None:
    found_exports = module.exports
    if len(found_exports) > EXPORTS_MAX:
        raise LimitExceededError(plugin, bound="exports", value=str(EXPORTS_MAX), key="")
    exports = {found.name: found.type for found in found_exports}
    memory = exports.get("memory")
    if not isinstance(memory, wasmtime.MemoryType):
        raise _lacks(plugin, "memory", "a memory")
    if memory.limits.min * _PAGE_BYTES > limits.memory_bytes:
        raise memory_error(plugin, limits)
    for name, wanted in _EXPORTS.items():
        found = exports.get(name)
        if not isinstance(found, wasmtime.FuncType) or not _matches(found, wanted):
            raise _lacks(plugin, name, f"a function {_spelled(wanted)}")
    initialize = exports.get(_INITIALIZE)
    if initialize is not None and not (
        isinstance(initialize, wasmtime.FuncType) and _matches(initialize, ((), ()))
    ):
        raise _lacks(plugin, _INITIALIZE, "a function () ->, where it is there at all")


def _lacks(plugin: str, name: str, wanted: str) -> PluginStartError:
    return PluginStartError(
        plugin,
        f"doesn't export {name!r} as {wanted}",
        remedy="sigil.h and the reference of the native dialect say what a guest exports",
    )
