"""New versions of real Wasm plugins from a real folder: what the fake tier can't show."""

import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sigil_actors import MemoryAuditStore, PluginStartError, Runtime, RuntimeSettings, open_runtime
from sigil_actors.errors import PluginHeldError
from sigil_actors.runtime.events import EventKind
from tests.runtime.folder_world import BOUND_S, next_event
from tests.runtime.world import alice

EXAMPLES = Path(__file__).parents[2] / "examples" / "plugins"
TEXT = {"text": "a line\nthe wanted line\n", "wanted": "wanted"}


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A plugins folder with the example `text-tool`."""
    shutil.copytree(EXAMPLES / "text-tool", tmp_path / "plugins" / "text-tool")
    return tmp_path / "plugins"


@asynccontextmanager
async def running(plugins: Path, *, watch: bool = False) -> AsyncGenerator[Runtime]:
    settings = RuntimeSettings(watch_plugins=watch, watch_interval_s=0.05)
    with trio.fail_after(2 * BOUND_S):
        async with open_runtime(
            plugins, audit_store=MemoryAuditStore(), settings=settings
        ) as runtime:
            await runtime.wait_until_running("text-tool")
            yield runtime


def edit(plugins: Path, old: str, new: str) -> None:
    manifest = plugins / "text-tool" / "plugin.yaml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new))


async def find(runtime: Runtime) -> str:
    return await alice(runtime).execute_text("text-tool", "find", TEXT)


async def test_calls_without_pause_all_succeed_over_reloads(plugins: Path) -> None:
    async with running(plugins) as runtime:
        wanted, calls, is_over = await find(runtime), 0, False

        async def call() -> None:
            nonlocal calls
            while not is_over:
                assert await find(runtime) == wanted
                calls += 1

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(call)
            for number in range(5):
                edit(plugins, f"version: 1.0.{number}", f"version: 1.0.{number + 1}")
                before = calls
                await runtime.rescan()
                assert runtime.get("text-tool").version == f"1.0.{number + 1}"
                while calls < before + 16:
                    await find(runtime)
            is_over = True
        assert runtime.get("text-tool").generation == 6


async def test_a_module_that_is_none_leaves_the_one_that_runs(plugins: Path) -> None:
    async with running(plugins) as runtime:
        wanted = await find(runtime)
        (plugins / "text-tool" / "plugin.wasm").write_bytes(b"no module")
        with pytest.raises(PluginStartError):
            await runtime.reload("text-tool")
        assert await find(runtime) == wanted
        assert runtime.get("text-tool").reload_failed


async def test_more_memory_is_held_and_less_is_not(plugins: Path) -> None:
    async with running(plugins) as runtime:
        edit(plugins, "memory: 256Mi", "memory: 512Mi")
        with pytest.raises(PluginHeldError) as caught:
            await runtime.reload("text-tool")
        (difference,) = caught.value.differences
        assert difference.startswith("execution.wasm.memory: ")
        await runtime.approve("text-tool")
        edit(plugins, "memory: 512Mi", "memory: 128Mi")
        await runtime.reload("text-tool")
        assert runtime.get("text-tool").generation == 3


async def test_an_example_that_is_copied_into_the_folder_runs_by_itself(plugins: Path) -> None:
    async with running(plugins, watch=True) as runtime, runtime.events() as stream:
        shutil.copytree(EXAMPLES / "notes", plugins / "notes")
        await next_event(stream, EventKind.ADDED, "notes")
        await runtime.wait_until_running("notes")
        session = alice(runtime)
        shutil.rmtree(plugins / "text-tool")
        await next_event(stream, EventKind.REMOVED, "text-tool")
        assert {tool.name for tool in await session.describe("notes")} == {"remember", "recall"}
