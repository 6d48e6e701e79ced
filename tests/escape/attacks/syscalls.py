"""Attacks on the kernel's surface: calls that no plugin needs and that had holes before."""

import ctypes
import errno
import mmap
import platform

from .harness import Facts, HeldError, attack, reached, syscall

REFUSALS = (errno.EPERM, errno.ENOSYS)


@attack("syscalls", needs_root=True)
def load_a_bpf_program(_facts: Facts) -> str:
    return reached("bpf", 5, 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def watch_performance_counters(_facts: Facts) -> str:
    return reached("perf_event_open", 0, 0, -1, -1, 0, refused_by=REFUSALS)


@attack("syscalls")
def set_up_a_ring_of_requests(_facts: Facts) -> str:
    return reached("io_uring_setup", 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def handle_its_own_page_faults(_facts: Facts) -> str:
    return reached("userfaultfd", -1, refused_by=REFUSALS)


@attack("syscalls")
def add_a_key(_facts: Facts) -> str:
    return reached("add_key", 0, 0, 0, 0, 0, refused_by=REFUSALS)


@attack("syscalls")
def look_at_the_keyring(_facts: Facts) -> str:
    return reached("keyctl", 0, -3, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def load_another_kernel(_facts: Facts) -> str:
    return reached("kexec_load", 0, 1 << 20, 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def load_a_module(_facts: Facts) -> str:
    return reached("init_module", 0, 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def remove_a_module(_facts: Facts) -> str:
    return reached("delete_module", b"no such module", 0o4000, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def restart_the_machine(_facts: Facts) -> str:
    """The magic numbers are wrong, so that the kernel says so and no more."""
    return reached("reboot", 1, 1, 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def set_the_clock(_facts: Facts) -> str:
    return reached("clock_settime", 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def read_the_kernels_log(_facts: Facts) -> str:
    return f"{syscall('syslog', 10, 0, 0)} bytes"


@attack("syscalls", needs_root=True)
def account_for_processes(_facts: Facts) -> str:
    return reached("acct", b"/nowhere/at/all", refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def swap_to_a_file(_facts: Facts) -> str:
    return reached("swapon", b"/nowhere/at/all", 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def watch_every_file(_facts: Facts) -> str:
    return reached("fanotify_init", 0x7FFFFFFF, 0, refused_by=REFUSALS)


@attack("syscalls")
def place_memory_on_a_node(_facts: Facts) -> str:
    return reached("mbind", 1, 0, 0, 0, 0, 0, refused_by=REFUSALS)


@attack("syscalls")
def move_pages_between_nodes(_facts: Facts) -> str:
    return reached("move_pages", 0, 0, 0, 0, 0, 0, refused_by=REFUSALS)


@attack("syscalls")
def switch_randomisation_off(_facts: Facts) -> str:
    syscall("personality", 0x0040000)
    return "addresses of programs that it starts are known"


@attack("syscalls")
def change_its_descriptor_table(_facts: Facts) -> str:
    return reached("modify_ldt", 0, 0, 0, refused_by=REFUSALS)


@attack("syscalls", needs_root=True)
def reach_the_ports_of_the_hardware(_facts: Facts) -> str:
    syscall("iopl", 0)
    return "level 0 granted"


@attack("syscalls", needs_root=True)
def rename_the_machine(_facts: Facts) -> str:
    return reached("sethostname", 0, 1000, refused_by=REFUSALS)


@attack("syscalls")
def call_the_kernel_as_an_older_machine(_facts: Facts) -> str:
    """The 32-bit door of x86_64 has numbers of its own, which a filter for 64 bits doesn't know."""
    if platform.machine() != "x86_64":
        raise HeldError("only x86_64 has that door")
    # mov eax, 20 (getpid); int 0x80; ret
    result = run_machine_code(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    if result <= 0:
        raise HeldError(f"it answered {result}")
    return f"the 32-bit getpid says {result}"


@attack("syscalls")
def read_the_machines_code_page(_facts: Facts) -> str:
    """x32 numbers have bit 30 set; where the kernel has them, they walk around an allow list."""
    if platform.machine() != "x86_64":
        raise HeldError("only x86_64 has x32")
    ctypes.set_errno(0)
    result = ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(0x40000000 + 39))
    if result <= 0:
        raise OSError(ctypes.get_errno(), "x32 getpid")
    return f"the x32 getpid says {result}"


def run_machine_code(code: bytes) -> int:
    """Run bytes as a function without arguments; return what it leaves as its result."""
    page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(page))
    return int(ctypes.CFUNCTYPE(ctypes.c_int)(address)())
