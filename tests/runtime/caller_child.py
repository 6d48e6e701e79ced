"""Calls a plugin in a burst until it is killed, for test_crash.py: `FOLDER FIRST TIER`.

The number of each call whose answer is here goes to standard output, 8 bytes each. The call's
entries are found by its session, which has the number in its name. The plugin runs in the Wasm
tier, or in a fake one whose answers come so soon that a decision would have to be on the disk
before them by chance, if it weren't by order.
"""

import signal
import struct
import sys
from itertools import count
from pathlib import Path

import trio

from sigil_actors import CapabilitySet, Runtime, SqliteAuditStore, open_runtime
from sigil_actors.ports.tier import Tier
from sigil_actors.runtime.discovery import Found, read_plugin
from sigil_actors.testing.fake_tier import FakePlugin, FakeTier
from sigil_actors.tiers.wasm import WasmTier

PLUGIN = Path(__file__).parents[2] / "examples" / "plugins" / "text-tool"
CALLERS = 16
EVERYTHING = CapabilitySet("*")


async def keep_calling(runtime: Runtime, numbers: "count[int]") -> None:
    for number in numbers:
        session = runtime.session(
            workspace_id="ws-1",
            workspace_allow=EVERYTHING,
            user_id="alice",
            user_permissions=EVERYTHING,
            session_id=f"call-{number}",
        )
        answer = await session.execute_text(
            "text-tool", "find", {"text": f"line {number}", "wanted": "line"}
        )
        assert str(number) in answer
        sys.stdout.buffer.write(struct.pack("<q", number))
        sys.stdout.buffer.flush()


async def call(folder: Path, first: int, tier: Tier) -> None:
    """Call for ever."""
    found = read_plugin(PLUGIN, tiers=("wasm",))
    assert isinstance(found, Found)
    async with open_runtime(
        manifests=[found],
        audit_store=SqliteAuditStore(folder / "audit"),
        state_dir=folder / "state",
        tiers=[tier],
    ) as runtime:
        await runtime.wait_until_running("text-tool")
        numbers = count(first)
        async with trio.open_nursery() as nursery:
            for _ in range(CALLERS):
                nursery.start_soon(keep_calling, runtime, numbers)


def chosen_tier(name: str) -> Tier:
    if name == "wasm":
        return WasmTier()
    echo = FakePlugin().tools["echo"]
    return FakeTier({"text-tool": FakePlugin(tools={"find": echo})})


if __name__ == "__main__":
    # Whoever runs the tests in the background has it ignored, which is inherited.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.alarm(60)  # whoever started it waits for what it says, and must not wait for ever
    trio.run(call, Path(sys.argv[1]), int(sys.argv[2]), chosen_tier(sys.argv[3]))
