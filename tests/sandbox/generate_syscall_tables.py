"""Writes `sigil_actors/core/seccomp_tables.py` from the kernel's headers.

    python tests/sandbox/generate_syscall_tables.py

x86_64's numbers come from its own header, aarch64's from the generic one, with the switches that
this architecture sets. What came into Linux later than the headers of an old distribution is named
below, so that every machine writes the same file; where the headers know it too, they win, and a
difference shows.
"""

import re
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "sigil_actors" / "core" / "seccomp_tables.py"

X86_64 = (
    Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    Path("/usr/include/asm/unistd_64.h"),
)
GENERIC = (Path("/usr/include/asm-generic/unistd.h"),)

LAST = 469
"""The last number that is written: Linux 6.17. Newer ones are answered by ENOSYS unnamed."""

LATER = {
    "cachestat": 451,
    "fchmodat2": 452,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
"""Since Linux 6.1, with the same number on both (arch/x86/entry/syscalls/syscall_64.tbl and
scripts/syscall.tbl)."""

LATER_X86_64 = {"uretprobe": 335, "uprobe": 336, "map_shadow_stack": 453}
LATER_AARCH64 = {"map_shadow_stack": 453}

NOT_CALLS = {"syscalls", "arch_specific_syscall"}
"""Names in the headers that count, and call nothing."""

SET_BY_AARCH64 = {
    "__ARCH_WANT_RENAMEAT",
    "__ARCH_WANT_NEW_STAT",
    "__ARCH_WANT_SET_GET_RLIMIT",
    "__ARCH_WANT_TIME32_SYSCALLS",
    "__ARCH_WANT_SYS_CLONE3",
    "__ARCH_WANT_MEMFD_SECRET",
}
"""arch/arm64/include/uapi/asm/unistd.h. It is a 64-bit architecture."""

_DEFINE = re.compile(r"#define __NR(?P<is_3264>3264)?_(?P<name>\w+)\s+(?P<number>\d+)\s*")
_ALIAS = re.compile(r"#define __NR_(?P<name>\w+)\s+__NR3264_(?P<other>\w+)\s*")


def find(headers: tuple[Path, ...]) -> Path | None:
    """Return the first of `headers` that is here."""
    return next((header for header in headers if header.exists()), None)


def are_here() -> bool:
    """Tell whether this machine has the headers."""
    return all(find(headers) for headers in (X86_64, GENERIC))


def numbers_of(text: str) -> Mapping[str, int]:
    """Return the calls that a header defines, by name."""
    numbers: dict[str, int] = {}
    wide: dict[str, int] = {}
    for line in lines_that_count(text):
        if defined := _DEFINE.fullmatch(line):
            (wide if defined["is_3264"] else numbers)[defined["name"]] = int(defined["number"])
        elif alias := _ALIAS.fullmatch(line):
            numbers[alias["name"]] = wide[alias["other"]]
    return {name: number for name, number in numbers.items() if name not in NOT_CALLS}


def lines_that_count(text: str) -> Iterator[str]:
    """Yield the lines of a header that a 64-bit compiler would see."""
    seen = [True]
    for line in text.splitlines():
        if re.match(r"#\s*if", line):
            seen.append(seen[-1] and holds(line))
        elif re.match(r"#\s*else", line):
            seen[-1] = seen[-2] and not seen[-1]
        elif re.match(r"#\s*endif", line):
            seen.pop()
        elif seen[-1]:
            yield line


def holds(line: str) -> bool:
    """Tell whether the condition of an #if, #ifdef or #ifndef holds."""
    line = re.sub(r"/\*.*", "", line).strip()
    if plain := re.fullmatch(r"#ifdef (\w+)", line):
        return plain[1] in SET_BY_AARCH64
    if plain := re.fullmatch(r"#ifndef (\w+)", line):
        return plain[1] not in SET_BY_AARCH64
    if line.startswith("#if "):
        condition = re.sub(
            r"defined\((\w+)\)", lambda found: str(found[1] in SET_BY_AARCH64), line[4:]
        )
        condition = condition.replace("__BITS_PER_LONG", "64")
        condition = condition.replace("&&", " and ").replace("||", " or ").replace("!F", "not F")
        condition = condition.replace("!T", "not T")
        if re.fullmatch(r"(True|False|not|and|or|64|32|[=!]=|[ ()])+", condition):
            return bool(eval(condition))
    raise ValueError(f"a condition that isn't understood: {line}")


def written() -> str:
    """Return the text of the module."""
    x86_64, generic = find(X86_64), find(GENERIC)
    assert x86_64 is not None
    assert generic is not None
    tables = {
        "x86_64": LATER | LATER_X86_64 | dict(numbers_of(x86_64.read_text())),
        "aarch64": LATER | LATER_AARCH64 | dict(numbers_of(generic.read_text())),
    }
    return (
        HEAD
        + "".join(
            TABLE.format(constant=f"_{name.upper()}", words=words_of(table))
            for name, table in tables.items()
        )
        + FOOT
    )


def words_of(table: Mapping[str, int]) -> str:
    """Return the entries up to LAST as words, in lines that fit."""
    pairs = sorted((number, name) for name, number in table.items() if number <= LAST)
    return textwrap.fill(
        " ".join(f"{name}={number}" for number, name in pairs),
        width=100,
        break_long_words=False,
        break_on_hyphens=False,
    )


HEAD = '''"""The numbers of Linux's system calls, by architecture and name.

Written by tests/sandbox/generate_syscall_tables.py from the kernel's headers; not to be edited.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final
'''
TABLE = '''
{constant}: Final = """
{words}
"""
'''
FOOT = """

def _table(words: str) -> Mapping[str, int]:
    pairs = (word.split("=") for word in words.split())
    return MappingProxyType({name: int(number) for name, number in pairs})


NUMBERS: Final[Mapping[str, Mapping[str, int]]] = MappingProxyType(
    {"x86_64": _table(_X86_64), "aarch64": _table(_AARCH64)}
)
"""

if __name__ == "__main__":
    TARGET.write_text(written())
