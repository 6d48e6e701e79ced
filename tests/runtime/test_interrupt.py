"""A KeyboardInterrupt at any moment of a burst of calls ends the runtime in its own order."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_actors import AuditFilter, SqliteAuditStore, verify_log

INTERRUPTS = 10
DROPPED_WITHIN_S = 10
"""Far longer than an orderly end takes."""


def interrupted(folder: Path, life: int, tier: str) -> str:
    """Run a child, interrupt it after some calls; return what it said of its end."""
    child = Path(__file__).with_name("caller_child.py")
    with subprocess.Popen(
        [sys.executable, str(child), str(folder), "0", tier],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as caller:
        assert caller.stdout is not None
        caller.stdout.read(8 * random.Random(life).randint(1, 60))
        caller.send_signal(signal.SIGINT)
        try:
            _said, told = caller.communicate(timeout=DROPPED_WITHIN_S)
        except subprocess.TimeoutExpired:
            # Python drops an interrupt that hits the callback of a weak reference, of which trio
            # keeps one for each asynchronous generator. Whoever pressed the key presses it again.
            caller.send_signal(signal.SIGINT)
            _said, told = caller.communicate(timeout=DROPPED_WITHIN_S)
            assert "Exception ignored in" in told.decode()
    assert caller.returncode == 1
    return told.decode()


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["wasm", "fake"])
async def test_an_interrupt_at_any_moment_is_an_orderly_end(tmp_path: Path, tier: str) -> None:
    for life in range(INTERRUPTS):
        folder = tmp_path / str(life)
        folder.mkdir()
        told = interrupted(folder, life, tier)
        assert "KeyboardInterrupt" in told
        # What isn't the callers' own may not be hit: the enforcer would be gone before the plugins.
        assert "ActorDownError" not in told, told
        assert "TrioInternalError" not in told, told
        assert verify_log(folder / "audit").first_bad is None
        async with SqliteAuditStore(folder / "audit") as store:
            steps = await store.query(AuditFilter(action="lifecycle"))
        assert steps[-1].result in ("stopped", "error"), f"interrupt {life}"
        assert not list((folder / "state").glob("snapshots/*")), f"interrupt {life}"
