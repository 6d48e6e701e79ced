"""Attacks that make or enter namespaces: new rights inside, old ones outside."""

import ctypes
import os
import signal
from pathlib import Path

from .harness import Facts, HeldError, attack, syscall

NEW = {
    "user": 0x10000000,
    "mount": 0x00020000,
    "net": 0x40000000,
    "pid": 0x20000000,
    "ipc": 0x08000000,
    "uts": 0x04000000,
    "cgroup": 0x02000000,
    "time": 0x00000080,
}


@attack("namespaces")
def make_a_user_namespace(_facts: Facts) -> str:
    syscall("unshare", NEW["user"])
    return "root in a namespace of its own"


@attack("namespaces")
def make_a_mount_namespace_in_it(_facts: Facts) -> str:
    syscall("unshare", NEW["user"] | NEW["mount"])
    return "mounts of its own"


@attack("namespaces")
def make_a_network_namespace_in_it(_facts: Facts) -> str:
    syscall("unshare", NEW["user"] | NEW["net"])
    return "a network of its own, with all rights over it"


@attack("namespaces")
def make_every_namespace(_facts: Facts) -> str:
    flags = 0
    for name in ("user", "mount", "net", "pid", "ipc", "uts", "cgroup"):
        flags |= NEW[name]
    syscall("unshare", flags)
    return "all of them"


@attack("namespaces", needs_root=True)
def make_a_time_namespace(_facts: Facts) -> str:
    syscall("unshare", NEW["time"])
    return "a clock of its own"


@attack("namespaces")
def clone_into_a_user_namespace(_facts: Facts) -> str:
    pid = syscall("clone", NEW["user"] | signal.SIGCHLD, 0, 0, 0, 0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a child that is root"


@attack("namespaces")
def clone_the_new_way_into_a_user_namespace(_facts: Facts) -> str:
    """clone3's flags lie in memory, where no filter sees them."""
    arguments = (ctypes.c_uint64 * 11)(NEW["user"], 0, 0, 0, signal.SIGCHLD)
    pid = syscall("clone3", ctypes.byref(arguments), 88)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "a child that is root"


@attack("namespaces", needs_root=True)
def enter_the_network_of_a_process(facts: Facts) -> str:
    descriptor = os.open(f"/proc/{facts.victim}/ns/net", os.O_RDONLY)
    syscall("setns", descriptor, 0)
    return "in the host's network"


@attack("namespaces", needs_root=True)
def enter_the_mounts_of_a_process(facts: Facts) -> str:
    descriptor = os.open(f"/proc/{facts.victim}/ns/mnt", os.O_RDONLY)
    syscall("setns", descriptor, 0)
    return "in the host's mounts"


@attack("namespaces")
def share_a_namespace_with_the_host(facts: Facts) -> str:
    """Whatever has the same number inside as outside is shared."""
    shared = [
        name
        for name in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
        if str(Path(f"/proc/self/ns/{name}").readlink()) == facts.extra[f"ns_{name}"]
    ]
    if not shared:
        raise HeldError("each is its own")
    return " ".join(shared)
