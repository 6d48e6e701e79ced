"""What a plugin's sandbox is to be: planned from its manifest and the facts of the machine.

Owns which part of the host a plugin sees, and in which order that is put together. Deny by default:
what no step names isn't there. Knows no option of any program; `bwrap_args` and `seatbelt_profile`
turn a plan into such.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import attrs

from sigil_actors.core.execution import MEBIBYTE, ProcessExecution, SandboxPolicy
from sigil_actors.core.execution_rules import check_execution
from sigil_actors.core.host_facts import HostFacts, PathFact
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_environment import INSIDE_HOME, sandbox_environment
from sigil_actors.core.sandbox_masks import (
    Mask,
    denied_paths,
    pins,
    plan_masks,
    remaining_settings,
)
from sigil_actors.core.sandbox_mounts import (
    Bind,
    DeviceFiles,
    EmptyFolder,
    Link,
    Mount,
    ProcessFiles,
    ScratchFolder,
    Sealed,
    SyntheticFile,
)
from sigil_actors.core.sandbox_paths import (
    KEY,
    RequestedPaths,
    check_requested_paths,
    depth,
    is_within,
    plain_path,
    requested_paths,
)
from sigil_actors.core.wording import shown
from sigil_actors.errors import SandboxRequestError

PROXY_PORT: Final = 3128
"""Where the host's proxy listens on the sandbox's own loopback: the usual one of proxies."""

INSIDE_UID: Final = 1000
"""The user that a plugin is inside, whoever it is on the host."""

HOSTNAME: Final = "plugin"

TEMPORARY: Final = "/tmp"  # noqa: S108 - the sandbox's own
TEMPORARY_BYTES: Final = 64 * MEBIBYTE
"""Counts against the plugin's memory where the machine has control groups."""

SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - the sandbox's own
SHARED_MEMORY_BYTES: Final = 16 * MEBIBYTE
"""Room for the semaphores and queues of a plugin's own processes."""

HOME_BYTES: Final = 16 * MEBIBYTE
"""The home, for caches of programs that insist on one."""

_SYNTHETIC: Final[Mapping[str, bytes]] = {
    "/etc/passwd": f"plugin:x:{INSIDE_UID}:{INSIDE_UID}::{INSIDE_HOME}:/bin/false\n".encode(),
    "/etc/group": f"plugin:x:{INSIDE_UID}:\n".encode(),
    "/etc/hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n".encode(),
    # Names are resolved by the host's proxy, for those that have one, and by nobody else.
    "/etc/resolv.conf": b"# no name server is reached from here\n",
}


class NetworkAccess(StrEnum):
    """What a plugin reaches besides its own loopback."""

    NONE = "none"
    PROXY = "proxy"
    """The host's audited proxy, listening on the sandbox's own loopback."""


@attrs.frozen(kw_only=True)
class SandboxLimits:
    """What all processes of a plugin may use together, but for `open_files`, which each has."""

    memory_bytes: int
    pids: int
    """Processes and threads."""
    open_files: int
    cpu: float
    """Processors' worth of time."""


def _read_only(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


@attrs.frozen(kw_only=True)
class SandboxPlan:
    """Everything about one plugin's sandbox that is decided before anything is done."""

    plugin: str
    platform: str
    architecture: str
    """Whose system call filter it gets."""
    command: tuple[str, ...]
    """The program by its absolute path, then its arguments."""
    working_folder: str
    environment: Mapping[str, str] = attrs.field(converter=_read_only)
    """Exactly these variables."""
    mounts: tuple[Mount, ...]
    """The file system, to be put together in this order."""
    network: NetworkAccess
    proxy_port: int | None
    """Where the host has to listen inside; None without a network."""
    limits: SandboxLimits
    uid: int = INSIDE_UID
    gid: int = INSIDE_UID
    """The user and group inside."""
    hostname: str = HOSTNAME

    def binds(self) -> Iterator[Bind]:
        """Yield what of the host's is shown."""
        for mount in self.mounts:
            if isinstance(mount, Bind):
                yield mount


def paths_to_look_at(manifest: Manifest, *, home: str) -> tuple[str, ...]:
    """Return the paths of which `plan_sandbox` needs a `PathFact` each.

    Raises:
        SandboxRequestError: an entry of the manifest is no path.
    """
    execution = _process_execution(manifest)
    paths = requested_paths(manifest.name, execution.sandbox.filesystem, home=home)
    return tuple(dict.fromkeys(one.path for one in paths.read_deny))


def plan_sandbox(
    manifest: Manifest,
    facts: HostFacts,
    *,
    folder: str,
    socket_dir: str,
    environment: Mapping[str, str],
    paths: Mapping[str, PathFact],
    host_folders: Collection[str] = (),
    proxy_port: int = PROXY_PORT,
) -> SandboxPlan:
    """Plan the sandbox of a plugin of the process tier.

    `folder` is where the plugin's files lie, `socket_dir` where it listens, both as the host sees
    them, and the plugin sees them at the same place. `environment` is what the protocol sets,
    `paths` has the facts that `paths_to_look_at` asks for, `host_folders` are this runtime's own.

    Raises:
        SandboxRequestError: the manifest asks for what no sandbox may give.
    """
    execution = _process_execution(manifest)
    for fault in check_execution(execution):
        raise SandboxRequestError(manifest.name, fault.path, fault.what, remedy=fault.remedy)
    folder, socket_dir = plain_path(folder), plain_path(socket_dir)
    requested = requested_paths(manifest.name, execution.sandbox.filesystem, home=facts.home)
    check_requested_paths(
        manifest.name, requested, folder=folder, home=facts.home, host_folders=host_folders
    )
    own = _own_files(folder, socket_dir)
    binds = _in_order((*own, *_requested(manifest.name, requested)))
    system, settings = _system_binds(facts), _settings(facts)
    denied = tuple(
        denied_paths(manifest.name, requested.read_deny, paths, (*system, *settings, *binds))
    )
    settings = tuple(remaining_settings(settings, denied))
    masks = plan_masks(
        manifest.name,
        (*system, *settings, *binds),
        denied,
        own=(folder, socket_dir),
    )
    command = _command(manifest.name, execution, folder)
    _check_program(manifest.name, command[0], (*system, *binds), facts, masks)
    has_network = bool(execution.sandbox.network.allow)
    return SandboxPlan(
        plugin=manifest.name,
        platform=facts.platform,
        architecture=facts.architecture,
        command=command,
        working_folder=folder,
        environment=sandbox_environment(
            manifest.name,
            execution.env,
            environment,
            proxy_port=proxy_port if has_network else None,
        ),
        mounts=(
            *system,
            *_root_links(facts),
            EmptyFolder(path="/etc", mode=0o755),
            *settings,
            *_scratch(),
            *_in_order((*binds, *pins(masks, (*system, *settings, *binds)))),
            *masks,
            Sealed(path="/"),  # the last step, since mount points are made as they are needed
        ),
        network=NetworkAccess.PROXY if has_network else NetworkAccess.NONE,
        proxy_port=proxy_port if has_network else None,
        limits=_limits(execution.sandbox),
    )


def _process_execution(manifest: Manifest) -> ProcessExecution:
    execution = manifest.execution
    if not isinstance(execution, ProcessExecution):
        raise SandboxRequestError(
            manifest.name,
            "execution.tier",
            f"the tier {execution.tier} has no sandbox of this kind",
            remedy="Plan sandboxes for plugins of the process tier only",
        )
    return execution


def _command(plugin: str, execution: ProcessExecution, folder: str) -> tuple[str, ...]:
    program, *arguments = execution.command_of(plugin)
    if program.startswith("~"):
        raise SandboxRequestError(
            plugin,
            "execution.command[0]",
            f"{shown(program)} lies in a home, which no plugin sees",
            remedy="Put the program into the plugin's folder",
        )
    if not program.startswith("/"):
        program = f"{folder}/{program}"
    return (plain_path(program), *arguments)


def _limits(policy: SandboxPolicy) -> SandboxLimits:
    return SandboxLimits(
        memory_bytes=policy.limits.memory,
        pids=policy.limits.pids,
        open_files=policy.limits.open_files,
        cpu=policy.limits.cpu,
    )


def _system_binds(facts: HostFacts) -> tuple[Bind, ...]:
    folders = [name for name, leads_to in facts.root_entries.items() if leads_to is None]
    return tuple(
        Bind(source=f"/{name}", target=f"/{name}", why="programs and libraries")
        for name in ("usr", *folders)
    )


def _root_links(facts: HostFacts) -> Iterator[Link]:
    for name, leads_to in facts.root_entries.items():
        if leads_to is not None:
            yield Link(path=f"/{name}", leads_to=leads_to)


def _settings(facts: HostFacts) -> tuple[Bind, ...]:
    return tuple(
        Bind(source=source, target=f"/etc/{name}", why="settings that programs need")
        for name, source in facts.etc_entries.items()
    )


def _scratch() -> Iterator[Mount]:
    for path, content in _SYNTHETIC.items():
        yield SyntheticFile(path=path, content=content)
    yield ProcessFiles(path="/proc")
    yield DeviceFiles(path="/dev")
    yield ScratchFolder(path=SHARED_MEMORY, mode=0o1777, size_bytes=SHARED_MEMORY_BYTES)
    yield Sealed(path="/dev")
    yield ScratchFolder(path=TEMPORARY, mode=0o1777, size_bytes=TEMPORARY_BYTES)
    yield ScratchFolder(path=INSIDE_HOME, mode=0o700, size_bytes=HOME_BYTES)


def _own_files(folder: str, socket_dir: str) -> tuple[Bind, Bind]:
    return (
        Bind(source=folder, target=folder, is_by_descriptor=True, why="the plugin's own folder"),
        Bind(
            source=socket_dir,
            target=socket_dir,
            is_writable=True,
            is_by_descriptor=True,
            why="where the plugin listens",
        ),
    )


def _in_order(binds: Iterable[Bind]) -> tuple[Bind, ...]:
    """Return outer folders before inner ones, so that the inner one's mode is what counts."""
    return tuple(sorted(binds, key=lambda bind: (depth(bind.target), bind.target)))


def _requested(plugin: str, requested: RequestedPaths) -> Iterator[Bind]:
    readable = {one.path for one in requested.read_allow}
    for one in requested.write_allow:
        if one.path in readable:
            raise SandboxRequestError(
                plugin,
                one.key,
                f"{shown(one.written)} stands in read_allow too",
                remedy="Drop it there: what may be written may be read",
            )
    for is_writable, entries in ((False, requested.read_allow), (True, requested.write_allow)):
        for path, key in {one.path: one.key for one in entries}.items():
            yield Bind(
                source=path,
                target=path,
                is_writable=is_writable,
                is_by_descriptor=True,
                why=key.removeprefix(f"{KEY}."),
            )


def _check_program(
    plugin: str,
    program: str,
    binds: Sequence[Bind],
    facts: HostFacts,
    masks: Sequence[Mask],
) -> None:
    key = "execution.command[0]"
    around = [bind for bind in binds if is_within(program, bind.target)]
    if not around and program.split("/")[1] not in facts.root_entries:
        raise SandboxRequestError(
            plugin,
            key,
            f"{shown(program)} lies where the plugin sees nothing",
            remedy="Put it into the plugin's folder, or its folder into read_allow",
        )
    if around and max(around, key=lambda bind: depth(bind.target)).is_writable:
        raise SandboxRequestError(
            plugin,
            key,
            f"{shown(program)} lies where the plugin writes, and what runs must not be writable",
            remedy="Put it into the plugin's folder",
        )
    if any(is_within(program, mask.path) for mask in masks):
        raise SandboxRequestError(
            plugin, key, f"{shown(program)} is hidden by read_deny", remedy="Drop one of the two"
        )
