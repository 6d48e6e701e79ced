"""A Wasm engine for embedders who want to load modules without a runtime around them."""

from sigil_actors.tiers.wasm.host import LoadedModule, WasmHost

__all__ = ["LoadedModule", "WasmHost"]
