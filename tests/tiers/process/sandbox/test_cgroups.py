"""Groups of processes are made, bounded and removed; what a killed host left is swept."""

import fcntl
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.calls import Usage
from sigil_actors.core.host_facts import Cgroups, CgroupVersion
from sigil_actors.core.sandbox_plan import SandboxLimits
from sigil_actors.tiers.process.sandbox.cgroup_delegation import can_make_room, made_room
from sigil_actors.tiers.process.sandbox.cgroup_files import (
    PREFIX,
    read_memory_kills,
    read_usage,
    write_limits,
)
from sigil_actors.tiers.process.sandbox.cgroup_probe import probe_cgroups
from sigil_actors.tiers.process.sandbox.cgroups import open_cgroups
from tests.tiers.process.machine import is_alive

LIMITS = SandboxLimits(memory_bytes=64 << 20, pids=20, open_files=100, cpu=0.5)

UNIFIED = Path("/sys/fs/cgroup/unified")
"""Version 2 where version 1 is what has the controllers; it can still hold and kill processes."""


@pytest.fixture
def cgroups() -> Cgroups:
    found = probe_cgroups()
    if found is None:
        pytest.skip("no group of processes can be made here")
    return found


@pytest.fixture
def sleeper() -> Iterator[int]:
    with subprocess.Popen(["/bin/sleep", "1000"]) as process:
        yield process.pid
        process.kill()


async def test_a_group_is_bounded_and_gone_with_its_block(cgroups: Cgroups, sleeper: int) -> None:
    async with open_cgroups(cgroups) as maker:
        async with maker.open_group(LIMITS) as group:
            await group.make()
            await group.attach(sleeper)
            told = {
                file.name: file.read_text().strip()
                for folder in group.folders
                for name in ("memory.limit_in_bytes", "memory.max", "pids.max")
                if (file := folder / name).exists()
            }
            assert set(told.values()) == {str(64 << 20), "21"}
            assert group.memory_kills() == 0
            usage = group.usage()
            assert usage is not None
            assert usage.pids == 0  # one is bubblewrap's
        assert not any(folder.exists() for folder in group.folders)
        assert not is_alive(sleeper)
        places = maker.places
    assert not any(place.exists() for place in places)


async def test_what_a_killed_host_left_is_swept_and_what_a_living_one_has_is_not(
    cgroups: Cgroups, sleeper: int
) -> None:
    base = Path(cgroups.folders["pids"])
    left = base / f"{PREFIX}00000001"
    (left / "1").mkdir(parents=True)
    (left / "1" / "cgroup.procs").write_text(str(sleeper))
    held = base / f"{PREFIX}00000002"
    (held / "1").mkdir(parents=True)
    lock = os.open(held, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        async with open_cgroups(cgroups):
            assert not left.exists()
            assert not is_alive(sleeper)
            assert (held / "1").exists()
    finally:
        os.close(lock)
        (held / "1").rmdir()
        held.rmdir()


@pytest.mark.parametrize("name", ["sigil-actors.service", f"{PREFIX}of-mine", f"{PREFIX}0000000g"])
async def test_a_group_that_somebody_else_named_is_left_alone(
    cgroups: Cgroups, sleeper: int, name: str
) -> None:
    """As that of a service that is called after this project: what is swept is killed."""
    theirs = Path(cgroups.folders["pids"]) / name
    theirs.mkdir()
    try:
        (theirs / "cgroup.procs").write_text(str(sleeper))
        async with open_cgroups(cgroups):
            assert is_alive(sleeper)
    finally:
        (theirs.parent / "cgroup.procs").write_text(str(sleeper))
        theirs.rmdir()


async def test_version_2_kills_what_is_in_a_group_at_once(sleeper: int) -> None:
    if not os.access(UNIFIED / "cgroup.procs", os.W_OK):
        pytest.skip("version 2 isn't mounted beside version 1 here")
    facts = Cgroups(version=CgroupVersion.V2, controllers=frozenset(), folders={"": str(UNIFIED)})
    offered = (UNIFIED / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("no controller is left to version 2 here")
    facts = attrs.evolve(facts, folders={offered[0]: str(UNIFIED)})
    async with open_cgroups(facts) as maker:
        async with maker.open_group(LIMITS) as group:
            await group.make()
            await group.attach(sleeper)
            (folder,) = group.folders
            assert (folder / "cgroup.kill").exists()
            assert str(sleeper) in (folder / "cgroup.procs").read_text()
            assert (folder / "cgroup.controllers").read_text().split() == offered[:1]
        assert not folder.exists()
        assert not is_alive(sleeper)


def test_a_group_that_was_handed_to_the_host_gets_room_and_is_given_back() -> None:
    """Tried in a child, since a process that moves stays moved."""
    if not os.access(UNIFIED / "cgroup.procs", os.W_OK):
        pytest.skip("version 2 isn't mounted beside version 1 here")
    offered = (UNIFIED / "cgroup.controllers").read_text().split()
    if not offered:
        pytest.skip("no controller is left to version 2 here")
    delegated = UNIFIED / f"{PREFIX}test-{os.getpid()}"
    controllers = frozenset(offered[:1])
    with made_room(UNIFIED, frozenset()):  # nothing to do where nothing is asked for
        pass
    before = (UNIFIED / "cgroup.subtree_control").read_text()
    (UNIFIED / "cgroup.subtree_control").write_text(f"+{offered[0]}")
    delegated.mkdir()
    try:
        child = os.fork()
        if child == 0:
            status = 1
            try:
                (delegated / "cgroup.procs").write_text(str(os.getpid()))
                assert can_make_room(delegated, controllers)
                assert not can_make_room(delegated, frozenset({"nothing"}))
                with made_room(delegated, controllers):
                    assert (delegated / "cgroup.procs").read_text() == ""
                    bounded = delegated / "1"
                    bounded.mkdir()
                    assert (bounded / "cgroup.controllers").read_text().split() == offered[:1]
                    bounded.rmdir()
                assert (delegated / "cgroup.procs").read_text().split() == [str(os.getpid())]
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        delegated.rmdir()
        if offered[0] not in before.split():
            (UNIFIED / "cgroup.subtree_control").write_text(f"-{offered[0]}")


def test_the_files_of_version_2_are_written_and_read_as_the_kernel_has_them(
    tmp_path: Path,
) -> None:
    folders = dict.fromkeys(("memory", "pids", "cpu"), tmp_path)
    for name in ("memory.swap.max", "memory.oom.group"):
        (tmp_path / name).touch()
    write_limits(CgroupVersion.V2, folders, LIMITS)
    told = {file.name: file.read_text() for file in tmp_path.iterdir()}
    assert told == {
        "memory.max": str(64 << 20),
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "21",
        "cpu.max": "50000 100000",
    }
    (tmp_path / "memory.current").write_text("4096\n")
    (tmp_path / "pids.current").write_text("3\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    (tmp_path / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    usage = read_usage(CgroupVersion.V2, folders)
    assert usage == Usage(memory_bytes=4096, cpu_s=1.5, pids=2)
    assert read_memory_kills(CgroupVersion.V2, folders) == 1


def test_a_group_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    folders = dict.fromkeys(("memory", "pids", "cpu"), tmp_path / "gone")
    assert read_usage(CgroupVersion.V2, folders) is None
    assert read_memory_kills(CgroupVersion.V1, folders) == 0


def a_proc(root: Path, mounts: str, own: str) -> Path:
    proc = root / "proc"
    proc.mkdir()
    (proc / "mountinfo").write_text(mounts)
    (proc / "cgroup").write_text(own)
    return proc


def test_version_2_is_found_where_an_ancestor_hands_its_controllers_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mkdir, rmdir = Path.mkdir, Path.rmdir

    def make_group(folder: Path, *arguments: object, **named: object) -> None:
        mkdir(folder)
        if folder.name.startswith(PREFIX) and folder.parent.name == "app.slice":
            for name in ("cgroup.procs", "memory.max", "pids.max"):
                (folder / name).touch()

    def remove_group(folder: Path) -> None:
        for file in folder.iterdir():
            file.unlink()
        rmdir(folder)

    tree = tmp_path / "fs"
    own = tree / "user.slice" / "app.slice" / "me.scope"
    own.mkdir(parents=True)
    for folder in (own, own.parent):
        (folder / "cgroup.procs").touch()
    proc = a_proc(
        tmp_path,
        f"30 1 0:1 / {tree} rw - cgroup2 cgroup2 rw\n",
        "0::/user.slice/app.slice/me.scope\n",
    )
    monkeypatch.setattr(Path, "mkdir", make_group)
    monkeypatch.setattr(Path, "rmdir", remove_group)
    assert probe_cgroups(proc) == Cgroups(
        version=CgroupVersion.V2,
        controllers=frozenset({"memory", "pids"}),
        folders=dict.fromkeys(("memory", "pids"), str(own.parent)),
    )


def test_a_machine_without_any_groups_has_none(tmp_path: Path) -> None:
    assert probe_cgroups(a_proc(tmp_path, "30 1 0:1 / /tmp rw - tmpfs tmpfs rw\n", "")) is None
    assert probe_cgroups(tmp_path / "nothing") is None
