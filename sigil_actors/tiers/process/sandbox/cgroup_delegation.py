"""Makes room for groups in a group of version 2 that was handed to this host.

Such a group (of a service with Delegate=yes, of `systemd-run --user --scope -p Delegate=yes`) has
the host's own process in it, and the kernel lets a group have either processes or bounded groups.
So the host moves into a group of its own below. Nobody else's process is ever moved.
"""

import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from sigil_actors.tiers.process.sandbox.cgroup_files import processes

HOST_PREFIX = "host-of-plugins-"


def can_make_room(folder: Path, controllers: frozenset[str]) -> bool:
    """Tell whether the group is this host's alone, and could have groups with these controllers."""
    try:
        offered = frozenset((folder / "cgroup.controllers").read_text().split())
    except OSError:
        return False
    return (
        controllers <= offered
        and processes(folder) == (os.getpid(),)
        and os.access(folder, os.W_OK)
        and os.access(folder / "cgroup.subtree_control", os.W_OK)
    )


@contextmanager
def made_room(folder: Path, controllers: frozenset[str]) -> Generator[None, None, None]:
    """Have groups in `folder` bounded by these controllers for as long as the block lasts.

    Raises:
        OSError: the kernel refuses it.
    """
    if controllers <= frozenset((folder / "cgroup.subtree_control").read_text().split()):
        yield
        return
    inner = folder / f"{HOST_PREFIX}{secrets.token_hex(4)}"
    inner.mkdir()
    try:
        _move(inner)
        enable(folder, controllers)
        yield
    finally:
        with suppress(OSError):
            disable(folder, controllers)
            _move(folder)
            inner.rmdir()


def enable(folder: Path, controllers: frozenset[str]) -> None:
    """Let the groups in a group of version 2 be counted and bounded.

    Raises:
        OSError: it isn't allowed, or there are processes in it.
    """
    _write(folder, "+", controllers)


def disable(folder: Path, controllers: frozenset[str]) -> None:
    """Take that back, once there are no such groups any more.

    Raises:
        OSError: there are.
    """
    _write(folder, "-", controllers)


def _write(folder: Path, sign: str, controllers: frozenset[str]) -> None:
    words = " ".join(f"{sign}{controller}" for controller in sorted(controllers))
    (folder / "cgroup.subtree_control").write_text(words)


def _move(folder: Path) -> None:
    (folder / "cgroup.procs").write_text(str(os.getpid()))
