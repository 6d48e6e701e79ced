"""A sandbox plan as a profile for macOS's sandbox-exec.

Seatbelt doesn't put a file system together, it decides about the host's own, and the last rule that
fits decides. So the plan's binds become rules in the same order, and what only exists on Linux
(/proc, file systems in memory, links) is left out. No path stands in the profile's text: each is a
parameter, so that nothing a manifest says is ever read as a rule.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import attrs

from sigil_actors.core.sandbox_mounts import Bind, HiddenFile, HiddenFolder
from sigil_actors.core.sandbox_plan import SandboxPlan

PROGRAM: Final = "sandbox-exec"

_BASE: Final = """\
(version 1)
(deny default)
(allow process-exec process-fork)
(allow signal process-info* (target same-sandbox))
(allow sysctl-read)
(allow file-read-metadata)
(allow file-read* (literal "/"))
(allow file-read* file-write-data (literal "/dev/null") (literal "/dev/zero"))
(allow file-read* (literal "/dev/random") (literal "/dev/urandom"))
(allow system-socket (socket-domain AF_UNIX))
"""
"""What every program needs. Names and sizes of all files are visible: Seatbelt checks each folder
on the way to a file, and there is no list of those that a program walks through."""


@attrs.frozen(kw_only=True)
class SeatbeltProfile:
    """What sandbox-exec is told."""

    text: str
    parameters: Mapping[str, str]
    """By the name that the text calls it."""


def seatbelt_profile(plan: SandboxPlan) -> SeatbeltProfile:
    """Return the profile that holds a plugin to `plan`."""
    parameters: dict[str, str] = {}

    def place(path: str) -> str:
        name = f"PATH_{len(parameters)}"
        parameters[name] = path
        return f'(param "{name}")'

    rules: list[str] = []
    for mount in plan.mounts:
        match mount:
            case Bind():
                is_own = mount.source == plan.socket_dir
                rules += _bind(mount, place(mount.source), is_listening=is_own)
            case HiddenFile() | HiddenFolder():
                rules.append(f"(deny file-read* file-write* (subpath {place(mount.path)}))")
            case _:
                pass
    return SeatbeltProfile(
        text=_BASE + "".join(f"{rule}\n" for rule in (*rules, *_network(plan))),
        parameters=MappingProxyType(parameters),
    )


def _bind(bind: Bind, place: str, *, is_listening: bool) -> Iterator[str]:
    yield f"(allow file-read* (subpath {place}))"
    if not bind.is_writable:
        yield f"(allow file-map-executable (subpath {place}))"
        # It may lie in a writable one.
        yield f"(deny file-write* (subpath {place}))"
        return
    yield f"(allow file-write* (subpath {place}))"
    # Set-id bits are for the host to give; and a folder that is moved would leave behind the rules
    # for what is hidden in it.
    yield f"(deny file-write-setugid (subpath {place}))"
    yield f"(deny file-write-unlink (literal {place}))"
    if is_listening:
        yield f"(allow network-bind network-inbound network-outbound (subpath {place}))"


def _network(plan: SandboxPlan) -> Iterator[str]:
    if plan.proxy_port is not None:
        yield "(allow system-socket (socket-domain AF_INET))"
        yield f'(allow network-outbound (remote ip "localhost:{plan.proxy_port:d}"))'


def seatbelt_command_line(plan: SandboxPlan, program: str = PROGRAM) -> list[str]:
    """Return the whole command line, ending in `--` and the plugin's command.

    The environment isn't part of it: whoever runs it passes exactly the plan's.
    """
    profile = seatbelt_profile(plan)
    parameters = [
        word for name, path in profile.parameters.items() for word in ("-D", f"{name}={path}")
    ]
    return [program, *parameters, "-p", profile.text, "--", *plan.command]
