"""Nothing of a sandbox is left: after its block, and after its host was killed at any moment."""

import fcntl
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import trio

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.errors import SigilError
from sigil_actors.tiers.process.sandbox import launch
from sigil_actors.tiers.process.sandbox.cgroup_files import PREFIX
from sigil_actors.tiers.process.sandbox.cgroups import open_cgroups
from sigil_actors.tiers.process.sandbox.launch import open_sandboxed_program
from tests.tiers.process.machine import children, descriptors, eventually, is_alive
from tests.tiers.process.sandbox.sandboxes import (
    IDENTITY,
    PROXY,
    Folders,
    open_host,
    plan_of,
    shell,
)

LAUNCHES = 30
KILLS = int(os.environ.get("SIGIL_KILLS", "6"))
"""Hosts that are killed; the long run of `make escape` sets more."""


async def test_thirty_launches_leave_no_descriptor_process_group_or_file(
    facts: HostFacts, folders: Folders
) -> None:
    async with open_host(facts) as host:
        plan = plan_of(shell("setsid sleep 1000 & exit 0"), facts, folders, network=PROXY)
        before = None
        for _ in range(LAUNCHES):
            async with open_sandboxed_program(plan, host=host, identity=IDENTITY) as program:
                await program.wait()
            # The first one starts the program that enters namespaces.
            before = before or (descriptors(), children(), _files(folders.root))
        assert (descriptors(), children(), _files(folders.root)) == before
        places = [] if host.cgroups is None else host.cgroups.places
        assert not [group for place in places for group in place.glob("*/")]
    assert not any(place.exists() for place in places)


def _files(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def _groups(facts: HostFacts) -> list[str]:
    bases = set() if facts.cgroups is None else set(facts.cgroups.folders.values())
    return sorted(str(path) for base in bases for path in Path(base).glob(f"{PREFIX}*/*/"))


HOST = """
import sys, trio
from pathlib import Path
from sigil_actors.tiers.process.sandbox.launch import open_sandboxed_program
from sigil_actors.tiers.process.sandbox.probe import probe_host
from tests.tiers.process.sandbox.sandboxes import (
    IDENTITY, PROXY, Folders, open_host, plan_of, shell)
async def main():
    facts = await probe_host(IDENTITY)
    folders = Folders(root=Path(sys.argv[1]))
    plan = plan_of(shell(f"setsid sleep {sys.argv[2]} & exec sleep {sys.argv[2]}"),
        facts, folders, network=PROXY)
    async with open_host(facts) as host:
        print("up", flush=True)
        while True:
            with trio.move_on_after(0.03):
                async with open_sandboxed_program(plan, host=host, identity=IDENTITY) as program:
                    await program.wait()
trio.run(main)
"""


@pytest.mark.slow
def test_a_host_killed_at_any_moment_leaves_no_process(facts: HostFacts, folders: Folders) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)  # noqa: T201 - to have it in a failure
    moments = random.Random(seed)
    mark = str(random.randrange(100_000, 999_999))
    for _ in range(KILLS):
        with _host(HOST, folders, mark) as host:
            trio.run(trio.sleep, moments.random() * 0.06)
            family = _descendants(host.pid)
            host.kill()
        trio.run(_until_gone, family, mark)
    if facts.cgroups is not None:
        trio.run(_sweep, facts)
        assert not [group for group in _groups(facts) if _is_free(Path(group).parent)]


HELD_HOST = HOST.replace(
    "    async with open_host",
    "    stub = Path(sys.argv[1], 'stub')\n"
    "    stub.write_text(f'#!/bin/sh\\nexec sleep {sys.argv[2]}\\n')\n"
    "    stub.chmod(0o755)\n"
    "    import attrs\n"
    "    facts = attrs.evolve(facts, bubblewrap=attrs.evolve(facts.bubblewrap, path=str(stub)))\n"
    "    async with open_host",
).replace("trio.move_on_after(0.03)", "trio.move_on_after(1000)")


def test_a_host_killed_before_it_knows_of_bubblewrap_leaves_no_bubblewrap(
    facts: HostFacts, folders: Folders
) -> None:
    """What runs in bubblewrap's place tells nothing and waits for nobody."""
    mark = str(random.randrange(100_000, 999_999))
    with _host(HELD_HOST, folders, mark) as host:
        trio.run(_until_there, f"sleep\0{mark}")
        host.kill()
    trio.run(_until_gone, [], f"sleep\0{mark}")


async def _until_there(mark: str) -> None:
    await eventually(lambda: bool(_marked(mark)))


@contextmanager
def _host(program: str, folders: Folders, mark: str) -> Iterator[subprocess.Popen[bytes]]:
    host = subprocess.Popen(
        [sys.executable, "-c", program, str(folders.root), mark],
        stdout=subprocess.PIPE,
        env={"PYTHONPATH": str(Path(__file__).parents[4]), "PATH": os.environ["PATH"]},
    )
    assert host.stdout is not None
    with host, host.stdout:
        assert host.stdout.readline() == b"up\n"
        try:
            yield host
        finally:
            host.kill()


async def _until_gone(family: list[int], mark: str) -> None:
    await eventually(lambda: not any(map(is_alive, [*family, *_marked(mark)])))


async def _sweep(facts: HostFacts) -> None:
    assert facts.cgroups is not None
    async with open_cgroups(facts.cgroups):
        pass


def _is_free(folder: Path) -> bool:
    """Tell whether no living host holds the place."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True
    return False


def _descendants(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(OSError):
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *_descendants(child)]
    return found


def _marked(mark: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if entry.name.isdigit() and mark in (entry / "cmdline").read_text():
                found.append(int(entry.name))
    return found


async def test_a_sandbox_that_is_killed_leaves_no_zombie_to_others(
    facts: HostFacts, folders: Folders
) -> None:
    async with open_host(facts) as host:
        plan = plan_of(shell("exec sleep 1000"), facts, folders)
        async with open_sandboxed_program(plan, host=host, identity=IDENTITY) as program:
            killed = program._first.pid
            program.kill()
            await program.wait()
            assert not Path(f"/proc/{killed}").exists()
        async with open_sandboxed_program(plan, host=host, identity=IDENTITY) as program:
            left = program._first.pid
        assert not Path(f"/proc/{left}").exists()


async def test_bubblewrap_killed_while_it_is_held_leaves_nothing_and_starts_nothing(
    facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    bind = launch._bind
    seen: list[int] = []

    async def kill_and_bind(plugin, child, first, *rest):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN202
        os.kill(child.pid, signal.SIGKILL)
        seen.append(first.pid)
        await bind(plugin, child, first, *rest)

    monkeypatch.setattr(launch, "_bind", kill_and_bind)
    plan = plan_of(shell(f"echo ran > {folders.sockets}/ran; exec sleep 1000"), facts, folders)
    async with open_host(facts) as host:
        with suppress(SigilError):
            async with open_sandboxed_program(plan, host=host, identity=IDENTITY) as program:
                await program.wait()
    assert len(seen) == 1
    assert not is_alive(seen[0])
