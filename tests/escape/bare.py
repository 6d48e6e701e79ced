"""Runs an attack without a sandbox, to show that it is one."""

import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from tests.escape.world import World

PATIENCE_S = 30
HEARTBEATS_S = 0.2
"""Twenty beats, were it alive."""
MOVED = 2
"""More than one that was being written while its process was ended."""
PYTHON = "/usr/bin/python3"
"""An interpreter below /usr, since that is all that a sandbox shows of the machine."""


def command_of(name: str, world: World, *, proxy: str) -> list[str]:
    """Return the command that runs one attack, in a sandbox or not."""
    facts = json.dumps(world.facts(proxy=proxy))
    return [PYTHON, "-I", "-S", str(world.plugin / "run_attack.py"), name, facts]


def run_bare(name: str, world: World) -> dict[str, str]:
    """Run one attack as the caller's own user; return `{"through": …}` or `{"held": …}`."""
    with (world.root / "host" / "secret").open("rb") as leaked:
        done = subprocess.run(
            [
                # A shell between: whoever starts a plugin has the secret in its environment.
                "/bin/sh", "-c", '"$@"; exit $?', "sh",
                *command_of(name, world, proxy=""),
            ],
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env={"SIGIL_TEST_SECRET": world.secret, "HOME": str(world.home), "PATH": "/usr/bin"},
            pass_fds=(leaked.fileno(),),
            cwd=world.root,
        )  # fmt: skip
    try:
        return judged(done.returncode, done.stdout, done.stderr, world)
    finally:
        clean_up(world)


def judged(status: int, output: bytes, errors: bytes, world: World) -> dict[str, str]:
    """Return what an attack came to, from how it ended.

    Raises:
        AssertionError: the attack itself is broken.
    """
    if status < 0 or status >= 128:
        return {"held": f"ended by {status}: {errors.decode(errors='replace')[-200:]}"}
    assert output, f"exit {status}: {errors.decode(errors='replace')[-2000:]}"
    told: dict[str, str] = json.loads(output.splitlines()[-1])
    if told.get("through") == "judged from outside" and not beats(world):
        return {"held": "what it left was ended"}
    return told


def beats(world: World) -> bool:
    """Tell whether what an attack left behind goes on; ids inside a sandbox aren't the host's."""
    marker = world.writable / "heartbeat"
    seen = {marker.read_text()}
    until = time.monotonic() + HEARTBEATS_S
    while time.monotonic() < until:
        seen.add(marker.read_text())
    return len(seen - {""}) > MOVED


def clean_up(world: World) -> None:
    """Empty the folder that an attack may write, and end what it left running on the host.

    By what its command line says, never by a number that an attack wrote: inside a sandbox the
    numbers are others, and a file may be half-written.
    """
    shutil.rmtree(world.writable / "hoard", ignore_errors=True)
    (world.writable / "heartbeat").unlink(missing_ok=True)
    program = str(world.plugin / "run_attack.py").encode()
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            if program in (process / "cmdline").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
