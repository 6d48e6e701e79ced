"""Opens the folders of the host's that a sandbox shows, following no link, and looks at them first.

Between two launches a plugin may have put a link in the place of a folder that it can write, or of
one on the way there. So each is opened once, and what was opened is what the sandbox gets: by the
descriptor itself, or, where bubblewrap only takes paths, by a look at what it mounted before the
plugin runs.
"""

import errno
import os
import shlex
import stat
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path

from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.core.wording import shown
from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.sandbox.system_calls import open_path_without_links
from sigil_actors.tiers.process.spawner import Identity

ACL = "system.posix_acl_access"
"""Where a folder has one, its mode doesn't tell who may write."""

OWNER_SHIFT, GROUP_SHIFT = 6, 3
"""Where the bits of a mode stand that are the others' lowest three; see inode(7)."""


@contextmanager
def open_folders(
    plugin: str, binds: Iterable[Bind], *, identity: Identity | None
) -> Generator[Mapping[str, int], None, None]:
    """Open what is to be bound; yields by source the descriptor, closed with the block.

    Raises:
        PluginStartError: one is missing, a link, or can't be written by the plugin's uid.
    """
    opened: dict[str, int] = {}
    try:
        for bind in binds:
            if bind.source not in opened:
                opened[bind.source] = _open(plugin, bind)
                if identity is not None:
                    _check_reachable(plugin, bind, identity)
            if bind.is_writable and not bind.is_pin:
                _check_writable(plugin, bind.source, opened[bind.source], identity)
        yield opened
    finally:
        for descriptor in opened.values():
            os.close(descriptor)


def _open(plugin: str, bind: Bind) -> int:
    try:
        return open_path_without_links(bind.source)
    except OSError as error:
        place = shown(bind.source)
        if error.errno == errno.ELOOP:
            raise PluginStartError(
                plugin,
                f"is to be shown {place} ({bind.why}), but that path leads through a link",
                remedy=f"Look who put it there; then name the folder itself: {_led_to(bind)}",
            ) from error
        remedy = f"Make it: {_make_line(bind)}" if error.errno == errno.ENOENT else "Mend that"
        raise PluginStartError(
            plugin,
            f"is to be shown {place} ({bind.why}): {error.strerror}",
            remedy=remedy,
        ) from error


def _check_reachable(plugin: str, bind: Bind, identity: Identity) -> None:
    """See that bubblewrap, which runs as the plugin's uid, may pass all folders on the way."""
    for above in Path(bind.source).parents:
        if not _may(above.stat(), identity, stat.S_IXOTH) and not _has_acl(str(above)):
            raise PluginStartError(
                plugin,
                f"is to be shown {shown(bind.source)} ({bind.why}), but its uid {identity.uid} may"
                f" not pass {shown(str(above))}",
                remedy=f"Run: chmod o+x {shlex.quote(str(above))}; or put it elsewhere",
            )


def _led_to(bind: Bind) -> str:
    return shown(os.path.realpath(bind.source))


def _make_line(bind: Bind) -> str:
    return f"mkdir -p {shlex.quote(bind.source)}"


def _check_writable(plugin: str, source: str, folder: int, identity: Identity | None) -> None:
    found = os.fstat(folder)
    if not stat.S_ISDIR(found.st_mode):
        raise PluginStartError(
            plugin, f"is to write in {shown(source)}, which is no folder", remedy="Name a folder"
        )
    if identity is None:
        if os.access(f"/proc/self/fd/{folder}", os.W_OK | os.X_OK):
            return
        who, remedy = "the host's user", f"chmod u+rwx {shlex.quote(source)}, or name another"
    else:
        if _may(found, identity, stat.S_IWOTH | stat.S_IXOTH) or _has_acl(
            f"/proc/self/fd/{folder}"
        ):
            return
        who = f"the plugin's uid {identity.uid}"
        remedy = f"Run: chown {identity.uid}:{identity.gid} {shlex.quote(source)}"
    raise PluginStartError(plugin, f"can't write in {shown(source)} as {who}", remedy=remedy)


def _may(found: os.stat_result, identity: Identity, wanted: int) -> bool:
    """Tell what a folder's mode says of somebody; `wanted` is as for the others."""
    if found.st_uid == identity.uid:
        wanted <<= OWNER_SHIFT
    elif found.st_gid == identity.gid:
        wanted <<= GROUP_SHIFT
    return found.st_mode & wanted == wanted


def _has_acl(path: str) -> bool:
    try:
        return bool(os.getxattr(path, ACL))
    except OSError:
        return False


def check_mounted(plugin: str, init: int, binds: Iterable[Bind], opened: Mapping[str, int]) -> None:
    """See that what bubblewrap mounted by a path is what was opened; `init` is held before its end.

    Raises:
        PluginStartError: it is something else.
    """
    root = Path(f"/proc/{init}/root")
    for bind in binds:
        try:
            # What is last in the path isn't followed, and what is before it is ours.
            mounted = (root / bind.target.lstrip("/")).lstat()
        except OSError as error:
            raise _changed(plugin, bind) from error
        if not os.path.samestat(mounted, os.fstat(opened[bind.source])):
            raise _changed(plugin, bind)


def _changed(plugin: str, bind: Bind) -> PluginStartError:
    return PluginStartError(
        plugin,
        f"was to be shown {shown(bind.source)}, which became something else meanwhile",
        remedy="Look who can write the folder above it; then start it again",
    )
