"""The file system of a sandbox as a list of steps, each a value, to be taken in order.

Owns what the steps are. Which ones a plugin gets is planned in `sandbox_plan`, how bubblewrap is
told in `bwrap_args`. Every path is absolute and as the plugin sees it, but for `Bind.source`.
"""

from typing import TypeAlias

import attrs


@attrs.frozen(kw_only=True)
class Bind:
    """Something of the host's, shown to the plugin."""

    source: str
    """Where it is on the host."""
    target: str
    is_writable: bool = False
    is_by_descriptor: bool = False
    """Whether the host opens it first, following no link on the way, and what was opened is bound:
    else a plugin that can write a parent could put a link in its place between two launches."""
    is_pin: bool = False
    """Whether it shows nothing that isn't shown anyhow, and only keeps a folder from being moved:
    the folder needn't be one that the plugin can write, nor counted a second time."""
    may_be_missing: bool = False
    """Only where the plan was made without facts: what isn't there is left out."""
    why: str
    """What it is there for, in a few words."""


@attrs.frozen(kw_only=True)
class Link:
    """A symbolic link."""

    path: str
    leads_to: str


@attrs.frozen(kw_only=True)
class EmptyFolder:
    """A folder that holds nothing but what later steps put there."""

    path: str
    mode: int


@attrs.frozen(kw_only=True)
class SyntheticFile:
    """A read-only file with a text of ours in the place of the host's."""

    path: str
    content: bytes = attrs.field(repr=False)
    is_program: bool = False
    """Whether it may be run."""


@attrs.frozen(kw_only=True)
class ScratchFolder:
    """A writable folder in memory, gone with the plugin."""

    path: str
    mode: int
    size_bytes: int


@attrs.frozen(kw_only=True)
class ProcessFiles:
    """/proc, of the sandbox's own processes only."""

    path: str


@attrs.frozen(kw_only=True)
class DeviceFiles:
    """/dev with the few devices that hold nothing: null, zero, full, random, urandom, tty."""

    path: str


@attrs.frozen(kw_only=True)
class HiddenFile:
    """A file that can't be opened, by a device over it that may not be used there."""

    path: str


@attrs.frozen(kw_only=True)
class HiddenFolder:
    """A folder that is empty and can't be opened, by a file system of nothing over it."""

    path: str


@attrs.frozen(kw_only=True)
class Sealed:
    """From here on nothing can be made or changed in the file system at `path` itself."""

    path: str


Mount: TypeAlias = (
    Bind
    | Link
    | EmptyFolder
    | SyntheticFile
    | ScratchFolder
    | ProcessFiles
    | DeviceFiles
    | HiddenFile
    | HiddenFolder
    | Sealed
)
