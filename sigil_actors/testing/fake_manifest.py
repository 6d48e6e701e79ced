"""Manifests made in code, for plugins that a `FakeTier` runs."""

from collections.abc import Sequence

from sigil_actors.core.execution import PluginType, WasmExecution
from sigil_actors.core.manifest import LifecyclePolicy, Manifest


def fake_manifest(
    name: str,
    *,
    version: str = "1.0.0",
    capabilities: Sequence[str] = ("tool.*",),
    deny_capabilities: Sequence[str] = (),
    lifecycle: LifecyclePolicy | None = None,
) -> Manifest:
    """Return the manifest of a tool plugin of the tier `wasm`, which is what a `FakeTier` is.

    `capabilities` is what its scripts may ask of the host, and what it may be called for.
    """
    return Manifest(
        name=name,
        version=version,
        type=PluginType.TOOL,
        execution=WasmExecution(),
        capabilities=capabilities,
        deny_capabilities=deny_capabilities,
        lifecycle=lifecycle or LifecyclePolicy(),
    )
