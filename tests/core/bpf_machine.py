"""A machine that runs a system call filter as the kernel does, one instruction after another.

Written from linux/filter.h and the kernel's own checks, not from the assembler, and it refuses
whatever the kernel would refuse to load.
"""

import struct
from collections.abc import Sequence

import attrs

ALLOW = 0x7FFF0000
KILL = 0x80000000
ERRNO = 0x00050000

X86_64 = 0xC000003E
AARCH64 = 0xC00000B7
I386 = 0x40000003
ARM = 0x40000028


class UnloadableError(Exception):
    """The kernel wouldn't take this program."""


@attrs.frozen(kw_only=True)
class Call:
    """A system call as a filter sees it."""

    number: int
    architecture: int
    arguments: tuple[int, ...] = ()

    def record(self) -> bytes:
        """Return `struct seccomp_data`."""
        arguments = (*self.arguments, *[0] * 6)[:6]
        return struct.pack("<IIQ6Q", self.number, self.architecture, 0xDEAD_BEEF, *arguments)


def instructions_of(program: bytes) -> Sequence[tuple[int, int, int, int]]:
    """Return the instructions, checked as `bpf_check_classic` and `seccomp_check_filter` do."""
    if len(program) % 8 or not 0 < len(program) // 8 <= 4096:
        raise UnloadableError("length")
    instructions = list(struct.iter_unpack("<HBBI", program))
    for at, (code, if_true, if_false, value) in enumerate(instructions):
        left = len(instructions) - at - 1
        match code:
            case 0x20:
                if value % 4 or value >= 64:
                    raise UnloadableError(f"load outside the record at {at}")
            case 0x54 | 0x06:
                pass
            case 0x05:
                if value >= left:
                    raise UnloadableError(f"jump out of the program at {at}")
            case 0x15 | 0x35:
                if if_true >= left or if_false >= left:
                    raise UnloadableError(f"comparison out of the program at {at}")
            case _:
                raise UnloadableError(f"unknown instruction {code:#x} at {at}")
    if instructions[-1][0] != 0x06:
        raise UnloadableError("no return at the end")
    return instructions


def run(program: bytes, call: Call) -> tuple[int, int]:
    """Return what the filter says, and how many instructions it took."""
    instructions = instructions_of(program)
    record = call.record()
    accumulator = at = taken = 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        taken += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", record, value)
            case 0x54:
                accumulator &= value
            case 0x05:
                at += value
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case _:
                return value, taken
