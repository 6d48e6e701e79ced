"""A second layer inside the sandbox: what a plugin may open, said once more to Landlock.

The mounts decide what a plugin sees; these rules decide what it may open of that. Both come from
one plan, by different roads: of a mount too many, the names can be read and no file be opened.
Names are allowed everywhere, since the folders on the way to what is shown have no rule of their
own that wouldn't count for all below too, and programs read them: an importer does.
The program that sets the rules is `tiers/process/sandbox/confine/confine.c`.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Final, assert_never

import attrs

from sigil_actors.core.sandbox_mounts import (
    Bind,
    DeviceFiles,
    EmptyFolder,
    HiddenFile,
    HiddenFolder,
    Link,
    Mount,
    ProcessFiles,
    ScratchFolder,
    Sealed,
    SyntheticFile,
)
from sigil_actors.core.sandbox_plan import SandboxPlan

PROGRAM: Final = "/.sigil-confine"
"""Where the program is inside: a name that no plan uses."""

VERSION_MAX: Final = 7
"""The newest version that the program knows; a newer kernel takes it too."""


class Access(StrEnum):
    """What is allowed below a path; the words are the program's."""

    LIST = "list"
    """Read the names in folders."""
    READ = "read"
    """And run."""
    WRITE = "write"
    """Everything."""
    DEVICE = "device"
    """Read and write what is there, make and remove nothing."""


def landlock_rules(plan: SandboxPlan) -> tuple[tuple[Access, str], ...]:
    """Return what a plan lets its plugin open, each path once, the widest access."""
    rules: dict[str, Access] = {"/": Access.LIST}
    for mount in plan.mounts:
        for access, path in _rules(mount):
            if rules.get(path) is not Access.WRITE:
                rules[path] = access
    return tuple((access, path) for path, access in rules.items())


def _rules(mount: Mount) -> Iterator[tuple[Access, str]]:
    match mount:
        case Bind(is_pin=True) | Link() | HiddenFile() | HiddenFolder() | Sealed():
            # A pin only holds a folder in its place; a link leads to what has a rule of its own.
            pass
        case Bind():
            yield (Access.WRITE if mount.is_writable else Access.READ), mount.target
        case EmptyFolder() | SyntheticFile():
            yield Access.READ, mount.path
        case ScratchFolder():
            yield Access.WRITE, mount.path
        case ProcessFiles() | DeviceFiles():
            yield Access.DEVICE, mount.path
        case _:
            assert_never(mount)


def confined_plan(plan: SandboxPlan, program: bytes, version: int) -> SandboxPlan:
    """Return a plan whose command is run by the program that sets the rules.

    `version` is the kernel's Landlock; 0 is none, and leaves the plan as it is.
    """
    if version == 0:
        return plan
    rules = (f"{access}={path}" for access, path in landlock_rules(plan))
    return attrs.evolve(
        plan.with_program(PROGRAM, program),
        command=(PROGRAM, str(min(version, VERSION_MAX)), *rules, "--", *plan.command),
    )
