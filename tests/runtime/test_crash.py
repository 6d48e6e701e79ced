"""A runtime that is killed in the middle of a burst of calls has recorded all that came back."""

import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_actors import AuditFilter, SqliteAuditStore, verify_log

KILLS = 20
CALLS_MAX = 100_000
"""More than one life of the child ever makes, so that no two lives share a number."""


def calls_before_a_kill(folder: Path, life: int, tier: str) -> list[int]:
    """Run a child, kill it after some calls; return the calls that it had the answers of."""
    calls = random.Random(life).randint(1, 200)
    child = Path(__file__).with_name("caller_child.py")
    with subprocess.Popen(
        [sys.executable, str(child), str(folder), str(life * CALLS_MAX), tier],
        stdout=subprocess.PIPE,
    ) as caller:
        try:
            assert caller.stdout is not None
            said = caller.stdout.read(8 * calls)
        finally:
            caller.send_signal(signal.SIGKILL)
        said += caller.stdout.read()  # what it said while the signal was on its way
    assert caller.returncode == -signal.SIGKILL
    whole = len(said) // 8
    assert whole >= calls
    return list(struct.unpack(f"<{whole}q", said[: 8 * whole]))


async def calls_on_record(folder: Path, after: int) -> tuple[set[int], int]:
    """Return the calls whose decision is in the log after that entry, and the last entry."""
    entries = await SqliteAuditStore(folder).query(AuditFilter(after_seq=after))
    checks = {
        int(entry.session_id.removeprefix("call-"))
        for entry in entries
        if entry.action == "capability_check" and entry.result == "allowed"
    }
    return checks, entries[-1].seq


@pytest.mark.slow
@pytest.mark.parametrize("tier", ["wasm", "fake"])
async def test_every_answered_call_is_on_record_after_twenty_kills(
    tmp_path: Path, tier: str
) -> None:
    last = 0
    for life in range(KILLS):
        answered = calls_before_a_kill(tmp_path, life, tier)
        report = verify_log(tmp_path / "audit")
        assert report.first_bad is None, f"after kill {life}"
        recorded, last = await calls_on_record(tmp_path / "audit", last)
        assert report.entries == last, f"after kill {life}"
        assert set(answered) <= recorded, f"after kill {life}"
