"""What this machine has for the sandboxes of process plugins, in words for people.

The command line shows it; an application can ask before it opens a runtime.
"""

import os
from collections.abc import Iterator
from enum import StrEnum

import attrs

from sigil_actors.core.host_facts import LINUX, CgroupVersion, HostFacts
from sigil_actors.runtime.settings import RuntimeSettings, UidRange
from sigil_actors.tiers.process.sandbox.lacks import Lack, lacks
from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking
from sigil_actors.tiers.process.spawner import Identity


class Fitness(StrEnum):
    """How far something is here."""

    GOOD = "good"
    WEAKER = "weaker"
    """Sandboxes are made, with less in them."""
    LACKING = "lacking"
    """Without it no sandbox is made, and process plugins are refused."""
    UNUSED = "unused"


@attrs.frozen(kw_only=True)
class SandboxPart:
    """One thing that sandboxes are made of."""

    name: str
    fitness: Fitness
    found: str
    remedy: str = ""


def sandbox_report(settings: RuntimeSettings | None = None) -> tuple[SandboxPart, ...]:
    """Try what sandboxes need, as the user that plugins would run as. Takes some 50 ms."""
    uids = (settings or RuntimeSettings()).plugin_uids
    is_root = os.geteuid() == 0
    facts = probe_host_blocking(Identity(uid=uids.first, gid=uids.first) if is_root else None)
    return report_of(facts, uids)


def report_of(facts: HostFacts, uids: UidRange) -> tuple[SandboxPart, ...]:
    """Return what there is on a machine of these facts."""
    missing = {lack.name: _lacking(lack) for lack in lacks(facts)}
    if facts.platform != LINUX:
        return tuple(missing.values())
    return tuple(missing.get(part.name, part) for part in _parts(facts, uids))


def _good(name: str, found: str) -> SandboxPart:
    return SandboxPart(name=name, fitness=Fitness.GOOD, found=found)


def _lacking(lack: Lack) -> SandboxPart:
    return SandboxPart(
        name=lack.name,
        fitness=Fitness.LACKING if lack.is_needed else Fitness.WEAKER,
        found=lack.what,
        remedy=lack.remedy,
    )


def _parts(facts: HostFacts, uids: UidRange) -> Iterator[SandboxPart]:
    """Yield all parts, as if none were lacking."""
    bubblewrap, cgroups = facts.bubblewrap, facts.cgroups
    if bubblewrap is None:
        yield _untried("bubblewrap")
    else:
        version = ".".join(map(str, bubblewrap.version))
        by = "descriptors" if bubblewrap.binds_by_descriptor else "paths, and looks again"
        yield _good("bubblewrap", f"{bubblewrap.path} {version}; binds folders by {by}")
    if facts.has_user_namespaces:
        yield _good("namespaces", "user, pid, mount, network, ipc, uts")
    else:
        yield _untried("namespaces")
    if facts.has_seccomp:
        yield _good("seccomp", f"a filter for {facts.architecture}")
    else:
        yield _untried("seccomp")
    if cgroups is None:
        yield _untried("cgroups")
    else:
        number = "2" if cgroups.version is CgroupVersion.V2 else "1"
        yield _good("cgroups", f"version {number}; bounds {', '.join(sorted(cgroups.controllers))}")
    if facts.landlock_abi:
        yield _good("landlock", f"version {facts.landlock_abi}; a second layer in each sandbox")
    else:
        yield SandboxPart(
            name="landlock",
            fitness=Fitness.UNUSED,
            found="not in this kernel; the mounts alone decide what a plugin opens",
        )
    yield _good(
        "uids", f"each plugin has its own, of {uids.first} to {uids.first + uids.count - 1}"
    )


def _untried(name: str) -> SandboxPart:
    return SandboxPart(
        name=name,
        fitness=Fitness.LACKING,
        found="not tried",
        remedy="See above: it needs what is missing there",
    )
