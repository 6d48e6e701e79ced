"""The Wasm tier: from a plugin's folder to a session with its guest."""

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from sigil_actors.core.execution import InstanceMode, WasmExecution
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginStartError
from sigil_actors.ports.tier import Launch
from sigil_actors.tiers.wasm.compiler import Compiler
from sigil_actors.tiers.wasm.ending import Ending
from sigil_actors.tiers.wasm.instances import InstancePerCall, Instances, SharedInstance
from sigil_actors.tiers.wasm.limits import GuestLimits
from sigil_actors.tiers.wasm.module_bytes import read_module
from sigil_actors.tiers.wasm.session import WasmSession

_READS_AT_ONCE = 4
"""Modules read or loaded at the same time: disks gain nothing from more."""


class WasmTier:
    """Runs plugins as WebAssembly guests in this process, by the project's native dialect."""

    def __init__(self) -> None:
        self._compiler = Compiler()
        self._threads = trio.CapacityLimiter(_READS_AT_ONCE)

    @property
    def kind(self) -> str:
        """Return the word that a manifest uses for it in `execution.tier`."""
        return "wasm"

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[WasmSession, None]:
        """Run one plugin for as long as the block lasts; nothing of it is left afterwards.

        Raises:
            PluginStartError: on entering; no module, no valid one, or one that wants too much.
            LimitExceededError: on entering; it ran into a bound while starting.
            GuestTrapError: on entering; its start code trapped.
        """
        execution = launch.manifest.execution
        if not isinstance(execution, WasmExecution):
            raise PluginStartError(
                launch.plugin,
                f"is for the tier {execution.tier!s}, not for wasm",
                remedy="Give execution.tier the value wasm",
            )
        code = await self._load(launch, execution)
        limits = GuestLimits.of(execution.wasm)
        ending = Ending(launch.plugin, launch.log)
        make = _INSTANCES[execution.wasm.instance]
        instances = await trio.to_thread.run_sync(
            make, launch.plugin, code, limits, ending, limiter=self._threads
        )
        session = WasmSession(launch, instances, ending)
        try:
            await session.start()
            yield session
        finally:
            await session.close()

    async def _load(self, launch: Launch, execution: WasmExecution) -> bytes:
        if launch.folder is None:
            raise PluginStartError(
                launch.plugin,
                "has no folder, and so no module",
                remedy="Give the runtime its folder: manifests=[(manifest, folder)]",
            )
        data = await trio.to_thread.run_sync(
            read_module, launch.plugin, launch.folder, execution.module, limiter=self._threads
        )
        if execution.sha256 is not None:
            _check_hash(launch.plugin, data, execution.sha256)
        return await self._compiler.compile(launch.plugin, data, compile_s=execution.start_timeout)


_INSTANCES: dict[InstanceMode, type[Instances]] = {
    InstanceMode.SHARED: SharedInstance,
    InstanceMode.PER_CALL: InstancePerCall,
}


def _check_hash(plugin: str, data: bytes, wanted: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != wanted.lower():
        raise PluginStartError(
            plugin,
            f"has a module with the SHA-256 {found}, and execution.sha256 says "
            f"{escape_text(wanted, limit=80)}",
            remedy="If the new module is the right one, put its hash into the manifest",
        )
