"""What a plugins folder looks like from outside: a fingerprint of each sub-folder, without reading.

Made of what the file system says of every entry, so a look at thousands of files takes
milliseconds. The snapshot's hash is what counts; this tells when it's worth making one.
"""

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

FOLDERS_MAX: Final = 10_000
"""Sub-folders looked into, as at discovery; a plugins folder with more is some other folder."""

DEPTH_MAX: Final = 32
"""Folders within folders, as in a snapshot; each level holds a descriptor."""

_TOO_LARGE: Final = b"too large"


def fingerprints(folder: Path, *, files_max: int) -> dict[str, bytes]:
    """Return a fingerprint of each sub-folder by its name; hidden ones and files are left out.

    A missing folder is an empty one. A sub-folder may be a link to one, as at discovery; nothing
    else is followed. One that can't be read has a fingerprint too, and so has one with more than
    `files_max` entries or deeper than `DEPTH_MAX`: the same whatever it holds, since no plugin can
    be loaded from it.

    Blocks, for some 10 µs an entry.

    Raises:
        OSError: the folder can't be read, is none, or holds more than `FOLDERS_MAX` sub-folders.
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    try:
        found: dict[str, bytes] = {}
        for name in _sub_folders(top):
            fingerprint = _fingerprint(top, name, files_max)
            if fingerprint is not None:
                found[name] = fingerprint
        return found
    finally:
        os.close(top)


def _sub_folders(top: int) -> list[str]:
    names: list[str] = []
    with os.scandir(top) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not _is_folder(entry):
                continue
            names.append(entry.name)
            if len(names) > FOLDERS_MAX:
                raise OSError(f"it holds more than {FOLDERS_MAX} folders")
    return names


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=True)
    except OSError:
        return False  # a link that leads in a circle, or to where we may not look


def _fingerprint(top: int, name: str, files_max: int) -> bytes | None:
    """Return the fingerprint of one sub-folder; None where it is gone by now."""
    look = _Look(files_max)
    try:
        folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=top)
    except FileNotFoundError:
        return None
    except OSError as error:
        look.note_error("", error)
        return look.digest()
    try:
        look.note("", os.fstat(folder))
        look.note_entries(folder, "", 0)
    except _TooLargeError:
        return _TOO_LARGE
    finally:
        os.close(folder)
    return look.digest()


class _TooLargeError(Exception):
    """There is more of it than any plugin has."""


class _Look:
    """One look at one sub-folder."""

    def __init__(self, files_max: int) -> None:
        self._files_max = files_max
        self._files = 0
        self._hash = hashlib.sha256()

    def digest(self) -> bytes:
        return self._hash.digest()

    def note(self, path: str, status: os.stat_result) -> None:
        """Take one entry in: by what changes when somebody edits, replaces or swaps it."""
        if stat.S_ISDIR(status.st_mode):
            # Its times and size tell that something in it was made and removed again, as editors
            # do; what is in it is noted anyway.
            facts: tuple[int, ...] = ()
        else:
            # The last one can't be put back, as `touch -r` and archivers put back the others.
            facts = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        self._note(path, (status.st_mode, status.st_dev, status.st_ino, *facts))

    def note_error(self, path: str, error: OSError) -> None:
        self._note(path, ("error", error.errno))

    def _note(self, path: str, facts: tuple[object, ...]) -> None:
        # A name may hold any character but NUL, so that ends it.
        self._hash.update(b"%s\0%s\0" % (os.fsencode(path), repr(facts).encode()))

    def note_entries(self, folder: int, prefix: str, depth: int) -> None:
        if depth > DEPTH_MAX:
            raise _TooLargeError
        for name, status in self._entries(folder, prefix):
            path = f"{prefix}{name}"
            self.note(path, status)
            if not stat.S_ISDIR(status.st_mode):
                continue
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            try:
                inner = os.open(name, flags, dir_fd=folder)
            except OSError as error:
                self.note_error(path, error)
                continue
            try:
                self.note_entries(inner, f"{path}/", depth + 1)
            finally:
                os.close(inner)

    def _entries(self, folder: int, prefix: str) -> list[tuple[str, os.stat_result]]:
        """Return what is in a folder, sorted: the order of a listing means nothing."""
        found: list[tuple[str, os.stat_result]] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    self._files += 1
                    if self._files > self._files_max:
                        raise _TooLargeError
                    try:
                        found.append((entry.name, entry.stat(follow_symlinks=False)))
                    except FileNotFoundError:
                        continue  # gone between the listing and now
        except OSError as error:
            self.note_error(prefix, error)
        return sorted(found, key=lambda pair: pair[0])
