"""The sandbox of a plugin, to look at, or to hand to `goplugin.client_config`.

`generate_args` makes a command line from the manifest alone, without touching the machine's files,
so that it is the same everywhere. A runtime doesn't run it: it plans with the facts of the machine
and passes the same options by descriptors, with a system call filter besides. `preview_sandbox`
shows what that will be here. Nothing of a plugin is run by either.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import attrs

from sigil_actors.core.bwrap_args import bwrap_command_line, bwrap_options
from sigil_actors.core.execution import ContainerExecution, ProcessExecution, WasmExecution
from sigil_actors.core.execution_rules import check_path
from sigil_actors.core.host_facts import (
    DARWIN,
    ETC_NAMES,
    LINUX,
    Bubblewrap,
    HostFacts,
    PathFact,
    PathKind,
)
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.core.sandbox_paths import NEVER_SHOWN, is_within, plain_path, requested_paths
from sigil_actors.core.sandbox_plan import SandboxPlan, paths_to_look_at, plan_sandbox
from sigil_actors.core.seatbelt_profile import seatbelt_command_line
from sigil_actors.core.seccomp_tables import NUMBERS
from sigil_actors.core.wording import shown
from sigil_actors.errors import Problem, SandboxRequestError, SandboxUnavailableError

SOCKET_DIR_EXAMPLE: Final = "sigil-run-XXXXXXXX/1"
"""Where an instance listens; each gets a fresh folder of such a name."""

MISSING_BUBBLEWRAP: Final = Bubblewrap(path="bwrap", version=(), binds_by_descriptor=True)
"""Stands for the one that is to be installed."""

MERGED_ROOT: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
"""How the root looks on every distribution of these years."""


@attrs.frozen(kw_only=True)
class SandboxPreview:
    """What a plugin's sandbox will be on this machine."""

    plan: SandboxPlan
    command_line: tuple[str, ...]
    """As it is launched; words stand for what a descriptor will hold."""
    lacks: tuple[Problem, ...]
    """What this machine lacks to make it; empty where it can."""


def preview_sandbox(
    manifest: Manifest, folder: Path, *, host_folders: Collection[str] = ()
) -> SandboxPreview:
    """Plan the sandbox of a plugin whose files lie in `folder`. Blocks: it looks at the machine.

    A launch has the plugin's files in a snapshot instead, and adds the variables of the handshake.

    Raises:
        SandboxRequestError: the manifest asks for what no sandbox may give.
    """
    from sigil_actors.tiers.process.path_facts import read_path_facts
    from sigil_actors.tiers.process.sandbox.lacks import lacks
    from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking

    facts = probe_host_blocking()
    socket_dir = f"{tempfile.gettempdir()}/{SOCKET_DIR_EXAMPLE}"
    plan = plan_sandbox(
        manifest,
        facts,
        folder=os.path.realpath(folder),
        socket_dir=socket_dir,
        environment={"PLUGIN_UNIX_SOCKET_DIR": socket_dir},
        paths=read_path_facts(paths_to_look_at(manifest, home=facts.home)),
        host_folders=host_folders,
    )
    return SandboxPreview(
        plan=plan,
        command_line=_launched(plan, facts),
        lacks=tuple(
            Problem(path="", line=0, what=lack.what, remedy=lack.remedy)
            for lack in lacks(facts)
            if lack.is_needed
        ),
    )


def _launched(plan: SandboxPlan, facts: HostFacts) -> tuple[str, ...]:
    if facts.platform == DARWIN:
        return tuple(seatbelt_command_line(plan))
    bubblewrap = facts.bubblewrap or MISSING_BUBBLEWRAP
    if plan.architecture not in NUMBERS:
        return ()
    from sigil_actors.tiers.process.sandbox.confine.program import confined

    plan = confined(plan, facts)
    options = bwrap_options(plan, bubblewrap).readable()
    return (bubblewrap.path, *options, "--", *plan.command)


def generate_args(
    manifest: Manifest,
    binary: str | os.PathLike[str],
    *,
    platform: str | None = None,
    folder: str | os.PathLike[str] | None = None,
    socket_dir: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str] | None:
    """Return the command line that runs `binary` in the sandbox of `manifest`.

    It ends in `--` and the binary on Linux, in the binary on macOS. None for the other tiers, which
    need no such sandbox. `platform` is as in sys.platform, this machine's by default. `folder` is
    what the plugin sees of its own, by default the binary alone. `socket_dir` is where it may
    listen, `environment` what the handshake sets, both by default nothing.

    Raises:
        SandboxRequestError: the binary's path, or what the manifest asks for, isn't safe.
    """
    match manifest.execution:
        case ProcessExecution() as execution:
            pass
        case WasmExecution() | ContainerExecution():
            return None
        case other:
            raise SandboxRequestError(
                manifest.name,
                "execution.tier",
                f"the tier {other.tier} is the host's own, which has to isolate it itself",
                remedy="Generate the command line for plugins of the process tier only",
            )
    system = platform or sys.platform
    if system not in {LINUX, DARWIN}:
        raise SandboxUnavailableError(
            f"there is no sandbox for process plugins on {system}",
            remedy="Use Linux or macOS, or the wasm tier",
        )
    program = _checked(manifest.name, os.fspath(binary))
    home = os.path.expanduser("~")  # noqa: PTH111 - a text; Path would raise where there is none
    requested = requested_paths(manifest.name, execution.sandbox.filesystem, home=home)
    plan = plan_sandbox(
        attrs.evolve(manifest, execution=attrs.evolve(execution, command=(program,))),
        HostFacts(
            platform=system,
            architecture="",
            kernel="",
            uid=0,
            home=home,
            root_entries=MERGED_ROOT if system == LINUX else {},
            etc_entries={name: f"/etc/{name}" for name in ETC_NAMES} if system == LINUX else {},
        ),
        folder=os.fspath(folder or program),
        socket_dir=None if socket_dir is None else os.fspath(socket_dir),
        environment=environment or {},
        paths={
            one.path: PathFact(
                kind=PathKind.FOLDER if one.is_surely_folder else PathKind.FILE, resolved=one.path
            )
            for one in requested.read_deny
        },
    )
    if system == DARWIN:
        return seatbelt_command_line(plan)
    return bwrap_command_line(_without_facts(plan), shutil.which("bwrap") or "bwrap")


def _checked(plugin: str, binary: str) -> str:
    for fault in check_path("binary", binary):
        raise SandboxRequestError(plugin, "binary", fault.what, remedy=fault.remedy)
    path = plain_path(os.path.abspath(binary))  # noqa: PTH100 - resolve() would follow links
    if (
        binary.endswith("/")
        or path == "/"
        or any(is_within(path, forbidden) for forbidden in NEVER_SHOWN)
    ):
        raise SandboxRequestError(
            plugin,
            "binary",
            f"{shown(binary)} is no program that a plugin could be",
            remedy="Name the plugin's program",
        )
    return path


def _without_facts(plan: SandboxPlan) -> SandboxPlan:
    """Return a plan that also works where a part of /etc isn't there."""
    return attrs.evolve(
        plan,
        mounts=tuple(
            attrs.evolve(mount, may_be_missing=True)
            if isinstance(mount, Bind) and is_within(mount.target, "/etc")
            else mount
            for mount in plan.mounts
        ),
    )
