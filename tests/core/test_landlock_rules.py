"""The second layer allows what the plan shows, and no more."""

import attrs
import pytest

from sigil_actors.core.execution import (
    FilesystemPolicy,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
)
from sigil_actors.core.host_facts import Bubblewrap, HostFacts
from sigil_actors.core.landlock_rules import (
    PROGRAM,
    VERSION_MAX,
    Access,
    confined_plan,
    landlock_rules,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import Bind, Sealed, SyntheticFile
from sigil_actors.core.sandbox_plan import SandboxPlan, plan_sandbox

FACTS = HostFacts(
    platform="linux",
    architecture="x86_64",
    kernel="6.1",
    uid=1000,
    home="/home/me",
    bubblewrap=Bubblewrap(path="/usr/bin/bwrap", version=(0, 11, 0), binds_by_descriptor=True),
    root_entries={"lib": "usr/lib", "opt": None},
    etc_entries={"ld.so.cache": "/etc/ld.so.cache"},
)


@pytest.fixture
def plan() -> SandboxPlan:
    filesystem = FilesystemPolicy(write_allow=("/data/self",), read_allow=("/opt/model",))
    manifest = Manifest(
        name="p",
        version="1.0.0",
        type=PluginType.TOOL,
        execution=ProcessExecution(
            command=("./p", "--flag"), sandbox=SandboxPolicy(filesystem=filesystem)
        ),
    )
    return plan_sandbox(
        manifest,
        FACTS,
        folder="/snapshots/p",
        socket_dir="/sockets/p",
        environment={},
        paths={},
    )


def test_each_thing_that_is_shown_may_be_opened_as_it_is_shown(plan: SandboxPlan) -> None:
    rules = {path: access for access, path in landlock_rules(plan)}
    assert rules["/usr"] is Access.READ
    assert rules["/snapshots/p"] is Access.READ
    assert rules["/opt/model"] is Access.READ
    assert rules["/data/p"] is Access.WRITE
    assert rules["/sockets/p"] is Access.WRITE
    assert rules["/tmp"] is Access.WRITE
    assert rules["/proc"] is Access.DEVICE
    assert rules["/dev"] is Access.DEVICE
    assert rules["/"] is Access.LIST


def test_nothing_may_be_opened_that_no_mount_shows(plan: SandboxPlan) -> None:
    shown = {getattr(mount, "target", getattr(mount, "path", "")) for mount in plan.mounts}
    assert {path for access, path in landlock_rules(plan) if access is not Access.LIST} <= shown
    assert [path for access, path in landlock_rules(plan) if access is Access.LIST] == ["/"]


def test_what_is_writable_by_one_mount_stays_so(plan: SandboxPlan) -> None:
    again = Bind(source="/x", target="/data/p", why="a test")
    more = attrs.evolve(plan, mounts=(*plan.mounts, again))
    assert (Access.WRITE, "/data/p") in landlock_rules(more)


def test_a_pin_allows_nothing(plan: SandboxPlan) -> None:
    pin = Bind(source="/pinned", target="/pinned", is_pin=True, why="a test")
    more = attrs.evolve(plan, mounts=(*plan.mounts, pin))
    assert "/pinned" not in {path for _, path in landlock_rules(more)}


def test_the_command_is_run_by_the_program(plan: SandboxPlan) -> None:
    confined = confined_plan(plan, b"program", 5)
    assert confined.command[:2] == (PROGRAM, "5")
    at = confined.command.index("--")
    assert confined.command[at + 1 :] == plan.command
    assert "read=/usr" in confined.command[2:at]
    shown = SyntheticFile(path=PROGRAM, content=b"program", is_program=True)
    assert confined.mounts.index(shown) < confined.mounts.index(Sealed(path="/"))


def test_a_newer_kernel_is_told_what_the_program_knows(plan: SandboxPlan) -> None:
    assert confined_plan(plan, b"", 99).command[1] == str(VERSION_MAX)


def test_without_landlock_the_plan_is_as_it_was(plan: SandboxPlan) -> None:
    assert confined_plan(plan, b"", 0) is plan
