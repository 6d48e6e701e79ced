"""What a stranger's bytes are, before wasmtime sees them, and how they are read from a folder.

Owns the refusals of whatever isn't a core module. Knows nothing of imports and exports.
"""

import errno
import os
import stat
from pathlib import Path, PurePosixPath

from sigil_actors.core.text import escape_text
from sigil_actors.errors import LimitExceededError, PluginStartError
from sigil_actors.tiers.wasm.limits import MODULE_BYTES_MAX, shown_bytes

_MAGIC = b"\0asm"
_CORE_VERSION = b"\1\0\0\0"
_COMPONENT_LAYER = b"\1\0"
"""The upper half of a component's version field; a core module has zeros there."""

_BUILD_REMEDY = "Build a core module, as with `zig build-exe -target wasm32-freestanding`"


def check_module_bytes(plugin: str, data: bytes) -> None:
    """Refuse what is no core module by its first bytes; wasmtime would take text for WAT.

    Raises:
        PluginStartError: it is something else; the remedy says what to build.
        LimitExceededError: it is over `MODULE_BYTES_MAX`.
    """
    if len(data) > MODULE_BYTES_MAX:
        raise module_too_large(plugin)
    if not data:
        raise PluginStartError(plugin, "has an empty module", remedy=_BUILD_REMEDY)
    if not data.startswith(_MAGIC):
        what = "WebAssembly text" if data.lstrip().startswith(b"(") else "no WebAssembly"
        raise PluginStartError(
            plugin,
            f"has a module that is {what}: it starts with the bytes {data[:4].hex(' ')}, not with "
            f"{_MAGIC.hex(' ')}",
            remedy="Compile it first, as with wat2wasm" if "text" in what else _BUILD_REMEDY,
        )
    version = data[4:8]
    if len(version) < len(_CORE_VERSION):
        raise PluginStartError(
            plugin, f"has a module cut off after {len(data)} bytes", remedy="Copy it again"
        )
    if version[2:] == _COMPONENT_LAYER:
        raise PluginStartError(
            plugin,
            "has a component, and this host runs core modules so far",
            remedy=f"{_BUILD_REMEDY} or `cargo build --target wasm32-unknown-unknown`",
        )
    if version != _CORE_VERSION:
        raise PluginStartError(
            plugin, f"has a module of the unknown version {version.hex()}", remedy=_BUILD_REMEDY
        )


def module_too_large(plugin: str) -> LimitExceededError:
    """Return the error for a module over its bound, which is the host's and not the manifest's."""
    return LimitExceededError(
        plugin, bound="module size", value=shown_bytes(MODULE_BYTES_MAX), key=""
    )


def read_module(plugin: str, folder: Path, module: str) -> bytes:
    """Return the bytes of the file `module` in `folder`, no link followed below the folder. Blocks.

    Raises:
        PluginStartError: it isn't there, can't be read, or is no regular file inside the folder.
        LimitExceededError: it is over `MODULE_BYTES_MAX`.
    """
    shown = escape_text(module)
    parts = PurePosixPath(module).parts
    if not parts or parts[0] == "/" or ".." in parts or "\0" in module:
        raise PluginStartError(
            plugin,
            f"names the module {shown!r}, which is not inside its folder",
            remedy="Give execution.module a path relative to plugin.yaml",
        )
    try:
        return _read_below(plugin, folder, parts)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            why, remedy = "a link stands in the way", "Put the file itself into the folder"
        else:
            why = os.strerror(error.errno) if error.errno else "it can't be read"
            remedy = "Build it, or correct execution.module"
        raise PluginStartError(
            plugin, f"has no module {shown!r} in its folder: {why}", remedy=remedy
        ) from error


def _read_below(plugin: str, folder: Path, parts: tuple[str, ...]) -> bytes:
    # One step at a time, each refusing links: a path is walked anew by whoever opens it, and a
    # folder swapped for a link in between would lead anywhere.
    here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in parts[:-1]:
            below = os.open(
                name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=here
            )
            os.close(here)
            here = below
        # Without O_NONBLOCK, opening a pipe would wait for its other end for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(parts[-1], flags, dir_fd=here)
    finally:
        os.close(here)
    with os.fdopen(file, "rb") as opened:
        status = os.fstat(opened.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise PluginStartError(
                plugin,
                f"has a module {escape_text(parts[-1])!r} that is no regular file",
                remedy="Put the .wasm file there",
            )
        data = opened.read(MODULE_BYTES_MAX + 1)
    if len(data) > MODULE_BYTES_MAX:
        raise module_too_large(plugin)
    return data
