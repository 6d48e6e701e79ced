"""A whole runtime with a process plugin: started, called, started anew when it dies, stopped."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sigil_actors import (
    AuditFilter,
    CapabilitySet,
    HostCall,
    Manifest,
    MemoryAuditStore,
    PluginCrashedError,
    PluginType,
    ProcessExecution,
    Runtime,
    RuntimeSettings,
    Session,
    open_runtime,
)
from sigil_actors.runtime.settings import UidRange
from tests.tiers.process.machine import children, descriptors, eventually
from tests.tiers.process.world import leftovers, shared_folder

Go = Callable[[str], Path]

pytestmark = pytest.mark.usefixtures("own_temporary_folder")

MANIFEST = Manifest(
    name="it",
    version="1.0.0",
    type=PluginType.TOOL,
    capabilities=("tool.*", "greet"),
    execution=ProcessExecution(env={"SERVES": "tool"}),
)


async def greet(call: HostCall) -> bytes:
    assert call.session is not None
    return b"hello " + call.payload + b" in " + call.workspace_id.encode()


@asynccontextmanager
async def opened(
    program: Path, state: Path, *, is_sandboxed: bool
) -> AsyncGenerator[tuple[Runtime, MemoryAuditStore]]:
    store = MemoryAuditStore()
    with shared_folder(program) as folder:
        async with open_runtime(
            manifests=[(MANIFEST, folder)],
            audit_store=store,
            host_functions={"greet": greet},
            settings=RuntimeSettings(
                plugin_uids=UidRange(first=1_903_000_000, count=1000),
                unsafe_no_sandbox=not is_sandboxed,
            ),
            state_dir=state,
        ) as runtime:
            yield runtime, store


def alice(runtime: Runtime) -> Session:
    return runtime.session(
        workspace_id="ws",
        workspace_allow=CapabilitySet("*"),
        user_id="alice",
        user_permissions=CapabilitySet("*"),
    )


@pytest.mark.parametrize("is_sandboxed", [False, True])
async def test_a_plugin_is_called_and_calls_back_on_behalf_of_its_caller(
    go_program: Go, sandbox: None, tmp_path: Path, *, is_sandboxed: bool
) -> None:
    """Its state folder is private, as is what lies above it; the plugin's uid is another one."""
    del sandbox
    before = descriptors(), children(), leftovers()
    async with opened(go_program("plugin"), tmp_path / "state", is_sandboxed=is_sandboxed) as (
        runtime,
        store,
    ):
        await runtime.wait_until_running("it")
        session = alice(runtime)
        assert await session.execute_text("it", "echo", {"a": 1}) == '{"a": 1}'
        asked = {"capability": "greet", "payload": "you"}
        assert await session.execute_text("it", "hostcall", asked) == "hello you in ws"
        usage = runtime.get("it").usage
        assert usage is None or usage.pids >= 1
        with pytest.raises(PluginCrashedError, match="exited with status 3"):
            await session.execute_text("it", "crash", {})
        await eventually(lambda: runtime.get("it").restarts == 1)
        await runtime.wait_until_running("it")
        assert await session.execute_text("it", "echo", {}) == "{}"
        entries = await store.query(AuditFilter(action="sandbox_disabled"))
        assert len(entries) == (not is_sandboxed)
    assert (descriptors(), children(), leftovers()) == before
