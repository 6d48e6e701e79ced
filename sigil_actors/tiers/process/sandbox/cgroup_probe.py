"""Finds where this host may make groups of processes, by making one.

Version 2 is taken where it counts memory and processes, else version 1, where an older system (or
one that runs both) has its controllers. See the kernel's admin-guide/cgroup-v2 and cgroup-v1.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import attrs

from sigil_actors.core.host_facts import Cgroups, CgroupVersion
from sigil_actors.tiers.process.sandbox.cgroup_delegation import can_make_room
from sigil_actors.tiers.process.sandbox.cgroup_files import PREFIX, processes

NEEDED: Final = ("memory", "pids")
WANTED: Final = (*NEEDED, "cpu")
ALSO_READ: Final = "cpuacct"
"""Version 1 tells processor time by a controller of its own, which bounds nothing."""

LIMIT_FILES: Final = {"memory": "memory.max", "pids": "pids.max", "cpu": "cpu.max"}
"""What a group of version 2 has where the controller is on."""

ANCESTORS_MAX: Final = 32
"""Levels that are looked at; the kernel nests them as deep as it is told."""


@attrs.frozen
class _Mount:
    kind: str
    root: str
    place: Path
    controllers: frozenset[str]


def probe_cgroups(proc: Path = Path("/proc/self")) -> Cgroups | None:
    """Return where groups can be made, or None where none can that bounds memory and processes."""
    try:
        mounts = tuple(_mounts((proc / "mountinfo").read_text()))
        own = dict(_own_groups((proc / "cgroup").read_text()))
    except OSError:
        return None
    return _version_2(mounts, own) or _version_1(mounts, own)


def own_group(proc: Path = Path("/proc/self")) -> Path | None:
    """Return a group that this process is in now and may move processes to; None where none is."""
    try:
        mounts = tuple(_mounts((proc / "mountinfo").read_text()))
        own = dict(_own_groups((proc / "cgroup").read_text()))
    except OSError:
        return None
    for mount in mounts:
        for controller in ("",) if mount.kind == "cgroup2" else mount.controllers & {*WANTED}:
            folder = _own_folder(mount, own.get(controller, ""))
            if os.access(folder / "cgroup.procs", os.W_OK) and os.getpid() in processes(folder):
                return folder
    return None


def _mounts(text: str) -> Iterator[_Mount]:
    # "36 35 98:0 /root /place options fields - kind source options"; see proc_pid_mountinfo(5).
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, described = before.split(), after.split()
        if len(fields) > 4 and described and described[0] in {"cgroup", "cgroup2"}:  # noqa: PLR2004 - up to the place
            yield _Mount(
                kind=described[0],
                root=fields[3],
                place=Path(fields[4]),
                controllers=frozenset(described[-1].split(",")),
            )


def _own_groups(text: str) -> Iterator[tuple[str, str]]:
    """Yield by controller the path of this process's group; "" is version 2."""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, path


def _own_folder(mount: _Mount, path: str) -> Path:
    if path == mount.root or path.startswith(f"{mount.root.rstrip('/')}/"):
        folder = mount.place / path[len(mount.root.rstrip("/")) :].lstrip("/")
        if folder.is_dir():
            return folder
    return mount.place  # a container's view: its own group is the root of what it sees


def _version_1(mounts: tuple[_Mount, ...], own: Mapping[str, str]) -> Cgroups | None:
    folders: dict[str, str] = {}
    for mount in mounts:
        for controller in mount.controllers & {*WANTED, ALSO_READ}:
            if mount.kind == "cgroup":
                folder = _own_folder(mount, own.get(controller, ""))
                if _can_make(folder, ()):
                    folders[controller] = str(folder)
    controllers = frozenset(folders) & frozenset(WANTED)
    if not controllers.issuperset(NEEDED):
        return None
    return Cgroups(version=CgroupVersion.V1, controllers=controllers, folders=folders)


def _version_2(mounts: tuple[_Mount, ...], own: Mapping[str, str]) -> Cgroups | None:
    mount = next((mount for mount in mounts if mount.kind == "cgroup2"), None)
    if mount is None:
        return None
    folder = _own_folder(mount, own.get("", ""))
    for _ in range(ANCESTORS_MAX):
        for controllers in (WANTED, NEEDED):
            if _can_serve(folder, controllers):
                return Cgroups(
                    version=CgroupVersion.V2,
                    controllers=frozenset(controllers),
                    folders=dict.fromkeys(controllers, str(folder)),
                )
        if folder == mount.place:
            break
        folder = folder.parent
    return None


def _can_serve(folder: Path, controllers: tuple[str, ...]) -> bool:
    """Tell whether groups with these controllers can be made in it, and processes moved there."""
    # A process may be moved by whoever may write the list of the group above both of its places.
    if not os.access(folder / "cgroup.procs", os.W_OK):
        return False
    files = tuple(LIMIT_FILES[controller] for controller in controllers)
    return _can_make(folder, files) or can_make_room(folder, frozenset(controllers))


def _can_make(folder: Path, files: tuple[str, ...]) -> bool:
    tried = folder / f"{PREFIX}{secrets.token_hex(4)}"
    try:
        tried.mkdir()
    except OSError:
        return False
    try:
        return all(os.access(tried / file, os.W_OK) for file in ("cgroup.procs", *files))
    finally:
        with suppress(OSError):
            tried.rmdir()
