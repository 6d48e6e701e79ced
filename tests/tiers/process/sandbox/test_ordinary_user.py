"""A host that isn't root makes the same sandboxes, with what an ordinary user may do."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

UID = 1_901_100_000
SOURCE = Path(__file__).parents[4]

HOST = """
import attrs, os, sys, trio
from pathlib import Path
from sigil_actors.core.execution import FilesystemPolicy, Limits
from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.sandbox.probe import probe_host
from tests.tiers.process.sandbox.sandboxes import *

async def main():
    facts = await probe_host()
    folders = Folders.below(Path(sys.argv[1]))
    assert IDENTITY is None and facts.uid == os.getuid() != 0
    policy = FilesystemPolicy(write_allow=(str(folders.writable),))
    def plan(script, **named):
        return plan_of(shell(script), facts, folders, filesystem=policy, **named)
    script = (f"id -u; cat /proc/1/environ; echo x > {folders.writable}/x;"
        f" echo x > {folders.plugin}/x; ls /root; ls /proc/self/fd")
    text, end = await answer_of(plan(script), facts)
    print(text)
    assert text == "1000\\n0\\n1\\n2\\n3\\n", text
    assert (folders.writable / "x").exists() and not (folders.plugin / "x").exists()
    by_path = attrs.evolve(
        facts, bubblewrap=attrs.evolve(facts.bubblewrap, binds_by_descriptor=False))
    await answer_of(plan(f"rm {folders.writable}/x"), by_path)
    assert not (folders.writable / "x").exists()
    async with running(plan("echo up; exec sleep 1000", network=PROXY), facts) as program:
        await program.stdout.receive_some(10)
        assert program.proxy_listener is not None
        try: await program.connect_tcp(3129)
        except ConnectionRefusedError: print("refused")
        (await program.connect_tcp(3128)).close()
        program.terminate()
        print(await program.wait())
    folders.writable.chmod(0o555)
    try: await answer_of(plan("true"), facts)
    except PluginStartError as error: print(error)
    if facts.cgroups is None:
        for script in FORKS,:
            ended = await answer_of(plan_of(python(script), facts, folders,
                limits=Limits(pids=20, memory=64 << 20)), facts)
            print(ended[0])
trio.run(main)
"""

FORKS = (
    "import os, time, sys\nmade = 0\ntry:\n  while made < 100:\n"
    "    if os.fork() == 0: time.sleep(1000)\n    made += 1\n"
    "except OSError as error: print('bounded', 10 < made <= 20)\n"
    "try: bytearray(100 << 20)\nexcept MemoryError: print('memory too')\n"
    "sys.stdout.flush(); os._exit(0)\n"
)


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="sigil-test-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, UID, UID)
        yield folder
    finally:
        shutil.rmtree(folder)


def interpreter(user: dict[str, Any]) -> str:
    """Return a Python that this user can run, with a library as ours has it."""
    names = (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}")
    for name in names:
        try:
            if subprocess.run([name, "-c", ""], check=False, **user).returncode == 0:
                return name
        except OSError:
            continue
    pytest.skip("no Python here that an ordinary user can run")


def test_an_ordinary_user_has_sandboxes_that_hold(
    require: Callable[[str], None], home: Path
) -> None:
    require("bwrap")
    user: dict[str, Any] = (
        {"user": UID, "group": UID, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    ran = subprocess.run(
        [interpreter(user), "-c", f"FORKS = {FORKS!r}\n{HOST}", str(home)],
        env={
            "PYTHONPATH": f"{SOURCE}:{sysconfig.get_path('purelib')}",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **user,
    )
    assert ran.returncode == 0, ran.stderr
    assert "refused" in ran.stdout
    assert "was killed by SIGTERM" in ran.stdout
    assert "can't write in" in ran.stdout
    if os.geteuid() == 0:  # the user that was made up has no groups of processes
        assert "bounded True\nmemory too" in ran.stdout
