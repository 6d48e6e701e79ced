"""The example plugin that measures of the whole stack run: a Wasm guest that calls no host."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from benchmarks.harness import BenchmarkError
from sigil_actors import AuditStore, CapabilitySet, Runtime, Session, open_runtime
from sigil_actors.core.json_value import JsonObject
from sigil_actors.runtime.discovery import Found, read_plugin

FOLDER: Final = Path(__file__).parents[1] / "examples" / "plugins" / "text-tool"
PLUGIN: Final = "text-tool"
TOOL: Final = "find"
ARGUMENTS: Final[JsonObject] = {"text": "a line\nthe wanted line\n", "wanted": "wanted"}


@asynccontextmanager
async def open_text_tool(audit_store: AuditStore) -> AsyncGenerator[tuple[Runtime, Session]]:
    """Run it alone, and give the runtime and a session that may do everything.

    Raises:
        BenchmarkError: the example's manifest isn't one.
    """
    found = read_plugin(FOLDER, tiers=("wasm",))
    if not isinstance(found, Found):
        raise BenchmarkError(f"the example {FOLDER} is broken: {found}")
    everything = CapabilitySet("*")
    async with open_runtime(manifests=[found], audit_store=audit_store) as runtime:
        await runtime.wait_until_running(PLUGIN)
        yield (
            runtime,
            runtime.session(
                workspace_id="ws-1",
                workspace_allow=everything,
                user_id="user-1",
                user_permissions=everything,
            ),
        )
