"""A sandbox plan as bubblewrap's options.

Owns the options, and nothing else: what they amount to is decided in `sandbox_plan`. Where an
option takes the number of a descriptor there is a `Slot`, which whoever launches fills; the form
for people has words in the place of numbers. See bwrap(1).
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

import attrs

from sigil_actors.core.host_facts import Bubblewrap
from sigil_actors.core.sandbox_environment import INSIDE_HOME
from sigil_actors.core.sandbox_mounts import (
    Bind,
    DeviceFiles,
    EmptyFolder,
    HiddenFile,
    HiddenFolder,
    Link,
    Mount,
    ProcessFiles,
    ScratchFolder,
    Sealed,
    SyntheticFile,
)
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.core.seccomp import filter_for

HIDDEN_FOLDER_BYTES: Final = 4096
"""The least that a file system in memory can have; 0 would mean half of the machine's memory."""


class SlotPurpose(StrEnum):
    """What a descriptor that bubblewrap is given is for."""

    CONTENT = "content"
    """It reads a file's content from it."""
    FOLDER = "folder"
    """It binds what was opened, and closes it."""
    SECCOMP = "seccomp"
    """It reads the system call filter from it."""
    STATUS = "status"
    """It writes to it, in JSON, which process the plugin is and how it ended."""
    BLOCK = "block"
    """It reads one byte from it before it runs the plugin, when everything else is ready."""


@attrs.frozen(kw_only=True)
class Slot:
    """The place of a descriptor's number in the options."""

    purpose: SlotPurpose
    path: str = ""
    """CONTENT: the file inside. FOLDER: what is to be opened on the host, following no link."""
    content: bytes = attrs.field(default=b"", repr=False)
    """CONTENT, SECCOMP: what is to be read from the descriptor."""

    def __str__(self) -> str:
        return f"<descriptor: {self.purpose}{' ' + self.path if self.path else ''}>"


Argument: TypeAlias = str | Slot


@attrs.frozen(kw_only=True)
class BwrapOptions:
    """What bubblewrap is told, up to the plugin's own command."""

    arguments: tuple[Argument, ...]
    unpinned: tuple[Bind, ...] = ()
    """Folders that are bound by their path, since this bubblewrap can't do it by a descriptor.

    Whoever launches must see, before the plugin runs, that what is there inside is what was opened.
    Handing the descriptor over as /proc/self/fd/N is no way out: the plugin would inherit it, and
    with it a door to the host's file system.
    """

    def slots(self) -> tuple[Slot, ...]:
        """Return the descriptors that are needed, in the order of the options."""
        return tuple(argument for argument in self.arguments if isinstance(argument, Slot))

    def block(self, numbers: Mapping[Slot, int]) -> bytes:
        """Return the options as `--args` reads them, each slot filled with its number."""
        words = [
            argument.encode("utf-8", "surrogateescape")
            if isinstance(argument, str)
            else b"%d" % numbers[argument]
            for argument in self.arguments
        ]
        if any(b"\0" in word for word in words):
            raise AssertionError("a NUL in a word would begin another option")
        return b"".join(word + b"\0" for word in words)

    def readable(self) -> tuple[str, ...]:
        """Return the options for people: what stands for a descriptor says which one."""
        return tuple(map(str, self.arguments))


def bwrap_options(plan: SandboxPlan, bubblewrap: Bubblewrap) -> BwrapOptions:
    """Return the options that make the sandbox of `plan`, for a launch."""
    unpinned: tuple[Bind, ...] = ()
    if not bubblewrap.binds_by_descriptor:
        unpinned = tuple(bind for bind in plan.binds() if bind.is_by_descriptor)
    return BwrapOptions(
        arguments=(
            *_isolation(plan),
            "--clearenv",
            *_variables(plan.environment),
            *_file_system(plan.mounts, by_descriptor=bubblewrap.binds_by_descriptor),
            *("--chdir", plan.folder),
            *("--seccomp", _seccomp(plan)),
            *("--json-status-fd", Slot(purpose=SlotPurpose.STATUS)),
            *("--block-fd", Slot(purpose=SlotPurpose.BLOCK)),
        ),
        unpinned=unpinned,
    )


def bwrap_command_line(plan: SandboxPlan, program: str) -> list[str]:
    """Return a whole command line that needs no descriptor, ending in `--` and the command.

    It is weaker than a launch: without the system call filter and the synthetic files, with folders
    bound by their path, and it starts in a home that is empty.
    """
    arguments = (
        *_isolation(plan),
        "--clearenv",
        *_variables(plan.environment),
        *_file_system(
            (mount for mount in plan.mounts if not isinstance(mount, SyntheticFile)),
            by_descriptor=False,
        ),
        *("--chdir", INSIDE_HOME),
    )
    return [program, *map(str, arguments), "--", *plan.command]


def _seccomp(plan: SandboxPlan) -> Slot:
    return Slot(purpose=SlotPurpose.SECCOMP, content=filter_for(plan.architecture))


def _isolation(plan: SandboxPlan) -> Iterator[str]:
    # One by one: --unshare-all has forms in it that go on where a namespace can't be made.
    yield from ("--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net")
    yield from ("--unshare-uts", "--unshare-cgroup-try", "--disable-userns")
    yield from ("--uid", str(plan.uid), "--gid", str(plan.gid), "--hostname", plan.hostname)
    yield from ("--die-with-parent", "--new-session", "--cap-drop", "ALL")


def _variables(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        yield from ("--setenv", name, value)


def _file_system(
    mounts: Sequence[Mount] | Iterator[Mount], *, by_descriptor: bool
) -> Iterator[Argument]:
    for mount in mounts:
        yield from _mount(mount, by_descriptor=by_descriptor)


def _mount(mount: Mount, *, by_descriptor: bool) -> Iterator[Argument]:
    match mount:
        case Bind():
            yield from _bind(mount, by_descriptor=by_descriptor)
        case Link():
            yield from ("--symlink", mount.leads_to, mount.path)
        case EmptyFolder():
            yield from ("--perms", f"{mount.mode:04o}", "--dir", mount.path)
        case SyntheticFile():
            slot = Slot(purpose=SlotPurpose.CONTENT, path=mount.path, content=mount.content)
            mode = "0555" if mount.is_program else "0444"
            yield from ("--perms", mode, "--ro-bind-data", slot, mount.path)
        case ScratchFolder():
            yield from _memory(mount.path, mode=mount.mode, size_bytes=mount.size_bytes)
        case ProcessFiles():
            yield from ("--proc", mount.path)
        case DeviceFiles():
            yield from ("--dev", mount.path)
        case HiddenFile() | HiddenFolder():
            yield from _mask(mount)
        case Sealed():
            yield from ("--remount-ro", mount.path)
        case _ as never:
            assert_never(never)


def _bind(bind: Bind, *, by_descriptor: bool) -> Iterator[Argument]:
    option = "--bind" if bind.is_writable else "--ro-bind"
    if bind.is_by_descriptor and by_descriptor:
        yield from (f"{option}-fd", Slot(purpose=SlotPurpose.FOLDER, path=bind.source), bind.target)
    elif bind.may_be_missing:
        yield from (f"{option}-try", bind.source, bind.target)
    else:
        yield from (option, bind.source, bind.target)


def _mask(mask: HiddenFile | HiddenFolder) -> Iterator[str]:
    if isinstance(mask, HiddenFile):
        yield from ("--ro-bind", "/dev/null", mask.path)
    else:
        yield from _memory(mask.path, mode=0, size_bytes=HIDDEN_FOLDER_BYTES)
        yield from ("--remount-ro", mask.path)


def _memory(path: str, *, mode: int, size_bytes: int) -> Iterator[str]:
    yield from ("--perms", f"{mode:04o}", "--size", str(size_bytes), "--tmpfs", path)


_SEAL: Final = ("--remount-ro", "/")


def with_handshake(
    command_line: Sequence[str], *, environment: Mapping[str, str], socket_dir: str
) -> list[str]:
    """Return a `bwrap_command_line` for one launch: with its variables, and where it listens.

    Raises:
        ValueError: it is no such command line.
    """
    words = list(command_line)
    # Options have fixed shapes up to here, and the command is a single word (`generate_args`).
    if len(words) < 2 or words[-2] != "--":  # noqa: PLR2004
        raise ValueError("the command line doesn't end in -- and the plugin's program")
    for at in range(len(words) - 4, 0, -1):
        if tuple(words[at : at + 2]) == _SEAL:
            listening = ["--bind", socket_dir, socket_dir]
            variables = list(_variables(environment))
            return [*words[:at], *listening, *words[at:-2], *variables, *words[-2:]]
    raise ValueError("the command line seals no root, so it isn't one of ours")
