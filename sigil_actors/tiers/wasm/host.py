"""Loads modules with the tier's bounds, and nothing else: no plugin, no session, no enforcer."""

import hashlib
from types import TracebackType
from typing import Final, Self

import attrs
import wasmtime

from sigil_actors.core.execution import WasmLimits
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginStartError, SettingsError
from sigil_actors.tiers.wasm.compiler import Compiler
from sigil_actors.tiers.wasm.engine import new_engine
from sigil_actors.tiers.wasm.limits import STACK_BYTES_MAX

_COMPILE_S: Final = 60.0
"""As `execution.start_timeout` of a manifest that doesn't say."""

_NAME_MAX: Final = 64
"""Characters, as of a plugin's name."""


@attrs.frozen(kw_only=True)
class LoadedModule:
    """A module that a `WasmHost` has loaded."""

    name: str
    sha256: str
    """Of the module's bytes, in hex digits."""
    size_bytes: int


class WasmHost:
    """Holds loaded modules until it is closed, by `close` or by leaving its `with` block."""

    def __init__(self, *, fuel_limit: int = WasmLimits().fuel) -> None:
        """Make an empty host; `fuel_limit` is for one call into a guest.

        Raises:
            SettingsError: `fuel_limit` isn't a positive whole number.
        """
        if not _is_positive(fuel_limit):
            raise SettingsError(
                f"fuel_limit is {fuel_limit!r}, and no guest can run on that",
                remedy="Give a positive whole number of instructions",
            )
        self._fuel_limit = fuel_limit
        self._compiler = Compiler()
        self._engine = new_engine(stack_bytes=STACK_BYTES_MAX)
        self._modules: dict[str, wasmtime.Module] = {}
        self._is_closed = False

    @property
    def fuel_limit(self) -> int:
        """Instructions, roughly, that one call into a guest may run."""
        return self._fuel_limit

    async def load_module(self, name: str, data: bytes | bytearray | memoryview) -> LoadedModule:
        """Compile `data` and keep it under `name`, in the place of what had that name.

        Raises:
            PluginStartError: the name is blank or too long, the bytes are no core module, or the
                host is closed.
            LimitExceededError: module size, compile time or compile memory.
        """
        self._check_open(name)
        if not _is_name(name):
            raise PluginStartError(
                escape_text(str(name), limit=_NAME_MAX),
                "has a name that is blank or too long",
                remedy=f"Give it a name of 1 to {_NAME_MAX} characters",
            )
        shown = escape_text(name)
        if not isinstance(data, bytes | bytearray | memoryview):
            raise PluginStartError(
                shown,
                f"was given a module as {type(data).__name__}, not as bytes",
                remedy="Read the .wasm file in binary mode",
            )
        module_bytes = bytes(data)
        code = await self._compiler.compile(shown, module_bytes, compile_s=_COMPILE_S)
        self._check_open(name)  # it may have been closed meanwhile
        # Loading is copying: some milliseconds for the largest. In a thread, `close` could come
        # between, and free the engine that it works in.
        module = wasmtime.Module.deserialize(self._engine, code)
        replaced = self._modules.pop(name, None)
        if replaced is not None:
            replaced.close()
        self._modules[name] = module
        return LoadedModule(
            name=name,
            sha256=hashlib.sha256(module_bytes).hexdigest(),
            size_bytes=len(module_bytes),
        )

    def close(self) -> None:
        """Free every module. Closing again does nothing."""
        self._is_closed = True
        for module in self._modules.values():
            module.close()
        self._modules.clear()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _check_open(self, name: str) -> None:
        if self._is_closed:
            raise PluginStartError(
                escape_text(str(name), limit=_NAME_MAX),
                "can't be loaded: the host is closed",
                remedy="Make a new WasmHost",
            )


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_name(value: object) -> bool:
    return isinstance(value, str) and len(value.strip()) > 0 and len(value) <= _NAME_MAX
