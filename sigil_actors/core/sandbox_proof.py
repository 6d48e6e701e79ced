"""What the attacks that are run inside a sandbox before its plugin said, and what that proves.

The program is `tiers/process/proof/attacks.c`; its lines are `NAME TAB RESULT TAB WHAT`. A sandbox
is proven when every attack was run and none got through: an attack that is missing from the answer
counts as one that did, so that a program that was stopped half-way proves nothing.
"""

from enum import StrEnum

import attrs

from sigil_actors.core.text import escape_text

ATTACKS = (
    "files: read one of the host's",
    "files: list a folder of the host's",
    "files: write beside the plugin's code",
    "files: write among the programs",
    "files: write into the root",
    "files: write into /dev",
    "network: the host's loopback",
    "network: an abstract socket of the host",
    "network: a denied name by the proxy",
    "network: the cloud's metadata by the proxy",
    "namespaces: the host's own user",
    "namespaces: the host's own mnt",
    "namespaces: the host's own pid",
    "namespaces: the host's own net",
    "namespaces: the host's own ipc",
    "namespaces: the host's own uts",
    "namespaces: unshare the user",
    "namespaces: clone into a new user",
    "namespaces: clone3 into a new user",
    "files: mount",
    "files: unmount",
    "system calls: be traced",
    "system calls: bpf",
    "system calls: io_uring",
    "system calls: keys",
    "system calls: performance counters",
    "identity: new privileges",
    "identity: capabilities",
    "identity: descriptors of the host",
    "limits: open files",
    "processes: signal one of the host's",
    "limits: processes",
    "limits: memory",
)
"""Every attack, in the order in which they are made."""

MEMORY = "limits: memory"
"""The last one, which the kernel answers by ending the program."""
END = "end"
WHAT_CHARACTERS = 200


class AttackResult(StrEnum):
    """How an attack ended."""

    HELD = "held"
    THROUGH = "through"
    SKIPPED = "skipped"
    """There was nothing to attack: no network at all, a bound too wide to be reached."""
    STARTED = "started"
    MISSING = "missing"
    """It was never told of."""


@attrs.frozen
class AttackOutcome:
    """One attack and what came of it."""

    name: str
    result: AttackResult
    what: str = ""
    """In the program's words, which come out of a sandbox: escaped and cut."""


@attrs.frozen
class SandboxProof:
    """What all attacks came to."""

    outcomes: tuple[AttackOutcome, ...]

    @property
    def holds(self) -> bool:
        """Tell whether every attack was held or had nothing to attack."""
        return not self.failures

    @property
    def failures(self) -> tuple[AttackOutcome, ...]:
        """Return the attacks that got through or never told."""
        fine = (AttackResult.HELD, AttackResult.SKIPPED)
        return tuple(outcome for outcome in self.outcomes if outcome.result not in fine)

    def count(self, result: AttackResult) -> int:
        """Return how many attacks ended so."""
        return sum(outcome.result is result for outcome in self.outcomes)


def read_proof(said: str, *, memory_ran_out: bool, was_killed: bool) -> SandboxProof:
    """Return what the attacks proved.

    Args:
        said: What the program wrote.
        memory_ran_out: Whether the kernel ended something in the sandbox for its memory.
        was_killed: Whether the program was ended by SIGKILL, as the kernel does it then.
    """
    told = _told(said)
    memory = told.get(MEMORY)
    if memory is not None and memory.result is AttackResult.STARTED and memory_ran_out:
        told[MEMORY] = AttackOutcome(MEMORY, AttackResult.HELD, "ended by the kernel")
    elif END not in told and not was_killed and memory is not None:
        told.pop(MEMORY)  # it ended in some other way: nobody knows what the bound would have done
    return SandboxProof(
        tuple(
            told.get(name, AttackOutcome(name, AttackResult.MISSING, "it never told"))
            for name in ATTACKS
        )
    )


def _told(said: str) -> dict[str, AttackOutcome]:
    told: dict[str, AttackOutcome] = {}
    for line in said.splitlines():
        name, _, rest = line.partition("\t")
        word, _, what = rest.partition("\t")
        try:
            result = AttackResult(word)
        except ValueError:
            continue
        before = told.get(name)
        # Only the one about memory speaks twice; of any other the worse word counts.
        if before is None or before.result in (AttackResult.STARTED, AttackResult.HELD):
            told[name] = AttackOutcome(name, result, escape_text(what, limit=WHAT_CHARACTERS))
    return told
