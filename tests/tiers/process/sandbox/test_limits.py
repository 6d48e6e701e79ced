"""What a plugin uses is bounded and told, whichever way it goes about it."""

import os
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.execution import Limits
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.tiers.process.program import ProgramEnd
from tests.tiers.process.sandbox.sandboxes import (
    NOBODY_ELSE,
    Folders,
    answer_of,
    complained,
    plan_of,
    python,
    running,
    said,
    shell,
)

MIB = 1 << 20
MEMORY = Limits(memory=64 * MIB)

PRIVATE = "b = bytearray(200 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"
SHARED = "import mmap\nm = mmap.mmap(-1, 200 << 20)\nfor i in range(0, len(m), 4096): m[i] = 1"
MEMFD = "import os\nf = os.memfd_create('x')\nfor i in range(200): os.write(f, b'x' * (1 << 20))"
TMPFS = "for i in range(200):\n  with open(f'/tmp/{i}', 'wb') as f: f.write(b'x' * (1 << 20))"
CHILD = f"import os\nif os.fork() == 0:\n  exec({PRIVATE!r})\nelse: raise SystemExit(os.wait()[1])"


@pytest.mark.parametrize("script", [PRIVATE, SHARED, MEMFD, CHILD])
async def test_memory_is_bounded_in_every_form_and_its_end_says_so(
    script: str, facts: HostFacts, folders: Folders
) -> None:
    if facts.cgroups is None:
        pytest.skip("no group of processes can be made here")
    plan = plan_of(python(f"{script}\nprint('got it')"), facts, folders, limits=MEMORY)
    text, end = await answer_of(plan, facts)
    assert text == ""
    assert end.out_of_memory
    assert str(end) == "was killed when it reached its memory limit"


async def test_a_plugin_that_ends_well_is_not_said_to_have_run_out_of_memory(
    facts: HostFacts, folders: Folders
) -> None:
    plan = plan_of(python("print('fine')"), facts, folders, limits=MEMORY)
    assert await answer_of(plan, facts) == ("fine\n", ProgramEnd(exit_status=0))


FORKS = (
    "import os, time\n"
    "made = 0\n"
    "try:\n"
    "  while made < 100:\n"
    "    if os.fork() == 0: time.sleep(1000)\n"
    "    made += 1\n"
    "except OSError as error: print(made, error.errno)\n"
)
THREADS = (
    "import threading, time\n"
    "made = 0\n"
    "try:\n"
    "  while made < 100:\n"
    "    threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()\n"
    "    made += 1\n"
    "except RuntimeError as error: print(made, 11)\n"
)


@pytest.mark.parametrize("script", [FORKS, THREADS])
@pytest.mark.parametrize("has_groups", [True, False])
async def test_processes_and_threads_are_bounded(
    *, script: str, has_groups: bool, facts: HostFacts, folders: Folders
) -> None:
    if has_groups and facts.cgroups is None:
        pytest.skip("no group of processes can be made here")
    here = facts if has_groups else attrs.evolve(facts, cgroups=None)
    script += "import sys; sys.stdout.flush(); os = __import__('os'); os._exit(0)"
    plan = plan_of(python(script), here, folders, limits=Limits(pids=20))
    if NOBODY_ELSE is not None:
        os.chown(folders.sockets, NOBODY_ELSE.uid, NOBODY_ELSE.gid)
    async with running(plan, here, identity=NOBODY_ELSE) as program:
        made, number = (await said(program)).split()
    assert 15 <= int(made) <= 20
    assert number == "11"  # EAGAIN


async def test_without_groups_each_process_has_its_bound_on_private_memory(
    facts: HostFacts, folders: Folders
) -> None:
    here = attrs.evolve(facts, cgroups=None)
    async with running(plan_of(python(PRIVATE), here, folders, limits=MEMORY), here) as program:
        assert "MemoryError" in await complained(program)
        assert await program.wait() == ProgramEnd(exit_status=1)
        assert program.usage() is None


async def test_open_files_and_the_size_of_a_file_are_bounded(
    facts: HostFacts, folders: Folders
) -> None:
    script = (
        "import resource as r\n"
        "print(r.getrlimit(r.RLIMIT_NOFILE), r.getrlimit(r.RLIMIT_CORE),"
        " r.getrlimit(r.RLIMIT_FSIZE))"
    )
    plan = plan_of(("/usr/bin/python3", "-c", script), facts, folders, limits=Limits(open_files=77))
    async with running(plan, facts, write_bytes_max=MIB) as program:
        assert await said(program) == f"(77, 77) (0, 0) ({MIB}, {MIB})\n"


async def test_what_it_uses_is_told(facts: HostFacts, folders: Folders) -> None:
    if facts.cgroups is None:
        pytest.skip("no group of processes can be made here")
    script = (
        "import time\nb = bytearray(30 << 20)\nend = time.process_time() + 0.05\n"
        "while time.process_time() < end: pass\nprint('up', flush=True)\ntime.sleep(1000)"
    )
    async with running(plan_of(python(script), facts, folders), facts) as program:
        await program.stdout.receive_some(10)
        usage = program.usage()
        assert usage is not None
        assert 30 * MIB < usage.memory_bytes < 100 * MIB
        assert 0.05 <= usage.cpu_s < 5
        assert usage.pids == 1
        program.kill()
        await program.wait()


async def test_processor_time_is_bounded(facts: HostFacts, folders: Folders) -> None:
    if facts.cgroups is None or "cpu" not in facts.cgroups.controllers:
        pytest.skip("no group of processes can be made here")
    plan = plan_of(shell("echo up; exec sleep 1000"), facts, folders, limits=Limits(cpu=0.2))
    async with running(plan, facts) as program:
        await program.stdout.receive_some(10)
        assert program._group is not None
        said_by_kernel = [
            file.read_text().split()[0]
            for folder in program._group.folders
            for name in ("cpu.max", "cpu.cfs_quota_us")
            if (file := Path(folder, name)).exists()
        ]
        # Version 1 shows a share of all processors where its time isn't counted.
        assert "20000" in said_by_kernel


async def test_the_plugin_is_in_its_group_before_it_runs(
    facts: HostFacts, folders: Folders
) -> None:
    if facts.cgroups is None:
        pytest.skip("no group of processes can be made here")
    async with running(plan_of(shell("exec sleep 1000"), facts, folders), facts) as program:
        assert program._group is not None
        for folder in program._group.folders:
            assert str(program.pid) in (folder / "cgroup.procs").read_text().split()
            with suppress(FileNotFoundError):
                assert (folder / "memory.limit_in_bytes").read_text() == f"{256 * MIB}\n"
    assert not any(folder.exists() for folder in program._group.folders)
