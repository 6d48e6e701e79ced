"""The snapshot of a plugin's folder: what was checked is what runs.

At load the folder is copied by descriptor, without following links, into a folder of the runtime's,
and hashed there. An edit of the folder afterwards is a new version, not a change of the running
one.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.errors import LimitExceededError, PluginStartError

_DEPTH_MAX = 32
"""Folders within folders. Deeper ones are no plugin's, and each level holds a descriptor."""

_CHUNK = 1024 * 1024


@attrs.frozen(kw_only=True)
class Snapshot:
    """A copy of a plugin's folder that nobody changes."""

    folder: Path
    digest: str
    """SHA-256 over every path, kind, mode and content, as 64 hex digits."""
    size_bytes: int
    files: int


@asynccontextmanager
async def open_snapshot(
    plugin: str, source: Path, *, into: Path, bytes_max: int, files_max: int
) -> AsyncGenerator[Snapshot]:
    """Copy `source` into a new folder below `into`; it is removed when the block is left.

    Raises:
        PluginStartError: the folder can't be read, or holds what can't be copied.
        LimitExceededError: it holds more than `bytes_max` or `files_max`.
    """
    target = await run_in_worker(lambda: _make_folder(plugin, into), abandon_on_cancel=False)
    try:
        copier = _Copier(plugin, bytes_max=bytes_max, files_max=files_max)
        try:
            snapshot = await run_in_worker(
                lambda: copier.copy(source, target), abandon_on_cancel=False
            )
        except OSError as error:
            raise PluginStartError(
                plugin,
                f"can't be copied from {source}: {error.strerror or error}",
                remedy="Make its folder readable for the user who runs the host",
            ) from error
        yield snapshot
    finally:
        # Shielded, so that a cancelled runtime leaves no copies behind; removing local files ends.
        with trio.move_on_after(30, shield=True):
            await run_in_worker(lambda: _remove(target), abandon_on_cancel=False)


def _make_folder(plugin: str, into: Path) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"{plugin}-", dir=into))
    # A plugin may run as somebody else than the host, and reads its own files all the same.
    folder.chmod(0o755)
    return folder


class _Copier:
    def __init__(self, plugin: str, *, bytes_max: int, files_max: int) -> None:
        self._plugin = plugin
        self._bytes_max = bytes_max
        self._files_max = files_max
        self._size = 0
        self._files = 0
        self._digest = hashlib.sha256()

    def copy(self, source: Path, target: Path) -> Snapshot:
        # Only the last part may not be a link: where the plugins folder lies is the operator's.
        top = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._copy_folder(top, target, "", 0)
        finally:
            os.close(top)
        return Snapshot(
            folder=target,
            digest=self._digest.hexdigest(),
            size_bytes=self._size,
            files=self._files,
        )

    def _copy_folder(self, folder: int, target: Path, prefix: str, depth: int) -> None:
        if depth > _DEPTH_MAX:
            raise self._limit("depth of its folder", str(_DEPTH_MAX), "")
        for name in self._names(folder):
            status = os.stat(name, dir_fd=folder, follow_symlinks=False)
            path = f"{prefix}{name}"
            if stat.S_ISDIR(status.st_mode):
                self._note(path, "d", b"")
                (target / name).mkdir(mode=0o755)
                inner = os.open(
                    name,
                    os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC,
                    dir_fd=folder,
                )
                try:
                    self._copy_folder(inner, target / name, f"{path}/", depth + 1)
                finally:
                    os.close(inner)
            elif stat.S_ISREG(status.st_mode):
                self._copy_file(folder, name, target / name, path)
            elif stat.S_ISLNK(status.st_mode):
                # Copied as a link and never followed by us; where it leads is the sandbox's to say.
                link = os.readlink(name, dir_fd=folder)
                self._note(path, "l", os.fsencode(link))
                (target / name).symlink_to(link)
            else:
                raise PluginStartError(
                    self._plugin,
                    f"can't be copied: {path!r} is neither a file nor a folder nor a link",
                    remedy="Take sockets, pipes and devices out of the plugin's folder",
                )

    def _names(self, folder: int) -> list[str]:
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self._count()
                names.append(entry.name)
        return sorted(names)

    def _copy_file(self, folder: int, name: str, target: Path, path: str) -> None:
        # Not blocking: a pipe that took the file's place since would hold the thread for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        source = os.open(name, flags, dir_fd=folder)
        with os.fdopen(source, "rb") as reader:
            status = os.fstat(reader.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError(f"{path!r} changed while it was read")
            mode = 0o755 if status.st_mode & 0o111 else 0o644
            content = hashlib.sha256()
            with target.open("xb") as writer:
                while chunk := reader.read(_CHUNK):
                    self._grow(len(chunk))
                    content.update(chunk)
                    writer.write(chunk)
            target.chmod(mode)
        self._note(path, "x" if mode == 0o755 else "f", content.digest())  # noqa: PLR2004

    def _note(self, path: str, kind: str, content: bytes) -> None:
        encoded = os.fsencode(path)
        self._digest.update(
            b"%s %d %s %d %s" % (kind.encode(), len(encoded), encoded, len(content), content)
        )

    def _count(self) -> None:
        self._files += 1
        if self._files > self._files_max:
            raise self._limit("files in its folder", str(self._files_max), "snapshot_files")

    def _grow(self, size: int) -> None:
        # A thread can't be cancelled; it asks, so that a cancelled load waits for one chunk at
        # most.
        trio.from_thread.check_cancelled()
        self._size += size
        if self._size > self._bytes_max:
            raise self._limit("size of its folder", f"{self._bytes_max} bytes", "snapshot_bytes")

    def _limit(self, bound: str, value: str, setting: str) -> LimitExceededError:
        key = f"settings.{setting}" if setting else ""
        return LimitExceededError(self._plugin, bound=bound, value=value, key=key)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
