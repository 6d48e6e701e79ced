"""What plugins were allowed, on disk: a JSON file for each plugin, in one private folder.

A file each, so that a damaged one stops no other plugin. Everything is opened without following
links and by the folder's descriptor. A file is replaced whole: whoever reads finds the record from
before a write or the one after it, also after a power cut.

Whoever can write this folder can approve anything, so it must be this user's and writable for
nobody else. Removing a file makes the host forget the plugin: its next version is a first one.
"""

import json
import os
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TypeVar

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.approvals import (
    ApprovalsFormatError,
    PluginApprovals,
    approvals_from_json,
    approvals_to_json,
)
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.text import escape_text
from sigil_actors.errors import ApprovalsUnavailableError
from sigil_actors.storage.approval_names import check_plugin_name

FILE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of one record; what a manifest of 256 KiB allows fits several times over."""

_FORMAT: Final = 1
_KEYS: Final = frozenset({"format", "plugin", "approvals"})
_OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH

T = TypeVar("T")


class FileApprovalStore:
    """An `ApprovalStore` in a folder, which is made by the first write.

    One runtime at a time, which the lock of the state folder sees to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # One thread at a time, so that two writes of one plugin can't meet in one temporary file.
        self._limiter = trio.CapacityLimiter(1)

    async def read(self, plugin: str) -> PluginApprovals:
        """Return the record; an empty one where nothing was ever written.

        Raises:
            ApprovalsUnavailableError: it can't be read, or isn't what was written.
        """
        check_plugin_name(plugin)
        return await self._run(plugin, "read", lambda: self._read(plugin))

    async def write(self, plugin: str, approvals: PluginApprovals) -> None:
        """Keep the record: on return it survives a power cut. `Cancelled` means it wasn't kept.

        Raises:
            ApprovalsUnavailableError: it can't be kept for sure. The one from before is still
                there, or, where only the last step failed, this one.
        """
        check_plugin_name(plugin)
        content = _encoded(plugin, approvals)
        if len(content) > FILE_BYTES_MAX:
            raise ApprovalsUnavailableError(
                f"the record of what plugin {plugin!r} was allowed has {len(content)} bytes, more"
                f" than {FILE_BYTES_MAX}",
                remedy="Make the plugin's manifest ask for less",
            )
        await self._run(plugin, "written", lambda: self._write(plugin, content))

    async def _run(self, plugin: str, done: str, work: Callable[[], T]) -> T:
        try:
            return await run_in_worker(work, limiter=self._limiter, abandon_on_cancel=False)
        except OSError as error:
            reason = error.strerror or str(error)
            raise ApprovalsUnavailableError(
                f"the record of what plugin {plugin!r} was allowed, in {self._shown(plugin)}, can't"
                f" be {done}: {reason}",
                remedy="Look at the disk and at the rights of that file and its folder",
            ) from error

    def _read(self, plugin: str) -> PluginApprovals:
        try:
            with _opened(self._folder) as folder:
                content = _content(_file_name(plugin), folder)
        except FileNotFoundError:
            return PluginApprovals()
        try:
            return _decoded(plugin, content)
        except ApprovalsFormatError as error:
            raise ApprovalsUnavailableError(
                f"the record of what plugin {plugin!r} was allowed is damaged:"
                f" {self._shown(plugin)} {error.what}",
                remedy="Bring it back from a backup. Without it the plugin's next version runs"
                " whatever it asks for: look at that first, then remove the file",
            ) from error

    def _write(self, plugin: str, content: bytes) -> None:
        if not self._folder.exists():
            self._folder.mkdir(mode=0o700)
            _sync(self._folder.parent)
        with _opened(self._folder) as folder:
            # Hidden, which no plugin's name can make it. Always the same, so that at most one per
            # plugin is left behind by hosts that were killed.
            temporary = f".{plugin}.tmp"
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            try:
                _write_new(temporary, folder, content)
                os.replace(temporary, _file_name(plugin), src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
            os.fsync(folder)

    def _shown(self, plugin: str) -> str:
        return escape_text(str(self._folder / _file_name(plugin)))


def _file_name(plugin: str) -> str:
    return f"{plugin}.json"


def _encoded(plugin: str, approvals: PluginApprovals) -> bytes:
    record = {"format": _FORMAT, "plugin": plugin, "approvals": approvals_to_json(approvals)}
    return json.dumps(record, indent=1).encode()


def _decoded(plugin: str, content: bytes) -> PluginApprovals:
    try:
        record: JsonValue = json.loads(content, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        raise ApprovalsFormatError("holds no JSON, or has a key twice") from error
    if not isinstance(record, dict) or record.keys() != _KEYS:
        raise ApprovalsFormatError(f"is no object with just the keys {', '.join(sorted(_KEYS))}")
    if record["format"] != _FORMAT or record["plugin"] != plugin:
        # A file that was renamed would hand one plugin's approvals to another.
        raise ApprovalsFormatError("is of another format, or another plugin's")
    return approvals_from_json(record["approvals"])


def _without_doubles(pairs: list[tuple[str, JsonValue]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key twice")
    return found


@contextmanager
def _opened(path: Path) -> Generator[int]:
    """Open the folder and check that nobody else can put a record into it."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(path, flags)
    try:
        _check_ours(folder, "its folder")
        yield folder
    finally:
        os.close(folder)


def _content(name: str, folder: int) -> bytes:
    # Not blocking: a pipe in the file's place would hold the thread for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    file = os.open(name, flags, dir_fd=folder)
    try:
        _check_ours(file, "it")
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise OSError("it is not a regular file")
        # Only now: for a folder, fdopen raises and leaves the descriptor open.
        with os.fdopen(file, "rb", closefd=False) as reader:
            content = reader.read(FILE_BYTES_MAX + 1)
    finally:
        os.close(file)
    if len(content) > FILE_BYTES_MAX:
        raise OSError(f"it has more than {FILE_BYTES_MAX} bytes")
    return content


def _check_ours(descriptor: int, what: str) -> None:
    status = os.fstat(descriptor)
    if status.st_uid != os.geteuid() or status.st_mode & _OTHERS_MAY_WRITE:
        raise OSError(f"{what} belongs to another user, or others may write it")


def _write_new(name: str, folder: int, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(name, flags, 0o600, dir_fd=folder), "wb") as writer:
        writer.write(content)
        writer.flush()
        os.fsync(writer.fileno())


def _sync(path: Path) -> None:
    """Make a folder's entries survive a power cut."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
