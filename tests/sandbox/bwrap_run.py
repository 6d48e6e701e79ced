"""Runs a plan with the real bubblewrap, in the plainest way: for tests of the plan alone."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from sigil_actors.core.bwrap_args import Slot, SlotPurpose, bwrap_options
from sigil_actors.core.host_facts import (
    ETC_NAMES,
    ROOT_NAMES,
    Bubblewrap,
    HostFacts,
    PathFact,
    PathKind,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_plan import SandboxPlan, paths_to_look_at, plan_sandbox

PYTHON_HOME = os.path.realpath(sys.base_prefix)
PYTHON = str(Path(PYTHON_HOME) / "bin" / f"python3.{sys.version_info.minor}")
"""The interpreter that runs the tests, without its virtual environment."""

RUN_S = 30.0


def this_machine() -> HostFacts:
    """Look at this machine, as far as a plan needs it."""
    found = shutil.which("bwrap") or "bwrap"
    asked = subprocess.run([found, "--help"], capture_output=True, text=True, check=True)
    return HostFacts(
        platform=sys.platform,
        architecture=platform.machine(),
        kernel=platform.release(),
        uid=os.getuid(),
        home=str(Path.home()),
        bubblewrap=Bubblewrap(
            path=found, version=(0, 8), binds_by_descriptor="--ro-bind-fd" in asked.stdout
        ),
        root_entries={
            place.name: str(place.readlink()) if place.is_symlink() else None
            for place in map(Path("/").joinpath, ROOT_NAMES)
            if place.is_symlink() or place.exists()
        },
        etc_entries={
            name: os.path.realpath(f"/etc/{name}")
            for name in ETC_NAMES
            if Path("/etc", name).exists()
        },
    )


def fact(path: str) -> PathFact:
    place = Path(path)
    kind = PathKind.FILE if place.exists() else PathKind.MISSING
    return PathFact(
        kind=PathKind.FOLDER if place.is_dir() else kind, resolved=os.path.realpath(path)
    )


def plan_here(one: Manifest, *, folder: Path, socket_dir: Path) -> SandboxPlan:
    facts = this_machine()
    return plan_sandbox(
        one,
        facts,
        folder=str(folder),
        socket_dir=str(socket_dir),
        environment={"SIGIL_PLUGIN": "cookie"},
        paths={path: fact(path) for path in paths_to_look_at(one, home=facts.home)},
    )


@contextmanager
def descriptors(slots: tuple[Slot, ...]) -> Iterator[Mapping[Slot, int]]:
    """Open what the options need; the status is thrown away, and nothing is held up."""
    with ExitStack() as stack:

        def kept(descriptor: int) -> int:
            stack.callback(os.close, descriptor)
            return descriptor

        numbers = {}
        for slot in slots:
            match slot.purpose:
                case SlotPurpose.CONTENT | SlotPurpose.SECCOMP:
                    numbers[slot] = kept(content(slot.content))
                case SlotPurpose.FOLDER:
                    numbers[slot] = kept(os.open(slot.path, os.O_PATH | os.O_CLOEXEC))
                case SlotPurpose.STATUS:
                    numbers[slot] = kept(os.open("/dev/null", os.O_WRONLY))
                case SlotPurpose.BLOCK:
                    numbers[slot] = kept(os.open("/dev/zero", os.O_RDONLY))
        yield numbers


def content(text: bytes) -> int:
    descriptor = os.memfd_create("content")
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def run(plan: SandboxPlan, bubblewrap: Bubblewrap) -> subprocess.CompletedProcess[str]:
    options = bwrap_options(plan, bubblewrap)
    with descriptors(options.slots()) as numbers:
        block = content(options.block(numbers))
        try:
            return subprocess.run(
                [bubblewrap.path, "--args", str(block), "--", *plan.command],
                env={},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                pass_fds=[*numbers.values(), block],
                timeout=RUN_S,
                check=False,
            )
        finally:
            os.close(block)
