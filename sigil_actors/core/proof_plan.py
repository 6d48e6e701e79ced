"""The plan of a plugin's sandbox, turned into one in which the attacks run instead of the plugin.

Exactly that sandbox, but for one file more: the attacks' own program.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

import attrs

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_plan import SandboxPlan

PROGRAM: Final = "/.sigil-attacks"
"""Where the attacks' program is inside: a name that no plan uses."""


def proof_plan(plan: SandboxPlan, program: bytes, arguments: Mapping[str, str]) -> SandboxPlan:
    """Return the plan under which the attacks run; `arguments` tell them what to attack."""
    return attrs.evolve(
        plan.with_program(PROGRAM, program),
        command=(PROGRAM, *(f"{name}={value}" for name, value in arguments.items())),
        # What the protocol sets differs with each start, and is none of the sandbox's.
        environment={},
    )


def proof_name(plan: SandboxPlan, facts: HostFacts, program: bytes, *, has_own_uid: bool) -> str:
    """Return what a proof is remembered by: whatever could change its answer, as one hash.

    The folders that each start has of its own count only by what they are, not where.
    """
    same = attrs.evolve(plan, command=("/program",), environment={}, plugin="plugin")
    text = repr(same)
    for place, word in ((plan.folder, "<folder>"), (plan.socket_dir, "<sockets>")):
        if place:
            text = text.replace(place, word)
    bubblewrap, cgroups = facts.bubblewrap, facts.cgroups
    parts = (
        text,
        facts.kernel,
        facts.architecture,
        repr(bubblewrap),
        repr(None if cgroups is None else (cgroups.version, sorted(cgroups.controllers))),
        repr((facts.has_seccomp, facts.landlock_abi, facts.uid == 0, has_own_uid)),
        hashlib.sha256(program).hexdigest(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
