"""The few calls of the kernel for which Python 3.11 has no function.

Owns their numbers and structures (the same on x86_64 and aarch64); a failure is an OSError.
"""

import ctypes
import os
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)

_OPENAT2 = 437
_LANDLOCK_CREATE_RULESET = 444
_AT_FDCWD = -100

_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04

_LANDLOCK_CREATE_RULESET_VERSION = 1


def open_path_without_links(path: str) -> int:
    """Return a descriptor that stands for what lies at `path`, and for nothing else (O_PATH).

    Raises:
        OSError: ELOOP where a component is a link; or what open(2) says.
    """
    how = struct.pack(
        "=QQQ", os.O_PATH | os.O_CLOEXEC, 0, _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
    )
    descriptor = _LIBC.syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), how, len(how))
    if descriptor < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return int(descriptor)


def landlock_abi() -> int:
    """Return which version of Landlock the kernel has; 0 for none."""
    version = _LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    return max(int(version), 0)
