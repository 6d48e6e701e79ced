"""Attacks on what the machine has: memory, processes, files, disk, processors."""

import mmap
import os
import resource
import threading
import time
from pathlib import Path

from .harness import Facts, HeldError, attack, syscall

MIB = 1 << 20


def grow(facts: Facts, take: "object") -> str:
    """Take memory a MiB at a time until there is twice the bound."""
    wanted = 2 * facts.memory // MIB
    for number in range(wanted):
        take(number)  # type: ignore[operator] # each attack's own way
    return f"{wanted} MiB, twice the bound"


@attack("resources")
def take_twice_the_memory(facts: Facts) -> str:
    kept = []
    return grow(facts, lambda _: kept.append(bytearray(os.urandom(1024)) * 1024))


@attack("resources")
def take_memory_that_nobody_counts(facts: Facts) -> str:
    """Files in memory belong to no process's own data."""
    descriptor = syscall("memfd_create", b"hoard", 0)
    piece = b"x" * MIB
    return grow(facts, lambda _: os.write(descriptor, piece))


@attack("resources")
def take_shared_memory(facts: Facts) -> str:
    kept = []

    def take(_: int) -> None:
        page = mmap.mmap(-1, MIB, flags=mmap.MAP_SHARED | mmap.MAP_ANONYMOUS)
        page.write(b"x" * MIB)
        kept.append(page)

    return grow(facts, take)


@attack("resources")
def take_memory_by_children(facts: Facts) -> str:
    """Four children with half the bound each: none is over a limit of its own."""
    readers = []
    children = []
    for _ in range(4):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            kept = bytearray(facts.memory // 2)
            for place in range(0, len(kept), 4096):
                kept[place] = 1
            os.write(writing, b"y")
            time.sleep(60)
            os._exit(0)
        os.close(writing)
        readers.append(reading)
        children.append(pid)
    there = [os.read(reading, 1) for reading in readers]
    for pid in children:
        os.kill(pid, 9)
    if not all(there):
        raise HeldError("a child was ended")
    return "twice the bound in four children"


@attack("resources")
def fill_the_temporary_folder(facts: Facts) -> str:
    path = Path("/dev/shm", "hoard")
    piece = b"x" * MIB
    try:
        with path.open("wb", buffering=0) as file:
            return grow(facts, lambda _: file.write(piece))
    finally:
        path.unlink(missing_ok=True)


@attack("resources")
def start_more_processes(facts: Facts) -> str:
    started = []
    try:
        for _ in range(facts.pids + 20):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            started.append(pid)
    finally:
        for pid in started:
            os.kill(pid, 9)
        for pid in started:
            os.waitpid(pid, 0)
    return f"{len(started)} children"


@attack("resources")
def start_more_threads(facts: Facts) -> str:
    over = threading.Event()
    for _ in range(facts.pids + 20):
        try:
            threading.Thread(target=over.wait, daemon=True).start()
        except RuntimeError as error:
            raise HeldError(str(error)) from error
    return f"{facts.pids + 20} threads"


@attack("resources")
def open_more_files(facts: Facts) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = facts.open_files + 20
    if hard == resource.RLIM_INFINITY or hard >= wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted + 50), hard))
    opened = [os.open("/dev/null", os.O_RDONLY) for _ in range(wanted)]
    return f"{len(opened)} files"


@attack("resources", needs_root=True)
def raise_its_own_bounds(_facts: Facts) -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)
    lower = 1000 if hard == resource.RLIM_INFINITY else max(0, hard - 1)
    try:
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (lower, lower))
        resource.setrlimit(resource.RLIMIT_MSGQUEUE, (lower + 1, lower + 1))
    except ValueError as error:
        raise HeldError(str(error)) from error
    return "a bound that was lowered went up again"


@attack("resources")
def write_more_than_the_folder_may_hold(facts: Facts) -> str:
    """Many files, each below every bound on one file, and they stay."""
    piece = b"x" * MIB
    folder = Path(facts.write_folder, "hoard")
    folder.mkdir(exist_ok=True)
    written = 0
    while written < 2 * facts.write_bytes:
        (folder / str(written)).write_bytes(piece)
        written += MIB
    if facts.proxy:  # whoever looks at it now and then has the time to
        time.sleep(20)
    return f"{written // MIB} MiB"


@attack("resources")
def use_every_processor(facts: Facts) -> str:
    """Burn with two threads' worth of children; what they got is more than the bound allows."""
    began = time.monotonic()
    children = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            while time.monotonic() - began < 1.5:
                pass
            os._exit(0)
        children.append(pid)
    for pid in children:
        os.waitpid(pid, 0)
    used = sum(os.times()[2:4])
    allowed = float(facts.extra["cpu"])
    if used / 1.5 < allowed * 1.5:
        raise HeldError(f"{used:.2f} s of 3 s")
    return f"{used:.2f} s of processor in 1.5 s"


@attack("resources")
def leave_a_core_dump(_facts: Facts) -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    if hard == 0:
        raise HeldError("no core dumps")
    return f"up to {hard} bytes"


@attack("resources", needs_root=True)
def lock_memory(facts: Facts) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard != resource.RLIM_INFINITY and hard <= facts.memory:
        raise HeldError(f"{hard} bytes at most")
    return f"{soft} bytes"
