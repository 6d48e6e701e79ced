"""What this machine has, read for planning a sandbox. Blocks: it reads files and runs bubblewrap.

Reads only. What couldn't be found out counts as not there.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from sigil_actors.core.host_facts import (
    DARWIN,
    ETC_NAMES,
    LINUX,
    ROOT_NAMES,
    Bubblewrap,
    HostFacts,
    PathFact,
    PathKind,
    Version,
)

ASK_S = 10.0
"""Seconds for bubblewrap to say what it is, or to run nothing at all; it takes milliseconds."""

_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")

_TRIAL = (
    *("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"),
    *("--unshare-cgroup-try", "--disable-userns", "--ro-bind", "/", "/", "--proc", "/proc"),
    *("--dev", "/dev", "--", "/bin/true"),
)


def read_host_facts() -> HostFacts:
    """Look at this machine."""
    is_linux = sys.platform == LINUX
    bubblewrap = _bubblewrap() if is_linux else None
    return HostFacts(
        platform=sys.platform,
        architecture=platform.machine(),
        kernel=platform.release(),
        uid=os.getuid(),
        home=os.path.expanduser("~"),  # noqa: PTH111 - a text; Path raises where there is none
        bubblewrap=bubblewrap,
        sandbox_exec=shutil.which("sandbox-exec") if sys.platform == DARWIN else None,
        prlimit=shutil.which("prlimit"),
        root_entries=_root_entries() if is_linux else {},
        etc_entries=_etc_entries() if is_linux else {},
        has_user_namespaces=bubblewrap is not None and _runs(bubblewrap.path, *_TRIAL) is not None,
        has_seccomp=Path("/proc/sys/kernel/seccomp/actions_avail").exists(),
    )


def read_path_facts(paths: Iterable[str]) -> Mapping[str, PathFact]:
    """Look what lies at each path. What this user can't see isn't there for a plugin either."""
    return {path: _path_fact(Path(path)) for path in paths}


def _path_fact(path: Path) -> PathFact:
    try:
        resolved = path.resolve(strict=True)
        kind = PathKind.FOLDER if resolved.is_dir() else PathKind.FILE
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return PathFact(kind=PathKind.MISSING, resolved=str(path))
    return PathFact(kind=kind, resolved=str(resolved))


def _bubblewrap() -> Bubblewrap | None:
    path = shutil.which("bwrap")
    if path is None:
        return None
    version = _runs(path, "--version")
    options = _runs(path, "--help")
    if version is None or options is None:
        return None
    return Bubblewrap(
        path=path, version=_parsed(version), binds_by_descriptor="--ro-bind-fd" in options
    )


def _parsed(version: str) -> Version:
    found = _VERSION.search(version)
    return tuple(int(part) for part in found.groups() if part) if found else ()


def _runs(*command: str) -> str | None:
    """Return what a program says, or None where it fails."""
    try:
        ran = subprocess.run(  # noqa: S603 - bubblewrap, with words of ours
            command,
            env={},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=ASK_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ran.stdout if ran.returncode == 0 else None


def _root_entries() -> Mapping[str, str | None]:
    entries: dict[str, str | None] = {}
    for name in ROOT_NAMES:
        place = Path("/", name)
        with suppress(OSError):
            if place.is_symlink():
                entries[name] = str(place.readlink())
            elif place.is_dir():
                entries[name] = None
    return entries


def _etc_entries() -> Mapping[str, str]:
    entries = {}
    for name in ETC_NAMES:
        with suppress(OSError, RuntimeError):
            entries[name] = str(Path("/etc", name).resolve(strict=True))
    return entries
