"""The paths of a manifest's `sandbox.filesystem`: what each stands for, and which are refused.

Owns what is safe to hand to a plugin at all. Texts only: whether something lies there, and where
links lead, others find out.
"""

from collections.abc import Collection, Iterable
from typing import Final

import attrs

from sigil_actors.core.execution import FilesystemPolicy
from sigil_actors.core.execution_rules import check_path
from sigil_actors.core.wording import shown
from sigil_actors.errors import SandboxRequestError

SELF: Final = "self"
"""The component that stands for the plugin's name in `write_allow` and `read_allow`."""

KEY: Final = "execution.sandbox.filesystem"

NEVER_SHOWN: Final = ("/proc", "/sys", "/dev")
"""The kernel's own interfaces, each with all below it: through them the host itself is reached."""

NEVER_SHOWN_WHOLE: Final = (
    "/",
    "/Library",
    "/Users",
    "/etc",
    "/home",
    "/private",
    "/private/etc",
    "/private/tmp",
    "/private/var",
    "/root",
    "/run",
    "/tmp",  # noqa: S108 - nothing is put there
    "/var",
    "/var/run",
    "/var/tmp",  # noqa: S108
)
"""Too wide to be handed out, although a folder inside may be. They hold other programs' sockets,
to which a read-only file system is no bar, and other users' files."""

NEVER_WRITTEN: Final = (
    "/Applications",
    "/Library",
    "/System",
    "/bin",
    "/boot",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/private/etc",
    "/run",
    "/sbin",
    "/usr",
    "/var/run",
)
"""What other programs run or obey, each with all below it: writing there is running as them."""

NEVER_WRITTEN_WHOLE: Final = ("/mnt", "/media", "/opt", "/srv", "/usr/local", "/var/lib")
"""Whole trees of other programs."""

NEVER_WRITTEN_AT_HOME: Final = (
    ".aws",
    ".bash_profile",
    ".bashrc",
    ".config/autostart",
    ".config/systemd",
    ".docker",
    ".gnupg",
    ".kube",
    ".local/bin",
    ".profile",
    ".ssh",
    ".zshrc",
    "bin",
)
"""The same, below the home of the host's user."""


@attrs.frozen(kw_only=True)
class RequestedPath:
    """One entry of a list, in its plain form."""

    key: str
    """Where it stands in the manifest: `execution.sandbox.filesystem.write_allow[0]`."""
    written: str
    """As its author wrote it."""
    path: str
    """Absolute, without `~`, `self`, a final `/*`, doubled or final slashes, or dots."""
    is_surely_folder: bool
    """Whether it was written as one, by a final slash or `/*`."""


@attrs.frozen(kw_only=True)
class RequestedPaths:
    """What a manifest asks for of the file system."""

    write_allow: tuple[RequestedPath, ...]
    read_allow: tuple[RequestedPath, ...]
    read_deny: tuple[RequestedPath, ...]


def is_within(path: str, folder: str) -> bool:
    """Tell whether `path` is `folder` or lies below it."""
    return folder in {"/", path} or path.startswith(f"{folder}/")


def overlap(one: str, other: str) -> bool:
    """Tell whether one of the two lies within the other."""
    return is_within(one, other) or is_within(other, one)


def plain_path(path: str) -> str:
    """Return an absolute path without doubled or final slashes and single dots."""
    return "/" + "/".join(part for part in path.split("/") if part not in {"", "."})


def depth(path: str) -> int:
    """Return how many components a plain path has."""
    return 0 if path == "/" else path.count("/")


def requested_paths(plugin: str, policy: FilesystemPolicy, *, home: str) -> RequestedPaths:
    """Return what `policy` asks for, in plain form.

    Raises:
        SandboxRequestError: an entry is no path that can be used at all.
    """

    def read(key: str, entries: Iterable[str], *, name: str | None) -> tuple[RequestedPath, ...]:
        return tuple(
            _requested_path(plugin, f"{KEY}.{key}[{index}]", entry, home=home, name=name)
            for index, entry in enumerate(entries)
        )

    return RequestedPaths(
        write_allow=read("write_allow", policy.write_allow, name=plugin),
        read_allow=read("read_allow", policy.read_allow, name=plugin),
        read_deny=read("read_deny", policy.read_deny, name=None),
    )


def _requested_path(
    plugin: str, key: str, written: str, *, home: str, name: str | None
) -> RequestedPath:
    for fault in check_path(key, written):
        raise SandboxRequestError(plugin, key, fault.what, remedy=fault.remedy)
    path = written
    if path.startswith("~/"):
        if not home.startswith("/"):
            raise SandboxRequestError(
                plugin,
                key,
                f"{shown(written)} needs a home, and the host's user has none",
                remedy="Write the path in full",
            )
        path = f"{home}/{path[2:]}"
    if not path.startswith("/"):
        raise SandboxRequestError(
            plugin,
            key,
            f"{shown(written)} is relative to nothing",
            remedy="Write a path from / or ~/ on",
        )
    is_surely_folder = path.endswith(("/", "/*"))
    path = path.removesuffix("/*")
    if "*" in path:
        raise SandboxRequestError(
            plugin,
            key,
            f"{shown(written)} has a star elsewhere than as its last component",
            remedy="Name the folder; all that is in it is meant",
        )
    plain = plain_path(path)
    if name is not None:
        plain = "/" + "/".join(name if part == SELF else part for part in plain[1:].split("/"))
    return RequestedPath(key=key, written=written, path=plain, is_surely_folder=is_surely_folder)


def check_requested_paths(
    plugin: str, paths: RequestedPaths, *, folder: str, home: str, host_folders: Collection[str]
) -> None:
    """Refuse what would hand the host itself to the plugin.

    `folder` is the plugin's own, `host_folders` are those that this runtime keeps for itself: its
    state, the plugins' folders.

    Raises:
        SandboxRequestError: names the entry and what to write instead.
    """
    for one in paths.write_allow:
        _check_shown(plugin, one, home=home, host_folders=host_folders)
        _check_written(plugin, one, home=home)
        if overlap(one.path, folder):
            raise SandboxRequestError(
                plugin,
                one.key,
                f"{shown(one.written)} and the plugin's own folder lie within one another, and"
                " what runs must not be writable",
                remedy="Name a folder of its own for what the plugin writes",
            )
    for one in paths.read_allow:
        _check_shown(plugin, one, home=home, host_folders=host_folders)


def _check_shown(
    plugin: str, one: RequestedPath, *, home: str, host_folders: Collection[str]
) -> None:
    remedy = "Name the folder that the plugin needs, and no wider one"
    if any(is_within(one.path, forbidden) for forbidden in NEVER_SHOWN):
        what = "is the kernel's own, through which the host is reached"
    elif one.path in NEVER_SHOWN_WHOLE or any(
        is_within(forbidden, one.path) for forbidden in NEVER_SHOWN
    ):
        what = "is far more than one plugin's"
    elif is_within(home, one.path):
        what = "is the whole home of the host's user"
    elif clash := next((held for held in host_folders if overlap(one.path, held)), None):
        what = f"reaches {clash}, which the host keeps for itself"
    else:
        return
    raise SandboxRequestError(plugin, one.key, f"{shown(one.written)} {what}", remedy=remedy)


def _check_written(plugin: str, one: RequestedPath, *, home: str) -> None:
    if (
        one.path in NEVER_WRITTEN_WHOLE
        or any(is_within(one.path, forbidden) for forbidden in NEVER_WRITTEN)
        or any(overlap(one.path, f"{home}/{forbidden}") for forbidden in NEVER_WRITTEN_AT_HOME)
    ):
        raise SandboxRequestError(
            plugin,
            one.key,
            f"{shown(one.written)} is what other programs run or obey",
            remedy="Name a folder of the plugin's own, as in /var/lib/plugins/self",
        )
