"""The example in Go and the hostile one do what they say, through a whole runtime."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sigil_actors import (
    AuditFilter,
    CapabilitySet,
    MemoryAuditStore,
    Runtime,
    Session,
    open_runtime,
)
from sigil_actors.errors import CapabilityDeniedError
from tests.sdk.plugin_python import PluginPython, plugin_python

__all__ = ["plugin_python"]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def plugins(require: Callable[[str], None]) -> Iterator[Path]:
    """Give a plugins folder that any plugin's own user can pass."""
    require("bwrap")
    folder = Path(tempfile.mkdtemp(prefix="sigil-examples-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@asynccontextmanager
async def running(plugins: Path, name: str, store: MemoryAuditStore) -> AsyncGenerator[Runtime]:
    async with open_runtime(plugins, audit_store=store) as runtime:
        await runtime.wait_until_running(name)
        yield runtime


def session(runtime: Runtime, permissions: str = "*") -> Session:
    return runtime.session(
        workspace_id="ws-1",
        workspace_allow=CapabilitySet("*"),
        user_id="alice",
        user_permissions=CapabilitySet(permissions),
    )


@pytest.fixture(scope="session")
def go_tool(require: Callable[[str], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the example as its manifest says."""
    require("go")
    built = tmp_path_factory.mktemp("go-tool") / "go-tool"
    done = subprocess.run(
        ["go", "build", "-mod=readonly", "-o", built, "."],
        cwd=EXAMPLES / "go-plugins" / "go-tool",
        env=os.environ | {"CGO_ENABLED": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return built


async def test_the_tool_in_go_counts_and_keeps_its_sum_with_the_host(
    plugins: Path, go_tool: Path
) -> None:
    folder = plugins / "go-tool"
    folder.mkdir()
    shutil.copy(EXAMPLES / "go-plugins" / "go-tool" / "plugin.yaml", folder)
    shutil.copy(go_tool, folder)
    store = MemoryAuditStore()
    async with running(plugins, "go-tool", store) as runtime:
        alice = session(runtime)
        assert [tool.name for tool in await alice.describe("go-tool")] == ["words", "count"]
        async with alice.execute("go-tool", "words", {"text": "one two"}) as chunks:
            assert [chunk async for chunk in chunks] == ["one", "two"]
        for total in ("2", "4"):
            answer = await alice.execute_text("go-tool", "count", {"text": "one two"})
            assert answer == f"{total} words so far"
        usage = runtime.get("go-tool").usage
        assert usage is not None
        assert usage.memory_bytes > 0
        with pytest.raises(CapabilityDeniedError):
            await session(runtime, "tool.words").execute_text("go-tool", "count", {"text": "x"})
    proofs = await store.query(AuditFilter(action="sandbox_proof"))
    assert [(proof.plugin, proof.result) for proof in proofs] == [("go-tool", "holds")]


async def test_the_hostile_plugin_gets_nothing(plugins: Path, plugin_python: PluginPython) -> None:
    folder = plugins / "python-hostile"
    shutil.copytree(EXAMPLES / "python-plugins" / "python-hostile", folder)
    manifest = folder / "plugin.yaml"
    manifest.write_text(plugin_python.put_into(manifest.read_text()))
    async with running(plugins, "python-hostile", MemoryAuditStore()) as runtime:
        told = await session(runtime).execute_text("python-hostile", "try-everything", {})
    lines = told.splitlines()
    assert len(lines) == 12
    assert [line for line in lines if not line.startswith("held: ")] == []
