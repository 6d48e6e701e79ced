"""Plugins as WebAssembly modules inside the host, by wasmtime and the native dialect."""

from sigil_actors.tiers.wasm.tier import WasmTier

__all__ = ["WasmTier"]
