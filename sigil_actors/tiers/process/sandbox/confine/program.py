"""Has a plan's command run by the program that confines it, where the kernel has Landlock."""

from functools import cache
from pathlib import Path

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.landlock_rules import confined_plan
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.errors import SandboxUnavailableError


def confined(plan: SandboxPlan, facts: HostFacts) -> SandboxPlan:
    """Return the plan with Landlock within; as it is where the kernel has none.

    Raises:
        SandboxUnavailableError: the program isn't here for this kind of machine.
    """
    if facts.landlock_abi == 0:
        return plan
    return confined_plan(plan, _program(facts.architecture), facts.landlock_abi)


@cache
def _program(architecture: str) -> bytes:
    path = Path(__file__).with_name(f"confine.{architecture}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise SandboxUnavailableError(
            f"a sandbox's second layer can't be made on this machine: {path.name} is missing",
            remedy="Build it: python -m sigil_actors.tiers.process.static_programs",
        ) from error
