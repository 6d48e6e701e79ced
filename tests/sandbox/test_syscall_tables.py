"""The committed tables of system calls are what the generator writes."""

from pathlib import Path

import pytest

from sigil_actors.core.seccomp_tables import NUMBERS
from tests.sandbox.generate_syscall_tables import (
    GENERIC,
    LAST,
    TARGET,
    X86_64,
    are_here,
    find,
    holds,
    numbers_of,
    written,
)

HEADERS = pytest.mark.skipif(not are_here(), reason="the kernel's headers aren't here")


@HEADERS
def test_a_fresh_run_changes_nothing() -> None:
    assert written() == TARGET.read_text()


@HEADERS
@pytest.mark.parametrize(("architecture", "headers"), [("x86_64", X86_64), ("aarch64", GENERIC)])
def test_the_headers_say_the_same(architecture: str, headers: tuple[Path, ...]) -> None:
    header = find(headers)
    assert header is not None
    numbers = {name: at for name, at in numbers_of(header.read_text()).items() if at <= LAST}
    assert len(numbers) > 300
    assert numbers.items() <= NUMBERS[architecture].items()


def test_no_number_has_two_names() -> None:
    for table in NUMBERS.values():
        assert len(set(table.values())) == len(table)


def test_some_numbers_that_everybody_knows() -> None:
    x86_64, aarch64 = NUMBERS["x86_64"], NUMBERS["aarch64"]
    assert (x86_64["read"], x86_64["execve"], x86_64["clone3"]) == (0, 59, 435)
    assert (aarch64["read"], aarch64["execve"], aarch64["clone3"]) == (63, 221, 435)
    assert "open" not in aarch64


def test_conditions_of_the_headers_are_understood_or_refused() -> None:
    assert holds("#if defined(__ARCH_WANT_TIME32_SYSCALLS) || __BITS_PER_LONG != 32")
    assert not holds("#if __BITS_PER_LONG == 32 || defined(__SYSCALL_COMPAT)")
    assert holds("#if __BITS_PER_LONG == 64 && !defined(__SYSCALL_COMPAT)")
    assert not holds("#ifdef __ARCH_WANT_SYNC_FILE_RANGE2")
    with pytest.raises(ValueError, match="isn't understood"):
        holds("#if __LINUX__ > 6")
