"""The file that a plugin's program is in: found, seen to be one, and held against its pin."""

import hashlib
import os
import stat
from pathlib import Path

from sigil_actors.core.execution import ProcessExecution
from sigil_actors.core.text import escape_text
from sigil_actors.errors import PluginRefusedError, PluginStartError

_CHUNK = 1 << 20


def command_in(plugin: str, execution: ProcessExecution, folder: Path) -> tuple[str, ...]:
    """Return the plugin's command, the program by its absolute path.

    Raises:
        PluginRefusedError: the program is neither below the folder nor given by an absolute path.
    """
    program, *arguments = execution.command_of(plugin)
    path = Path(program)
    if ".." in path.parts or "\0" in program or program.startswith("~"):
        raise PluginRefusedError(
            plugin,
            f"names {escape_text(program, limit=200)!r}, which is not inside its folder",
            remedy="Give execution.command[0] a path relative to plugin.yaml, or an absolute one",
        )
    return (str(folder / path), *arguments)


def check_program(plugin: str, program: Path, *, sha256: str | None) -> None:
    """See that the program can be run, and that it is the one that its manifest means. Blocks.

    A link is followed: a virtual environment's interpreter is one. What lies in the snapshot can't
    change after this; for a program elsewhere, a pin is worth as much as the place is well kept.

    Raises:
        PluginRefusedError: it isn't there, is no program, or another one than was pinned.
        PluginStartError: it can't be read.
    """
    shown = escape_text(str(program), limit=200)
    try:
        # Without O_NONBLOCK, opening a pipe would wait for its other end for ever.
        descriptor = os.open(program, os.O_RDONLY | os.O_NONBLOCK)
    except OSError as error:
        kind = PluginRefusedError if isinstance(error, FileNotFoundError) else PluginStartError
        raise kind(
            plugin,
            f"has no program {shown!r} that can be opened: {error.strerror}",
            remedy="Build it, or correct execution.command",
        ) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode) or not mode & 0o111:
            what = "is not executable" if stat.S_ISREG(mode) else "is no regular file"
            raise PluginRefusedError(
                plugin,
                f"has a program {shown!r} that {what}",
                remedy="Make it a program: chmod +x",
            )
        if sha256 is None:
            return
        found = hashlib.sha256()
        while chunk := os.read(descriptor, _CHUNK):
            found.update(chunk)
    finally:
        os.close(descriptor)
    if found.hexdigest() != sha256.lower():
        raise PluginRefusedError(
            plugin,
            f"has a program with the SHA-256 {found.hexdigest()}, and its pin says"
            f" {escape_text(sha256, limit=80)}",
            remedy="If the new program is the right one, put its hash into execution.sha256",
        )
