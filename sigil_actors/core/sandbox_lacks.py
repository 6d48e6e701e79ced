"""What a machine lacks to make a sandbox, with what to do about it."""

from collections.abc import Iterator

import attrs

from sigil_actors.core.host_facts import BUBBLEWRAP_MIN, DARWIN, LINUX, HostFacts
from sigil_actors.core.seccomp_tables import NUMBERS


@attrs.frozen(kw_only=True)
class Lack:
    """One thing without which no plugin of the process tier is started here."""

    what: str
    remedy: str


def find_lacks(facts: HostFacts) -> tuple[Lack, ...]:
    """Return everything that is missing, what has to be mended first before the rest."""
    if facts.platform == LINUX:
        return tuple(_on_linux(facts))
    if facts.platform == DARWIN:
        if facts.sandbox_exec is not None:
            return ()
        return (Lack(what="sandbox-exec isn't found", remedy="It is part of macOS: mend the PATH"),)
    return (
        Lack(
            what=f"there is no sandbox for {facts.platform}",
            remedy="Use Linux or macOS, or plugins of the wasm tier",
        ),
    )


def _on_linux(facts: HostFacts) -> Iterator[Lack]:
    if facts.architecture not in NUMBERS:
        yield Lack(
            what=f"there is no system call filter for {facts.architecture}",
            remedy=f"Use {' or '.join(NUMBERS)}, or plugins of the wasm tier",
        )
    if not facts.has_seccomp:
        yield Lack(
            what="the kernel takes no system call filter",
            remedy="Use a kernel with CONFIG_SECCOMP_FILTER, or a container that passes it on",
        )
    if facts.bubblewrap is None:
        yield Lack(
            what="bubblewrap isn't found",
            remedy="Install it from your distribution: apt install bubblewrap",
        )
    elif not facts.bubblewrap.is_recent_enough:
        yield Lack(
            what=f"bubblewrap {_dotted(facts.bubblewrap.version)} is too old",
            remedy=f"Install {_dotted(BUBBLEWRAP_MIN)} or newer from your distribution",
        )
    elif not facts.has_user_namespaces:
        yield Lack(
            what="bubblewrap can't make its namespaces",
            remedy="Allow user namespaces for it: sysctl kernel.unprivileged_userns_clone=1 and"
            " user.max_user_namespaces; where AppArmor restricts them, a profile for bwrap with"
            " userns; in a container, run it with its own seccomp profile",
        )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
