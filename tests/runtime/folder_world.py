"""Plugins in real folders over a fake tier: what an instance says is what its files say.

On real time, since files are read by threads; whatever is waited for has a bound.
"""

import json
import shutil
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors import (
    AuditStore,
    MemoryAuditStore,
    Runtime,
    RuntimeSettings,
    open_runtime,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.runtime.events import EventKind, EventStream, RuntimeEvent
from sigil_actors.runtime.plugin_set import PluginSet
from sigil_actors.runtime.rescan import RescanResult, RescanWord
from sigil_actors.testing import FakePlugin, FakeTier, Script, ScriptCrash
from tests.runtime.world import alice

BOUND_S = 30.0
"""What anything that a test waits for may take: far more than it does on a slow machine."""

CODE = "code"
"""The file that stands for a plugin's code: its text is what the plugin answers."""


class FolderTier(FakeTier):
    """Runs what is in the snapshot that it is given."""

    def __init__(self, *, kind: str = "wasm") -> None:
        super().__init__(kind=kind)
        self.ran: list[tuple[str, int, str]] = []
        """Every instance that was started: plugin, generation, what its code says."""
        self.folders: list[Path] = []
        """Where each of them ran from."""
        self.release = trio.Event()
        """Lets the calls of the tool `slow` end."""
        self.inside = trio.Event()
        """Set once a call of `slow` is in a plugin."""
        self.behaviour: dict[str, FakePlugin] = {}
        """How an instance with that code behaves, besides its tools."""

    @asynccontextmanager
    async def open(self, launch: Launch) -> AsyncGenerator[TierSession]:
        assert launch.folder is not None
        code = (launch.folder / CODE).read_text()
        self.ran.append((launch.plugin, launch.generation, code))
        self.folders.append(launch.folder)
        behaviour = self.behaviour.get(code, FakePlugin())
        self.set_plugin(launch.plugin, attrs.evolve(behaviour, tools=self._tools(code)))
        async with super().open(launch) as session:
            yield session

    def started(self, name: str) -> list[str]:
        """Return what the code of each of a plugin's instances said, in order."""
        return [code for plugin, _generation, code in self.ran if plugin == name]

    def _tools(self, code: str) -> dict[str, Script]:
        async def who(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
            yield code

        async def slow(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
            self.inside.set()
            await self.release.wait()
            yield code

        async def crash(_request: ExecuteRequest, _host: HostFunctions) -> AsyncGenerator[str]:
            yield code
            raise ScriptCrash("as asked")

        return {"who": who, "slow": slow, "crash": crash}


@attrs.frozen
class FolderWorld:
    """A runtime over a plugins folder, and what a test looks at."""

    runtime: Runtime
    tier: FolderTier
    store: MemoryAuditStore

    async def ask(self, name: str, tool: str = "who") -> str:
        with trio.fail_after(BOUND_S):
            return await alice(self.runtime).execute_text(name, tool)

    async def rescan(self) -> dict[str, RescanWord]:
        """Rescan, and return what became of each plugin."""
        return {result.plugin: result.what for result in await self.results()}

    async def results(self) -> Sequence[RescanResult]:
        with trio.fail_after(BOUND_S):
            return await self.runtime.rescan()

    async def running(self, name: str) -> None:
        with trio.fail_after(BOUND_S):
            await self.runtime.wait_until_running(name)

    async def changed(self, name: str) -> None:
        """Wait until anything about a plugin changes."""
        plugins: PluginSet = vars(self.runtime)["_plugins"]
        await plugins.get(name).wait_changed()

    def generations(self, name: str) -> list[int]:
        """Return the generations of a plugin that live."""
        node = self.runtime.tree().find(name)
        return [] if node is None else [one.generation for one in node.children]


def write_plugin(
    plugins: Path,
    name: str,
    code: str = "one",
    *,
    folder: str = "",
    version: str = "1.0.0",
    capabilities: Sequence[str] = ("tool.*",),
    lines: Sequence[str] = (),
) -> Path:
    """Write a plugin's folder, or over the one that is there."""
    path = plugins / (folder or name)
    path.mkdir(parents=True, exist_ok=True)
    manifest = [
        f"name: {name}",
        f"version: {version}",
        "type: tool",
        'engine: ">= 1.0.0"',
        f"capabilities: {json.dumps(list(capabilities))}",
        "execution: {tier: wasm}",
        *lines,
    ]
    (path / "plugin.yaml").write_text("\n".join(manifest) + "\n")
    (path / CODE).write_text(code)
    return path


def break_plugin(plugins: Path, name: str) -> None:
    """Make a plugin's manifest one that is refused."""
    (plugins / name / "plugin.yaml").write_text(f"name: {name}\nversion: [1]\n")


def remove_plugin(plugins: Path, name: str) -> None:
    shutil.rmtree(plugins / name)


@asynccontextmanager
async def open_folder_world(
    plugins: Path,
    *,
    tier: FolderTier | None = None,
    settings: RuntimeSettings | None = None,
    state_dir: Path | None = None,
    audit_store: Callable[[MemoryAuditStore], AuditStore] = lambda store: store,
    wait: bool = True,
) -> AsyncGenerator[FolderWorld]:
    """Run the plugins of a folder; it isn't watched unless the settings say so."""
    tier, store = tier or FolderTier(), MemoryAuditStore()
    async with open_runtime(
        plugins,
        audit_store=audit_store(store),
        tiers=[tier],
        settings=settings or RuntimeSettings(watch_plugins=False),
        state_dir=state_dir,
    ) as runtime:
        world = FolderWorld(runtime, tier, store)
        for status in runtime.list() if wait else ():
            await world.running(status.name)
        yield world


async def next_event(
    stream: EventStream, kind: EventKind, plugin: str | None = None
) -> RuntimeEvent:
    """Return the next event of that kind, passing over others."""
    with trio.fail_after(BOUND_S):
        async for event in stream:
            if event.kind is kind and plugin in (None, event.plugin):
                return event
    raise AssertionError("the stream ended")


async def until(condition: Callable[[], object], runtime: Runtime) -> None:
    """Wait until something holds; looked at with every event of the runtime."""
    with trio.fail_after(BOUND_S):
        async with runtime.events() as stream:
            while not condition():
                await anext(stream)
