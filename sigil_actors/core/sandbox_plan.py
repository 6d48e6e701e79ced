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

from sigil_actors.core.execution import ProcessExecution, SandboxPolicy
from sigil_actors.core.execution_rules import check_execution, check_path
from sigil_actors.core.host_facts import DARWIN, HostFacts, PathFact
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_environment import sandbox_environment
from sigil_actors.core.sandbox_masks import (
    Mask,
    denied_paths,
    pins,
    plan_masks,
    remaining_settings,
)
from sigil_actors.core.sandbox_mounts import Bind, Mount, Sealed, SyntheticFile
from sigil_actors.core.sandbox_paths import (
    KEY,
    RequestedPaths,
    check_requested_paths,
    depth,
    is_within,
    plain_path,
    requested_paths,
)
from sigil_actors.core.sandbox_system import (
    HOSTNAME,
    INSIDE_UID,
    private_files,
    programs,
    settings,
    skeleton,
)
from sigil_actors.core.wording import shown
from sigil_actors.errors import SandboxRequestError

PROXY_PORT: Final = 3128
"""Where the host's proxy listens on the sandbox's own loopback: the usual one of proxies."""


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
    folder: str
    """The plugin's own, where its command starts."""
    socket_dir: str | None
    """Where it listens; None where no host waits for it."""
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

    def with_program(self, path: str, content: bytes) -> "SandboxPlan":
        """Return the plan with one program more, put there before the root is sealed."""
        shown = SyntheticFile(path=path, content=content, is_program=True)
        sealed = [at for at, mount in enumerate(self.mounts) if mount == Sealed(path="/")]
        place = sealed[-1] if sealed else len(self.mounts)
        mounts = (*self.mounts[:place], shown, *self.mounts[place:])
        return attrs.evolve(self, mounts=mounts)

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
    socket_dir: str | None,
    environment: Mapping[str, str],
    paths: Mapping[str, PathFact],
    host_folders: Collection[str] = (),
    proxy_port: int = PROXY_PORT,
) -> SandboxPlan:
    """Plan the sandbox of a plugin of the process tier.

    `folder` is where the plugin's files lie, `socket_dir` where it listens, both as the host sees
    them with every link resolved; the plugin sees them at the same place. `environment` is what the
    protocol sets, `paths` has the facts that `paths_to_look_at` asks for, `host_folders` are those
    that this runtime keeps for itself: its state, the plugins' folder.

    Raises:
        SandboxRequestError: the manifest asks for what no sandbox may give.
    """
    plugin, execution = _checked_name(manifest.name), _process_execution(manifest)
    for fault in check_execution(execution):
        raise SandboxRequestError(plugin, fault.path, fault.what, remedy=fault.remedy)
    folder = plain_path(folder)
    socket_dir = None if socket_dir is None else plain_path(socket_dir)
    requested = requested_paths(plugin, execution.sandbox.filesystem, home=facts.home)
    check_requested_paths(
        plugin, requested, folder=folder, home=facts.home, host_folders=host_folders
    )
    own = tuple(_own_folders(folder, socket_dir))
    system = programs(facts)
    binds = _in_order((*own, *_requested(plugin, requested)))
    denied = tuple(
        denied_paths(plugin, requested.read_deny, paths, (*system, *settings(facts), *binds))
    )
    spared = tuple(remaining_settings(settings(facts), denied))
    visible = (*system, *spared, *binds)
    masks = plan_masks(plugin, visible, denied, own=[bind.target for bind in own])
    command = _command(plugin, execution, folder)
    _check_program(plugin, command[0], (*system, *binds), facts, masks)
    port = proxy_port if execution.sandbox.network.allow else None
    return SandboxPlan(
        plugin=plugin,
        platform=facts.platform,
        architecture=facts.architecture,
        command=command,
        folder=folder,
        socket_dir=socket_dir,
        environment=sandbox_environment(
            plugin,
            execution.env,
            environment,
            scratch=(socket_dir or folder) if facts.platform == DARWIN else None,
            proxy_port=port,
        ),
        mounts=(
            *system,
            *skeleton(facts),
            *spared,
            *private_files(facts),
            *_in_order((*binds, *pins(masks, visible))),
            *masks,
            Sealed(path="/"),  # the last step, since mount points are made as they are needed
        ),
        network=NetworkAccess.NONE if port is None else NetworkAccess.PROXY,
        proxy_port=port,
        limits=_limits(execution.sandbox),
    )


def _checked_name(name: str) -> str:
    # It becomes a component of paths, and a manifest made in code was checked by nobody.
    if "/" in name or name == "." or any(check_path("name", name)):
        raise SandboxRequestError(
            name, "name", f"{shown(name)} is no plugin name", remedy="Use letters, digits, - and _"
        )
    return name


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


def _own_folders(folder: str, socket_dir: str | None) -> Iterator[Bind]:
    yield Bind(source=folder, target=folder, is_by_descriptor=True, why="the plugin's own folder")
    if socket_dir is not None:
        yield Bind(
            source=socket_dir,
            target=socket_dir,
            is_writable=True,
            is_by_descriptor=True,
            why="where the plugin listens",
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
