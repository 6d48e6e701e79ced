"""The sandbox's command line for a plugin, to look at or to hand to `goplugin.client_config`.

The list is made from the manifest alone, without touching the machine's files, so that it is the
same everywhere. A runtime doesn't run it: it plans with the facts of the machine and passes the
same options by descriptors, with a system call filter besides.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from typing import Final

import attrs

from sigil_actors.core.bwrap_args import bwrap_command_line
from sigil_actors.core.execution import ContainerExecution, ProcessExecution, WasmExecution
from sigil_actors.core.execution_rules import check_path
from sigil_actors.core.host_facts import DARWIN, ETC_NAMES, LINUX, HostFacts, PathFact, PathKind
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.core.sandbox_paths import NEVER_SHOWN, is_within, plain_path, requested_paths
from sigil_actors.core.sandbox_plan import SandboxPlan, plan_sandbox
from sigil_actors.core.seatbelt_profile import seatbelt_command_line
from sigil_actors.core.wording import shown
from sigil_actors.errors import SandboxRequestError, SandboxUnavailableError

MERGED_ROOT: Final = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
"""How the root looks on every distribution of these years."""


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
