"""Which system calls a plugin may make, and which arguments are refused: the policy, as data.

Modelled on what container runtimes allow by default without further capabilities, and stricter
where a plugin needs less. `seccomp` turns it into a filter. A call that isn't named here is refused
with EPERM; one that Linux got after our tables were written with ENOSYS, as on an older kernel.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import attrs

EPERM: Final = 1
ENOSYS: Final = 38
EPROTONOSUPPORT: Final = 93
EAFNOSUPPORT: Final = 97

ALL_BITS: Final = 0xFFFF_FFFF


@attrs.frozen(kw_only=True)
class ArgumentTest:
    """A question about one argument of a call.

    Only the low 32 bits count: each argument that is asked about is an int to the kernel, which
    drops the others as well.
    """

    argument: int
    """From 0."""
    values: tuple[int, ...]
    mask: int = ALL_BITS
    """The bits that count."""
    is_one: bool
    """Whether it holds for these values, or for all others."""


def is_any_of(argument: int, *values: int, mask: int = ALL_BITS) -> ArgumentTest:
    """Hold where the argument has one of these values."""
    return ArgumentTest(argument=argument, values=values, mask=mask, is_one=True)


def is_none_of(argument: int, *values: int, mask: int = ALL_BITS) -> ArgumentTest:
    """Hold where the argument has a value that isn't one of these."""
    return ArgumentTest(argument=argument, values=values, mask=mask, is_one=False)


def has_bit_of(argument: int, mask: int) -> ArgumentTest:
    """Hold where one of these bits is set."""
    return is_none_of(argument, 0, mask=mask)


@attrs.frozen(kw_only=True)
class Refusal:
    """Arguments with which a call that is allowed otherwise is refused."""

    error: int
    """What it answers."""
    tests: tuple[ArgumentTest, ...]
    """All of them must hold."""


def refuse(error: int, *tests: ArgumentTest) -> Refusal:
    """Refuse with `error` where all of `tests` hold."""
    return Refusal(error=error, tests=tests)


NAMESPACE_FLAGS: Final = 0x7E02_0000
"""CLONE_NEWNS, _NEWCGROUP, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET. Time namespaces can't be
had from clone: their flag is part of the signal's number there."""

SET_ID_BITS: Final = 0o6000
"""S_ISUID and S_ISGID: a program that the host sees in a write folder would run as its owner."""

CREATES: Final = 0x0040_0040
"""O_CREAT and O_TMPFILE without its directory bit: only with one of them has open a mode."""

DEVICE_BIT: Final = 0o020000
"""Set in the modes of character and block devices, in none of pipes, sockets and plain files."""

TIOCSTI: Final = 0x5412
TIOCLINUX: Final = 0x541C
"""With either one types into the terminal that the host was started from."""

TIOCSETD: Final = 0x5423
"""Puts a line discipline on a terminal, for which the kernel loads modules that few others use."""

AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET = 1, 2, 5
SOCK_TYPE_MASK: Final = 0xF
"""Without SOCK_NONBLOCK and SOCK_CLOEXEC."""
NETLINK_ROUTE: Final = 0
"""What tells a program the addresses of its interfaces."""
IPPROTO_ANY, IPPROTO_TCP, IPPROTO_UDP = 0, 6, 17

PERSONALITY_LINUX: Final = 0
PERSONALITY_QUERY: Final = ALL_BITS

CHECKED: Final[Mapping[str, tuple[Refusal, ...]]] = MappingProxyType(
    {
        "clone": (refuse(EPERM, has_bit_of(0, NAMESPACE_FLAGS)),),
        "ioctl": (refuse(EPERM, is_any_of(1, TIOCSTI, TIOCLINUX, TIOCSETD)),),
        "socket": (
            refuse(EAFNOSUPPORT, is_none_of(0, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK)),
            refuse(EAFNOSUPPORT, is_any_of(0, AF_NETLINK), is_none_of(2, NETLINK_ROUTE)),
            # No raw or packet sockets; to netlink a raw one is the same as any other.
            refuse(
                EPERM,
                is_none_of(0, AF_NETLINK),
                is_none_of(1, SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET, mask=SOCK_TYPE_MASK),
            ),
            # Others make the kernel load a module that few machines ever ran.
            refuse(
                EPROTONOSUPPORT,
                is_any_of(0, AF_INET, AF_INET6),
                is_none_of(2, IPPROTO_ANY, IPPROTO_TCP, IPPROTO_UDP),
            ),
        ),
        "socketpair": (refuse(EAFNOSUPPORT, is_none_of(0, AF_UNIX)),),
        "personality": (
            refuse(EPERM, is_none_of(0, PERSONALITY_LINUX, PERSONALITY_QUERY)),
        ),
        "chmod": (refuse(EPERM, has_bit_of(1, SET_ID_BITS)),),
        "fchmod": (refuse(EPERM, has_bit_of(1, SET_ID_BITS)),),
        "fchmodat": (refuse(EPERM, has_bit_of(2, SET_ID_BITS)),),
        "fchmodat2": (refuse(EPERM, has_bit_of(2, SET_ID_BITS)),),
        "creat": (refuse(EPERM, has_bit_of(1, SET_ID_BITS)),),
        "open": (refuse(EPERM, has_bit_of(1, CREATES), has_bit_of(2, SET_ID_BITS)),),
        "openat": (refuse(EPERM, has_bit_of(2, CREATES), has_bit_of(3, SET_ID_BITS)),),
        "mq_open": (refuse(EPERM, has_bit_of(1, CREATES), has_bit_of(2, SET_ID_BITS)),),
        "mknod": (refuse(EPERM, has_bit_of(1, SET_ID_BITS | DEVICE_BIT)),),
        "mknodat": (refuse(EPERM, has_bit_of(2, SET_ID_BITS | DEVICE_BIT)),),
    }
)  # fmt: skip
"""Calls that are allowed but with certain arguments."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


PROBED: Final = _names("""
    clone3 openat2 io_uring_setup io_uring_enter io_uring_register
    memfd_secret statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules
    setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr
""")
"""Refused with ENOSYS, upon which programs take an older call. The arguments of clone3 and openat2
lie in memory, where no filter sees them; what io_uring does no filter sees at all."""

ALLOWED: Final = _names("""
    read write readv writev pread64 pwrite64 preadv pwritev preadv2 pwritev2 lseek readahead
    close close_range dup dup2 dup3 fcntl flock pipe pipe2 splice tee vmsplice sendfile
    copy_file_range fadvise64 fallocate ftruncate truncate fsync fdatasync sync syncfs
    sync_file_range cachestat io_setup io_destroy io_submit io_cancel io_getevents io_pgetevents

    access faccessat faccessat2 stat lstat fstat newfstatat statx statfs fstatfs getdents getdents64
    getcwd chdir fchdir mkdir mkdirat rmdir rename renameat renameat2 link linkat unlink unlinkat
    symlink symlinkat readlink readlinkat chown fchown lchown fchownat umask utime utimes futimesat
    utimensat getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr
    fsetxattr removexattr lremovexattr fremovexattr inotify_init inotify_init1 inotify_add_watch
    inotify_rm_watch

    mmap munmap mprotect mremap msync mincore madvise brk mlock mlock2 munlock mlockall munlockall
    remap_file_pages memfd_create membarrier pkey_alloc pkey_free pkey_mprotect map_shadow_stack
    mseal process_mrelease

    poll ppoll select pselect6 epoll_create epoll_create1 epoll_ctl epoll_wait epoll_pwait
    epoll_pwait2 eventfd eventfd2 signalfd signalfd4 timerfd_create timerfd_settime timerfd_gettime

    bind listen accept accept4 connect getsockname getpeername sendto recvfrom sendmsg recvmsg
    sendmmsg recvmmsg setsockopt getsockopt shutdown

    fork vfork execve execveat exit exit_group wait4 waitid kill tkill tgkill rt_sigaction
    rt_sigprocmask rt_sigreturn rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo
    rt_sigsuspend sigaltstack pause restart_syscall pidfd_open pidfd_send_signal prctl arch_prctl
    set_thread_area get_thread_area set_tid_address set_robust_list get_robust_list rseq uretprobe
    uprobe futex futex_waitv futex_wait futex_wake futex_requeue seccomp landlock_create_ruleset
    landlock_add_rule landlock_restrict_self

    getpid getppid gettid getpgid getpgrp setpgid getsid setsid getuid geteuid getgid getegid
    getresuid getresgid getgroups setuid setgid setreuid setregid setresuid setresgid setfsuid
    setfsgid setgroups capget capset

    getrlimit setrlimit prlimit64 getrusage getpriority setpriority ioprio_get ioprio_set
    sched_yield sched_getaffinity sched_setaffinity sched_getparam sched_setparam sched_getscheduler
    sched_setscheduler sched_getattr sched_setattr sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval getcpu uname sysinfo times getrandom

    time gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep alarm getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete

    shmget shmat shmctl shmdt semget semop semctl semtimedop msgget msgsnd msgrcv msgctl mq_unlink
    mq_timedsend mq_timedreceive mq_notify mq_getsetattr
""")
"""Without a look at the arguments. The identity calls change nothing where there is one user; the
queues and memory between processes are the sandbox's own."""
