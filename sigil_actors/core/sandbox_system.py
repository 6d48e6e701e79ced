"""The part of a sandbox's file system that every plugin gets: what programs need to run at all.

Read-only, and nothing in it says who uses the machine. What a plugin gets of its own is planned in
`sandbox_plan`.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from sigil_actors.core.execution import MEBIBYTE
from sigil_actors.core.host_facts import DARWIN, HostFacts
from sigil_actors.core.sandbox_environment import INSIDE_HOME
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
"""For caches of programs that insist on a home."""

_SYNTHETIC: Final[Mapping[str, bytes]] = {
    "/etc/passwd": f"plugin:x:{INSIDE_UID}:{INSIDE_UID}::{INSIDE_HOME}:/bin/false\n".encode(),
    "/etc/group": f"plugin:x:{INSIDE_UID}:\n".encode(),
    "/etc/hosts": f"127.0.0.1 localhost {HOSTNAME}\n::1 localhost\n".encode(),
    # Names are resolved by the host's proxy, for those that have one, and by nobody else.
    "/etc/resolv.conf": b"# no name server is reached from here\n",
}

_DARWIN_FOLDERS: Final = (
    "/bin",
    "/sbin",
    "/usr/bin",
    "/usr/lib",
    "/usr/libexec",
    "/usr/sbin",
    "/usr/share",
    "/System/Library",
    "/System/Cryptexes",
    "/System/Volumes/Preboot/Cryptexes",
    "/Library/Apple",
    "/private/var/db/dyld",
)

_DARWIN_SETTINGS: Final = (
    "/private/etc/localtime",
    "/private/etc/protocols",
    "/private/etc/services",
    "/private/etc/ssl",
    "/private/var/db/timezone",
)

_PROGRAMS: Final = "programs and libraries"
_SETTINGS: Final = "settings that programs need"


def programs(facts: HostFacts) -> tuple[Bind, ...]:
    """Return where programs and libraries lie, without which nothing runs."""
    folders: tuple[str, ...] = _DARWIN_FOLDERS
    if facts.platform != DARWIN:
        real = (name for name, leads_to in facts.root_entries.items() if leads_to is None)
        folders = ("/usr", *(f"/{name}" for name in real))
    return tuple(Bind(source=path, target=path, why=_PROGRAMS) for path in folders)


def settings(facts: HostFacts) -> tuple[Bind, ...]:
    """Return the host's settings that programs look at; each can be done without."""
    places = {path: path for path in _DARWIN_SETTINGS}
    if facts.platform != DARWIN:
        places = {f"/etc/{name}": source for name, source in facts.etc_entries.items()}
    return tuple(
        Bind(source=source, target=target, why=_SETTINGS) for target, source in places.items()
    )


def skeleton(facts: HostFacts) -> Iterator[Mount]:
    """Yield what must be there before the host's settings are: links, and /etc itself."""
    if facts.platform == DARWIN:
        return
    for name, leads_to in facts.root_entries.items():
        if leads_to is not None:
            yield Link(path=f"/{name}", leads_to=leads_to)
    yield EmptyFolder(path="/etc", mode=0o755)


def private_files(facts: HostFacts) -> Iterator[Mount]:
    """Yield what the plugin has in the place of the host's: names, processes, devices, memory."""
    if facts.platform == DARWIN:
        return
    for path, content in _SYNTHETIC.items():
        yield SyntheticFile(path=path, content=content)
    yield ProcessFiles(path="/proc")
    yield DeviceFiles(path="/dev")
    yield ScratchFolder(path=SHARED_MEMORY, mode=0o1777, size_bytes=SHARED_MEMORY_BYTES)
    yield Sealed(path="/dev")
    yield ScratchFolder(path=TEMPORARY, mode=0o1777, size_bytes=TEMPORARY_BYTES)
    yield ScratchFolder(path=INSIDE_HOME, mode=0o700, size_bytes=HOME_BYTES)
