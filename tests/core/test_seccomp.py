"""The system call filter, run on a machine of the tests' own, for both architectures."""

import errno
import platform
import stat
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core import seccomp, seccomp_rules
from sigil_actors.core.seccomp import LOAD, NUMBER_OFFSET, Instruction, filter_for
from sigil_actors.core.seccomp_rules import ALLOWED, CHECKED, PROBED
from sigil_actors.core.seccomp_tables import NUMBERS
from sigil_actors.errors import SandboxUnavailableError
from tests.core.bpf_machine import (
    AARCH64,
    ALLOW,
    ARM,
    ERRNO,
    I386,
    KILL,
    X86_64,
    Call,
    instructions_of,
    run,
)

ARCHITECTURES = {"x86_64": X86_64, "aarch64": AARCH64}
EACH = pytest.mark.parametrize("architecture", ARCHITECTURES)
U64 = st.integers(0, 2**64 - 1)
HIGH = 0xFFFF_FFFF_0000_0000

CLONE_THREAD_OF_GLIBC = 0x3D0F00
CLONE_NEW = {
    "NEWNS": 0x00020000,
    "NEWCGROUP": 0x02000000,
    "NEWUTS": 0x04000000,
    "NEWIPC": 0x08000000,
    "NEWUSER": 0x10000000,
    "NEWPID": 0x20000000,
    "NEWNET": 0x40000000,
}


def answer(architecture: str, name: str, *arguments: int) -> int | str:
    """Return `allow`, `kill` or the error for a call by name."""
    return answer_to_number(architecture, NUMBERS[architecture][name], *arguments)


def answer_to_number(architecture: str, number: int, *arguments: int) -> int | str:
    call = Call(number=number, architecture=ARCHITECTURES[architecture], arguments=arguments)
    verdict, _ = run(filter_for(architecture), call)
    if verdict & 0xFFFF0000 == ERRNO:
        return verdict & 0xFFFF
    return {ALLOW: "allow", KILL: "kill"}[verdict]


def has(architecture: str, name: str) -> bool:
    return name in NUMBERS[architecture]


@EACH
def test_the_kernel_would_load_the_filter(architecture: str) -> None:
    assert len(instructions_of(filter_for(architecture))) < 400


@EACH
def test_every_call_gets_what_the_lists_say(architecture: str) -> None:
    for name in NUMBERS[architecture]:
        if name in CHECKED:
            continue
        expected: int | str = errno.EPERM
        if name in ALLOWED:
            expected = "allow"
        elif name in PROBED:
            expected = errno.ENOSYS
        assert answer(architecture, name, *[2**64 - 1] * 6) == expected, name


@EACH
def test_what_has_no_name_isnt_there(architecture: str) -> None:
    named = set(NUMBERS[architecture].values())
    last = max(named)
    for number in {*range(last + 300), 2**31 - 1, 2**31, 2**32 - 1} - named:
        assert answer_to_number(architecture, number) == errno.ENOSYS, number


@given(number=st.integers(0, 2**32 - 1), arguments=st.tuples(U64, U64, U64, U64, U64, U64))
def test_calls_of_x32_arent_there(number: int, arguments: tuple[int, ...]) -> None:
    assert answer_to_number("x86_64", number | 0x4000_0000, *arguments) == errno.ENOSYS


@EACH
@given(number=st.integers(0, 2**32 - 1), other=st.integers(0, 2**32 - 1))
def test_another_abi_is_killed(architecture: str, number: int, other: int) -> None:
    for foreign in {other, I386, ARM, X86_64, AARCH64} - {ARCHITECTURES[architecture]}:
        verdict, _ = run(filter_for(architecture), Call(number=number, architecture=foreign))
        assert verdict == KILL


@EACH
def test_a_namespace_cant_be_made(architecture: str) -> None:
    for flag in CLONE_NEW.values():
        for others in (0, 17, CLONE_THREAD_OF_GLIBC, 0xFFFF_FFFF):
            assert answer(architecture, "clone", flag | others) == errno.EPERM
    assert answer(architecture, "unshare", 0) == errno.EPERM
    assert answer(architecture, "setns", 3, 0) == errno.EPERM
    assert answer(architecture, "clone3", 0, 88) == errno.ENOSYS


@EACH
@pytest.mark.parametrize("flags", [17, CLONE_THREAD_OF_GLIBC, 0x4111, 0x01200011])
def test_processes_and_threads_can_be_made(architecture: str, flags: int) -> None:
    # SIGCHLD alone, glibc's pthread_create, Go's and Python's vfork-like clone, fork of glibc
    assert answer(architecture, "clone", flags) == "allow"


@EACH
def test_the_high_half_of_an_argument_hides_nothing(architecture: str) -> None:
    # The kernel drops it, so a filter that compared all 64 bits could be walked around.
    assert answer(architecture, "clone", HIGH | CLONE_NEW["NEWUSER"]) == errno.EPERM
    assert answer(architecture, "ioctl", 0, HIGH | 0x5412) == errno.EPERM
    assert answer(architecture, "socket", HIGH | 17, 3, 0) == errno.EAFNOSUPPORT
    assert answer(architecture, "personality", HIGH | 0x40000) == errno.EPERM
    assert answer(architecture, "fchmod", 3, HIGH | 0o4755) == errno.EPERM


@EACH
def test_nobody_types_into_the_hosts_terminal_or_makes_it_load_a_module(architecture: str) -> None:
    for request in (0x5412, 0x541C, 0x5423):
        assert answer(architecture, "ioctl", 0, request, 0) == errno.EPERM
    for request in (0x5401, 0x5413, 0x541B, 0x5421, 0x8912):  # TCGETS, TIOCGWINSZ, FIONREAD …
        assert answer(architecture, "ioctl", 0, request, 0) == "allow"


def there(names: Iterable[str]) -> list[tuple[str, str]]:
    """Return each architecture with each of the calls that it has."""
    return [(which, name) for which in ARCHITECTURES for name in names if has(which, name)]


FLAGS = 0o2000000 | 0o4000  # SOCK_CLOEXEC, SOCK_NONBLOCK


@EACH
@pytest.mark.parametrize("flags", [0, FLAGS])
@pytest.mark.parametrize(
    ("family", "kind", "protocol", "expected"),
    [
        (1, 1, 0, "allow"),
        (1, 2, 0, "allow"),
        (1, 5, 0, "allow"),
        (2, 1, 0, "allow"),
        (2, 1, 6, "allow"),
        (2, 2, 17, "allow"),
        (10, 1, 6, "allow"),
        (16, 3, 0, "allow"),  # NETLINK_ROUTE, as getifaddrs asks
        (16, 2, 0, "allow"),
        (16, 3, 9, errno.EAFNOSUPPORT),  # NETLINK_AUDIT
        (16, 3, 15, errno.EAFNOSUPPORT),  # NETLINK_KOBJECT_UEVENT
        (2, 3, 1, errno.EPERM),  # raw ICMP
        (2, 3, 255, errno.EPERM),
        (10, 3, 58, errno.EPERM),
        (2, 10, 3, errno.EPERM),  # SOCK_PACKET
        (1, 3, 0, errno.EPERM),
        (2, 2, 1, errno.EPROTONOSUPPORT),  # ping
        (2, 1, 132, errno.EPROTONOSUPPORT),  # SCTP
        (2, 1, 262, errno.EPROTONOSUPPORT),  # MPTCP, without which Go falls back to TCP
        (17, 3, 0, errno.EAFNOSUPPORT),  # AF_PACKET
        (40, 1, 0, errno.EAFNOSUPPORT),  # AF_VSOCK
        (38, 5, 0, errno.EAFNOSUPPORT),  # AF_ALG
        (44, 3, 0, errno.EAFNOSUPPORT),  # AF_XDP
        (31, 3, 1, errno.EAFNOSUPPORT),  # AF_BLUETOOTH
        (30, 1, 0, errno.EAFNOSUPPORT),  # AF_TIPC
        (0, 1, 0, errno.EAFNOSUPPORT),
    ],
)
def test_sockets(
    architecture: str, flags: int, family: int, kind: int, protocol: int, expected: int | str
) -> None:
    assert answer(architecture, "socket", family, kind | flags, protocol) == expected


@EACH
def test_pairs_of_sockets_are_unix_ones(architecture: str) -> None:
    assert answer(architecture, "socketpair", 1, 1 | FLAGS, 0) == "allow"
    assert answer(architecture, "socketpair", 30, 1, 0) == errno.EAFNOSUPPORT


MODES: Mapping[str, int] = {
    "chmod": 1,
    "fchmod": 1,
    "fchmodat": 2,
    "fchmodat2": 2,
    "creat": 1,
    "mknod": 1,
    "mknodat": 2,
}


@pytest.mark.parametrize(("architecture", "name"), there(MODES))
@pytest.mark.parametrize("bit", [stat.S_ISUID, stat.S_ISGID])
def test_no_file_gets_a_bit_that_runs_it_as_its_owner(
    architecture: str, name: str, bit: int
) -> None:
    before = [0] * MODES[name]
    for mode in (0, 0o755, 0o1777, 0xFFFF & ~0o26000):
        assert answer(architecture, name, *before, mode) == "allow"
        assert answer(architecture, name, *before, mode | bit) == errno.EPERM


@pytest.mark.parametrize(("architecture", "name"), there(("open", "openat", "mq_open")))
def test_a_file_isnt_created_with_such_a_bit(architecture: str, name: str) -> None:
    o_creat, o_tmpfile, o_directory = 0o100, 0o20000000, 0o200000
    head = [0] * (2 if name == "openat" else 1)
    for flags in (o_creat | 1, o_tmpfile | o_directory | 2, o_creat | 0o2000000):
        assert answer(architecture, name, *head, flags, 0o4755) == errno.EPERM
        assert answer(architecture, name, *head, flags, 0o2755) == errno.EPERM
        assert answer(architecture, name, *head, flags, 0o1755) == "allow"
    # What isn't created has no mode: whatever is in that register is left from something else.
    assert answer(architecture, name, *head, 0, 0o4755) == "allow"
    assert answer(architecture, name, *head, o_directory, 2**64 - 1) == "allow"


@EACH
def test_no_device_is_made(architecture: str) -> None:
    for kind in (stat.S_IFCHR, stat.S_IFBLK):
        assert answer(architecture, "mknodat", 3, 0, kind | 0o600, 0x103) == errno.EPERM
    for kind in (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK):
        assert answer(architecture, "mknodat", 3, 0, kind | 0o600, 0) == "allow"


@EACH
def test_personality_is_asked_for_and_not_changed(architecture: str) -> None:
    assert answer(architecture, "personality", 0xFFFF_FFFF) == "allow"
    assert answer(architecture, "personality", 0) == "allow"
    for persona in (0x0040000, 0x0008, 0x0100000):  # ADDR_NO_RANDOMIZE, PER_LINUX32, …
        assert answer(architecture, "personality", persona) == errno.EPERM


DANGEROUS = """
ptrace process_vm_readv process_vm_writev kcmp bpf perf_event_open keyctl add_key request_key
userfaultfd io_uring_setup io_uring_enter io_uring_register mount umount2 pivot_root chroot
move_mount fsopen fsconfig fsmount fspick open_tree mount_setattr unshare setns kexec_load
kexec_file_load init_module finit_module delete_module reboot swapon swapoff acct quotactl
quotactl_fd syslog open_by_handle_at name_to_handle_at lookup_dcookie iopl ioperm modify_ldt
settimeofday clock_settime clock_adjtime adjtimex vhangup nfsservctl uselib ustat sysfs _sysctl
move_pages mbind set_mempolicy migrate_pages fanotify_init fanotify_mark pidfd_getfd sethostname
setdomainname memfd_secret process_madvise clone3 openat2
"""


@EACH
def test_what_reaches_the_kernel_or_another_process_is_refused(architecture: str) -> None:
    for name in filter(lambda name: has(architecture, name), DANGEROUS.split()):
        assert answer(architecture, name) in {errno.EPERM, errno.ENOSYS}, name


@EACH
@given(data=st.data())
def test_the_filter_agrees_with_the_rules(architecture: str, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(CHECKED.keys() & NUMBERS[architecture].keys())))
    values = sorted(
        {value for rule in CHECKED[name] for test in rule.tests for value in test.values}
    )
    masks = sorted({test.mask for rule in CHECKED[name] for test in rule.tests})
    argument = U64 | st.sampled_from([*values, *masks]) | st.integers(0, 300)
    arguments = data.draw(st.tuples(*[argument] * 6))
    expected: int | str = "allow"
    for rule in CHECKED[name]:
        if all(
            (arguments[test.argument] & 0xFFFF_FFFF & test.mask in test.values) == test.is_one
            for test in rule.tests
        ):
            expected = rule.error
            break
    assert answer(architecture, name, *arguments) == expected


@EACH
def test_a_frequent_call_takes_few_steps(architecture: str) -> None:
    for name in ("read", "write", "futex", "epoll_pwait", "sendto"):
        call = Call(number=NUMBERS[architecture][name], architecture=ARCHITECTURES[architecture])
        assert run(filter_for(architecture), call)[1] <= 13, name


def test_a_tree_of_any_size_finds_its_ranges() -> None:
    # Ours are small enough for near jumps; the next rule may be the one too many.
    ranges = [(number * 3, number) for number in range(1200)]
    program = b"".join(
        step.packed() for step in (Instruction(LOAD, NUMBER_OFFSET), *seccomp._tree(tuple(ranges)))
    )
    for first, verdict in ranges[::7]:
        for number in (first, first + 2):
            assert run(program, Call(number=number, architecture=X86_64))[0] == verdict


def test_every_name_of_the_rules_is_a_call_and_stands_in_one_list() -> None:
    known = set().union(*(table.keys() for table in NUMBERS.values()))
    lists = (ALLOWED, PROBED, set(CHECKED))
    assert set().union(*lists) <= known
    assert sum(map(len, lists)) == len(set().union(*lists))


def test_errors_have_the_kernels_numbers() -> None:
    for name in ("EPERM", "ENOSYS", "EPROTONOSUPPORT", "EAFNOSUPPORT"):
        if platform.system() == "Linux":
            assert getattr(seccomp_rules, name) == getattr(errno, name)


def test_another_architecture_has_no_filter_and_so_no_sandbox() -> None:
    with pytest.raises(SandboxUnavailableError, match="riscv64"):
        filter_for("riscv64")
