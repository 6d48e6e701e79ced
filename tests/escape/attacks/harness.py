"""What an attack is, and how its result is told. Runs inside the sandbox, on the standard library.

An attack does what a hostile plugin would do and returns what it got. Being refused is an `OSError`
or `Held`; being killed is held too, which whoever started it sees. Any other error means that the
attack is broken, so that a misspelt one can't pass for a sandbox that holds.
"""

import ctypes
import json
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

LIBC = ctypes.CDLL(None, use_errno=True)


class HeldError(Exception):
    """The attack got nothing, without any call being refused."""


@dataclass(frozen=True)
class Facts:
    """What the host tells an attack about the world that it is to break out into."""

    secret_file: str
    """A file of the host's, outside of everything that the plugin may see."""
    secret: str
    """What is in it, in the host's environment, and what the host's servers answer."""
    outside: str
    """A folder of the host's that anybody may write."""
    write_folder: str
    """What `write_allow` names."""
    denied_file: str
    """A file below `read_allow` that `read_deny` masks."""
    denied_folder: str
    """A folder below `read_allow` that `read_deny` masks; `inner` is a file in it."""
    victim: int
    """The id of a process of the host's, of the same user, as the host counts."""
    tcp_port: int
    """A server on the host's 127.0.0.1 that answers the secret."""
    udp_port: int
    tcp6_port: int
    outer_address: str
    """An address of the host's that isn't loopback, where the server listens too; may be empty."""
    unix_socket: str
    """The path of a server of the host's."""
    abstract_socket: str
    """The name of a server of the host's in the abstract namespace, without the zero byte."""
    allowed_port: int
    """What `network.allow` names on 127.0.0.1; it answers the text `allowed`."""
    denied_port: int
    """On the same address, not allowed; it answers the secret."""
    proxy: str
    """`host:port` of the egress proxy; empty without a sandbox."""
    memory: int
    """The bound on memory in bytes."""
    pids: int
    open_files: int
    write_bytes: int
    """What the write folder may hold."""
    extra: dict[str, str] = field(default_factory=dict)


Run: TypeAlias = Callable[[Facts], str]


@dataclass(frozen=True)
class Attack:
    """One try to get out."""

    name: str
    area: str
    needs_root: bool
    """Whether only root's plugins could do it without a sandbox."""
    run: Run


ATTACKS: dict[str, Attack] = {}


def attack(area: str, *, needs_root: bool = False) -> Callable[[Run], Run]:
    """Register the function as an attack of that area, by its own name."""

    def register(run: Run) -> Run:
        name = run.__name__
        if name in ATTACKS:
            raise ValueError(f"two attacks are called {name}")
        ATTACKS[name] = Attack(name, area, needs_root, run)
        return run

    return register


SYSCALLS: dict[str, tuple[int, int]] = {
    # name: (x86_64, aarch64), as the kernel's headers number them; -1 where there is none
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clone": (56, 220),
    "clone3": (435, 435),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fsopen": (430, 430),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "iopl": (172, -1),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "mbind": (237, 235),
    "memfd_create": (319, 279),
    "mknodat": (259, 33),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "setns": (308, 268),
    "sethostname": (170, 161),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}


def syscall(name: str, *arguments: object) -> int:
    """Make the system call; return its result.

    Raises:
        OSError: it was refused, with the kernel's number of the error.
        HeldError: this machine's kind has no such call.
    """
    number = SYSCALLS[name][0 if platform.machine() == "x86_64" else 1]
    if number < 0:
        raise HeldError(f"{platform.machine()} has no {name}")
    ctypes.set_errno(0)
    result = int(LIBC.syscall(ctypes.c_long(number), *[_argument(value) for value in arguments]))
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), name)
    return result


def _argument(value: object) -> object:
    return ctypes.c_long(value) if isinstance(value, int) else value


def reached(name: str, *arguments: object, refused_by: tuple[int, ...]) -> str:
    """Make a call with harmless nonsense; the kernel's own complaint tells that it got there.

    Args:
        name: Which call.
        arguments: What can do no harm where it is let through, on a real machine run by root.
        refused_by: The errors that mean that something stood in the way.

    Raises:
        OSError: something stood in the way.
    """
    try:
        syscall(name, *arguments)
    except OSError as error:
        if error.errno in refused_by:
            raise
        return f"the kernel looked at the arguments of {name}: {error.strerror}"
    return f"{name} was done"


def main(arguments: list[str]) -> None:
    """Run the attack named first with the facts of the second argument; tell what came of it."""
    name, facts = arguments
    told: dict[str, str]
    try:
        told = {"through": ATTACKS[name].run(Facts(**json.loads(facts)))[:300]}
    except (OSError, HeldError, MemoryError) as error:
        told = {"held": f"{type(error).__name__}: {error}"[:300]}
    print(json.dumps(told), flush=True)  # noqa: T201 - this is how whoever started it is told
    sys.stdout.flush()
    os._exit(0)  # threads and children of an attack mustn't keep it
