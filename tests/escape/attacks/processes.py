"""Attacks on processes: see, signal, read and outlive those of the host."""

import ctypes
import os
import time
from pathlib import Path

from .harness import Facts, HeldError, attack, syscall


@attack("processes")
def see_a_process_of_the_host(facts: Facts) -> str:
    command = Path(f"/proc/{facts.victim}/cmdline").read_bytes()
    if b"victim" not in command:
        raise HeldError("that number is another process here")
    return command.decode()


@attack("processes")
def count_the_processes_of_the_machine(facts: Facts) -> str:
    seen = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    if facts.victim not in seen:
        raise HeldError(f"{len(seen)} processes, none of them the host's")
    return f"{len(seen)} processes"


@attack("processes")
def signal_a_process_of_the_host(facts: Facts) -> str:
    os.kill(facts.victim, 0)
    return f"signal 0 to {facts.victim}"


@attack("processes")
def read_the_environment_of_a_process(facts: Facts) -> str:
    environment = Path(f"/proc/{facts.victim}/environ").read_bytes().decode()
    if facts.secret not in environment:
        raise HeldError("another process")
    return environment


@attack("processes")
def trace_a_process(facts: Facts) -> str:
    syscall("ptrace", 0x4206, facts.victim, 0, 0)  # SEIZE
    return "seized"


@attack("processes")
def trace_a_child_of_its_own(_facts: Facts) -> str:
    """Tracing is what loosens other checks, so it isn't there even among the plugin's own."""
    syscall("ptrace", 0, 0, 0, 0)  # TRACEME
    return "traced by whoever started it"


@attack("processes")
def read_the_memory_of_a_process(facts: Facts) -> str:
    with Path(f"/proc/{facts.victim}/mem").open("rb", buffering=0) as memory:
        maps = Path(f"/proc/{facts.victim}/maps").read_text()
        memory.seek(int(maps.split("-", 1)[0], 16))
        return repr(memory.read(16))


@attack("processes")
def read_memory_with_one_call(facts: Facts) -> str:
    class Piece(ctypes.Structure):
        _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))

    mine = ctypes.create_string_buffer(16)
    maps_of = Path(f"/proc/{facts.victim}/maps")
    start = int(maps_of.read_text().split("-", 1)[0], 16) if maps_of.exists() else 4096
    local = Piece(ctypes.addressof(mine), 16)
    remote = Piece(start, 16)
    read = syscall(
        "process_vm_readv", facts.victim, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0
    )
    return f"{read} bytes"


@attack("processes")
def take_a_descriptor_of_a_process(facts: Facts) -> str:
    handle = syscall("pidfd_open", facts.victim, 0)
    return f"descriptor {syscall('pidfd_getfd', handle, 0, 0)}"


@attack("processes")
def compare_with_a_process(facts: Facts) -> str:
    return str(syscall("kcmp", os.getpid(), facts.victim, 0, 0, 0))


@attack("processes")
def bind_a_process_to_one_processor(facts: Facts) -> str:
    os.sched_setaffinity(facts.victim, os.sched_getaffinity(0))
    return "affinity set"


@attack("processes", needs_root=True)
def take_realtime_priority(_facts: Facts) -> str:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    return "first in, first out"


@attack("processes", needs_root=True)
def be_nicer_to_itself(_facts: Facts) -> str:
    return f"nice {os.nice(-5)}"


@attack("processes", needs_root=True)
def become_another_user(_facts: Facts) -> str:
    os.setresuid(12345, 12345, 12345)
    return f"uid {os.getuid()}"


@attack("processes")
def gain_rights_by_a_setuid_program(_facts: Facts) -> str:
    status = Path("/proc/self/status").read_text()
    if "NoNewPrivs:\t1" in status:
        raise HeldError("no new privileges")
    return "a setuid program would work"


@attack("processes")
def keep_a_child_alive(facts: Facts) -> str:
    """Leave a process that goes on after the plugin; whoever started it looks for its traces."""
    marker = Path(facts.write_folder, "heartbeat")
    marker.unlink(missing_ok=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.closerange(0, 3)  # whoever reads what the attack says mustn't wait for it
            for number in range(2000):
                marker.write_text(f"{os.getpid()} {number}")
                time.sleep(0.01)
        os._exit(0)
    while not marker.exists():
        time.sleep(0.001)
    return "judged from outside"
