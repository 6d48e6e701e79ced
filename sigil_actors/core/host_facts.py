"""What is known of the machine and of a manifest's paths, before a sandbox is planned on it.

Values only. The process tier's probe gathers them; nothing here looks at anything.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, TypeAlias

import attrs

LINUX: Final = "linux"
DARWIN: Final = "darwin"
"""The platforms that have a sandbox, as in sys.platform."""

ROOT_NAMES: Final = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
"""What programs expect at the root besides /usr: links into /usr today, folders on older systems.
"""

ETC_NAMES: Final = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "pki/tls/certs",
    "pki/ca-trust/extracted",
    "ca-certificates",
    "nsswitch.conf",
    "localtime",
    "protocols",
    "services",
    "gai.conf",
    "mime.types",
)
"""The few parts of /etc that programs need: the linker's, certificates, time zone, name services.
None of them holds a secret or says who uses the machine."""

BUBBLEWRAP_MIN: Final = (0, 8)
"""The first with --disable-userns, without which a plugin gets namespaces of its own."""

Version: TypeAlias = tuple[int, ...]


def _read_only(values: Mapping[str, str]) -> Mapping[str, str]:
    return MappingProxyType(dict(values))


def _read_only_links(values: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return MappingProxyType(dict(values))


class PathKind(StrEnum):
    """What lies at a path, links followed."""

    FILE = "file"
    """Anything that is no folder."""
    FOLDER = "folder"
    MISSING = "missing"


@attrs.frozen(kw_only=True)
class PathFact:
    """What was found at one path of a manifest."""

    kind: PathKind
    resolved: str
    """Where it leads with every link followed; the path itself where there are none."""


@attrs.frozen(kw_only=True)
class Bubblewrap:
    """The bubblewrap that was found."""

    path: str
    version: Version
    """As in (0, 8, 0)."""
    binds_by_descriptor: bool
    """Whether it has --bind-fd and --ro-bind-fd. The version doesn't tell: they came with 0.11, and
    distributions brought them into older ones (for CVE-2024-42472)."""

    @property
    def is_recent_enough(self) -> bool:
        """Whether it has every option that a plan needs."""
        return self.version >= BUBBLEWRAP_MIN


class CgroupVersion(StrEnum):
    """Which of the kernel's two interfaces for groups of processes is mounted and can be used."""

    V1 = "v1"
    V2 = "v2"


@attrs.frozen(kw_only=True)
class Cgroups:
    """Groups of processes that this host may make and bound."""

    version: CgroupVersion
    controllers: frozenset[str]
    """Those in which a group of ours can be made: `memory`, `pids`, `cpu`."""
    folders: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)
    """By controller, the folder in which a group of ours can be made."""


@attrs.frozen(kw_only=True)
class HostFacts:
    """What this machine is and has. What couldn't be found out counts as not there."""

    platform: str
    """As in sys.platform: `linux`, `darwin`."""
    architecture: str
    """As the kernel calls it: `x86_64`, `aarch64`."""
    kernel: str
    """Its release, as in 6.18.44."""
    uid: int
    """The user that the host runs as; 0 is root."""
    home: str
    """The home of that user, which `~/` in a manifest stands for."""
    bubblewrap: Bubblewrap | None = None
    sandbox_exec: str | None = None
    """The path of macOS's sandbox-exec."""
    prlimit: str | None = None
    """The path of util-linux's prlimit, which sets limits before a program starts."""
    root_entries: Mapping[str, str | None] = attrs.field(factory=dict, converter=_read_only_links)
    """Which of ROOT_NAMES are here: the text of the link, or None for a real folder."""
    etc_entries: Mapping[str, str] = attrs.field(factory=dict, converter=_read_only)
    """Which of ETC_NAMES are here, and where each leads with every link followed."""
    has_user_namespaces: bool = False
    """Whether bubblewrap could make all namespaces when it was tried."""
    has_seccomp: bool = False
    """Whether the kernel took a filter when it was tried."""
    landlock_abi: int = 0
    """0 where the kernel has none."""
    cgroups: Cgroups | None = None
