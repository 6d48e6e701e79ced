"""A writer that is killed in the middle loses nothing that it acknowledged."""

import random
import signal
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sigil_actors.audit.verify import verify_log

KILLS = 20


def acknowledged_before_a_kill(folder: Path, seed: int) -> int:
    """Run a writer, kill it after some of its appends, return the last number it acknowledged."""
    appends = random.Random(seed).randint(1, 60)
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("writer_child.py")), str(folder), str(seed)],
        stdout=subprocess.PIPE,
    ) as writer:
        try:
            assert writer.stdout is not None
            said = writer.stdout.read(8 * appends)
        finally:
            writer.send_signal(signal.SIGKILL)
        said += writer.stdout.read()  # what it acknowledged while the signal was on its way
    assert writer.returncode == -signal.SIGKILL
    whole = len(said) // 8
    last: int = struct.unpack_from("<q", said, 8 * (whole - 1))[0]
    return last


@pytest.mark.slow
def test_every_acknowledged_entry_survives_twenty_kills(folder: Path) -> None:
    stored = 0
    for seed in range(KILLS):
        acknowledged = acknowledged_before_a_kill(folder, seed)
        report = verify_log(folder)
        assert report.first_bad is None, f"after kill {seed}"
        assert report.entries >= acknowledged > stored, f"after kill {seed}"
        stored = report.entries
