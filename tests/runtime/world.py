"""What the runtime's tests share: manifests made in code, a runtime over a fake tier."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import attrs

from sigil_actors import (
    AuditStore,
    CapabilitySet,
    Manifest,
    MemoryAuditStore,
    PluginType,
    Runtime,
    RuntimeSettings,
    Session,
    WasmExecution,
    open_runtime,
)
from sigil_actors.core.manifest import LifecyclePolicy, Storage
from sigil_actors.core.restart import RestartPolicy
from sigil_actors.runtime.host_calls import HostFunction
from sigil_actors.testing.fake_tier import FakePlugin, FakeTier

EVERYTHING = CapabilitySet("*")


def manifest(
    name: str = "echo-tool",
    *,
    capabilities: Sequence[str] = ("tool.*", "kv.*", "log.write", "config.read.self"),
    deny: Sequence[str] = (),
    restart: RestartPolicy | None = None,
    graceful_s: float = 30,
    kv: bool = True,
) -> Manifest:
    return Manifest(
        name=name,
        version="1.0.0",
        type=PluginType.TOOL,
        execution=WasmExecution(),
        capabilities=capabilities,
        deny_capabilities=deny,
        lifecycle=LifecyclePolicy(
            restart=restart or RestartPolicy(max_restarts=3, backoff=1, backoff_max=10),
            graceful_shutdown_timeout=graceful_s,
        ),
        storage=Storage(kv=kv),
    )


def alice(
    runtime: Runtime,
    *,
    workspace: CapabilitySet = EVERYTHING,
    user: CapabilitySet = EVERYTHING,
    workspace_id: str = "ws-1",
) -> Session:
    return runtime.session(
        workspace_id=workspace_id,
        workspace_allow=workspace,
        user_id="alice",
        user_permissions=user,
    )


@attrs.frozen
class World:
    """A runtime over a fake tier, and what a test looks at."""

    runtime: Runtime
    tier: FakeTier
    store: MemoryAuditStore

    def session(self) -> Session:
        return alice(self.runtime)


@asynccontextmanager
async def open_world(
    *manifests: Manifest,
    plugins: Mapping[str, FakePlugin] | None = None,
    host_functions: Mapping[str, HostFunction] | None = None,
    settings: RuntimeSettings | None = None,
    audit_store: AuditStore | None = None,
    wait: bool = True,
) -> AsyncGenerator[World]:
    tier = FakeTier(plugins)
    store = MemoryAuditStore()
    async with open_runtime(
        manifests=[(one, None) for one in manifests or (manifest(),)],
        audit_store=store if audit_store is None else audit_store,
        host_functions=host_functions,
        settings=settings,
        tiers=[tier],
    ) as runtime:
        for status in runtime.list() if wait else ():
            await runtime.wait_until_running(status.name)
        yield World(runtime, tier, store)
