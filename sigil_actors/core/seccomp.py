"""The system call filter of a sandbox, assembled from `seccomp_rules` in plain Python.

A filter is a program of the classic BPF machine that the kernel runs before each system call, over
a record of the call: its number, the architecture, six arguments (linux/seccomp.h). It finds the
number in a tree, at most nine comparisons deep, and looks at arguments only where a rule asks for
it.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Final, TypeAlias

import attrs

from sigil_actors.core.seccomp_rules import (
    ALL_BITS,
    ALLOWED,
    CHECKED,
    ENOSYS,
    EPERM,
    PROBED,
    Refusal,
)
from sigil_actors.core.seccomp_tables import NUMBERS
from sigil_actors.errors import SandboxUnavailableError

ALLOW: Final = 0x7FFF_0000
KILL_PROCESS: Final = 0x8000_0000
FAIL_WITH: Final = 0x0005_0000
"""SECCOMP_RET_ERRNO; the error stands in the low half."""

AUDIT_ARCHITECTURES: Final[Mapping[str, int]] = {"x86_64": 0xC000_003E, "aarch64": 0xC000_00B7}
"""As linux/audit.h numbers them. Both are little-endian."""

LOAD, AND, JUMP, JUMP_EQUAL, JUMP_GREATER_EQUAL, RETURN = 0x20, 0x54, 0x05, 0x15, 0x35, 0x06
"""BPF_LD|BPF_W|BPF_ABS, BPF_ALU|BPF_AND|BPF_K, BPF_JMP|BPF_JA, |BPF_JEQ|BPF_K, |BPF_JGE|BPF_K,
BPF_RET|BPF_K (linux/bpf_common.h)."""

NUMBER_OFFSET: Final = 0
ARCHITECTURE_OFFSET: Final = 4
ARGUMENTS_OFFSET: Final = 16
ARGUMENT_BYTES: Final = 8
"""Of `struct seccomp_data`; an argument's low half comes first."""

NEAR_MAX: Final = 255
"""Instructions that a comparison can jump over."""

Verdict: TypeAlias = int | tuple[Refusal, ...]
"""What the filter returns, or what the arguments are held against first."""


@attrs.frozen
class Instruction:
    """One step: skips so many of the following ones, by how a comparison came out."""

    code: int
    value: int
    if_true: int = 0
    if_false: int = 0

    def packed(self) -> bytes:
        """Return it as `struct sock_filter`."""
        return struct.pack("<HBBI", self.code, self.if_true, self.if_false, self.value)


def fail_with(error: int) -> int:
    """Return what makes a call fail with `error`."""
    return FAIL_WITH | error


@cache
def filter_for(architecture: str) -> bytes:
    """Return the filter as bubblewrap's --seccomp and the kernel read it.

    Raises:
        SandboxUnavailableError: there is none for this architecture.
    """
    if architecture not in NUMBERS:
        raise SandboxUnavailableError(
            f"there is no system call filter for the architecture {architecture}",
            remedy=f"Run process plugins on {' or '.join(NUMBERS)}",
        )
    return b"".join(instruction.packed() for instruction in _program(architecture))


def verdicts(architecture: str) -> Mapping[int, Verdict]:
    """Return what becomes of each call that the architecture has, by its number."""
    return {number: _verdict(name) for name, number in NUMBERS[architecture].items()}


def _verdict(name: str) -> Verdict:
    if name in CHECKED:
        return CHECKED[name]
    if name in ALLOWED:
        return ALLOW
    return fail_with(ENOSYS if name in PROBED else EPERM)


def _program(architecture: str) -> Sequence[Instruction]:
    return (
        Instruction(LOAD, ARCHITECTURE_OFFSET),
        Instruction(JUMP_EQUAL, AUDIT_ARCHITECTURES[architecture], if_true=1),
        # Another ABI of the same machine numbers its calls otherwise.
        Instruction(RETURN, KILL_PROCESS),
        Instruction(LOAD, NUMBER_OFFSET),
        *_tree(tuple(_ranges(verdicts(architecture)))),
    )


def _ranges(table: Mapping[int, Verdict]) -> Iterator[tuple[int, Verdict]]:
    """Yield where each run of numbers with the same verdict begins, from 0 on.

    What has no name, holes and whatever is above the last, x32's calls among it, isn't there.
    """
    missing = fail_with(ENOSYS)
    before: Verdict | None = None
    for number in range(max(table) + 2):
        verdict = table.get(number, missing)
        if verdict != before:
            yield number, verdict
        before = verdict


def _tree(ranges: Sequence[tuple[int, Verdict]]) -> Sequence[Instruction]:
    """Return instructions that find the range of the number that was loaded, and end there."""
    if len(ranges) == 1:
        verdict = ranges[0][1]
        return (Instruction(RETURN, verdict),) if isinstance(verdict, int) else _checks(verdict)
    middle = len(ranges) // 2
    below, above = _tree(ranges[:middle]), _tree(ranges[middle:])
    first = ranges[middle][0]
    if len(below) <= NEAR_MAX:
        return (Instruction(JUMP_GREATER_EQUAL, first, if_true=len(below)), *below, *above)
    return (
        Instruction(JUMP_GREATER_EQUAL, first, if_false=1),
        Instruction(JUMP, len(below)),
        *below,
        *above,
    )


def _checks(refusals: Sequence[Refusal]) -> Sequence[Instruction]:
    """Return instructions that refuse what a rule refuses and allow the rest."""
    program: list[Instruction] = []
    for refusal in refusals:
        program += _refusal(refusal)
    return (*program, Instruction(RETURN, ALLOW))


def _refusal(refusal: Refusal) -> Sequence[Instruction]:
    """Return instructions that refuse where all tests hold, and else go on behind them."""
    program = [Instruction(RETURN, fail_with(refusal.error))]
    for test in reversed(refusal.tests):  # from the end, so that what is jumped over is known
        to_next, to_end = 0, len(program)
        holds, fails = (to_next, to_end) if test.is_one else (to_end, to_next)
        comparisons: list[Instruction] = []
        for value in sorted(test.values, reverse=True):
            behind = len(comparisons)
            comparisons.insert(
                0,
                Instruction(
                    JUMP_EQUAL,
                    value,
                    if_true=behind + holds,
                    if_false=behind + fails if behind == 0 else 0,
                ),
            )
        load = [Instruction(LOAD, ARGUMENTS_OFFSET + ARGUMENT_BYTES * test.argument)]
        if test.mask != ALL_BITS:
            load.append(Instruction(AND, test.mask))
        program = [*load, *comparisons, *program]
    return program
