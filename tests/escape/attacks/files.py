"""Attacks on the file system: read what isn't shown, write what isn't the plugin's."""

import os
import stat
from pathlib import Path

from .harness import Facts, HeldError, attack, reached, syscall

REFUSALS = (1, 38)  # EPERM, ENOSYS


def read(path: str | Path) -> str:
    """Return the beginning of a file; an empty one is nothing got."""
    with Path(path).open("rb") as file:
        got = file.read(200)
    if not got:
        raise HeldError(f"{path} is empty")
    return got.decode("latin-1")


def secret_in(text: str, facts: Facts) -> str:
    """Return `text` where the secret is in it."""
    if facts.secret not in text:
        raise HeldError(f"no secret in {text[:60]!r}")
    return text


@attack("files")
def read_a_file_of_the_host(facts: Facts) -> str:
    return secret_in(read(facts.secret_file), facts)


@attack("files", needs_root=True)
def read_the_password_hashes(_facts: Facts) -> str:
    return read("/etc/shadow")


@attack("files")
def list_a_folder_of_the_host(facts: Facts) -> str:
    return " ".join(str(found) for found in Path(facts.secret_file).parent.iterdir())


@attack("files")
def learn_of_a_file_of_the_host(facts: Facts) -> str:
    return str(Path(facts.secret_file).stat())


@attack("files")
def write_into_a_folder_of_the_host(facts: Facts) -> str:
    path = Path(facts.outside, "written")
    path.write_text("x")
    return str(path)


@attack("files", needs_root=True)
def write_among_the_programs(_facts: Facts) -> str:
    path = Path("/usr/bin/sigil-escaped")
    path.write_text("x")
    path.unlink()
    return str(path)


@attack("files", needs_root=True)
def write_into_etc(_facts: Facts) -> str:
    path = Path("/etc/sigil-escaped")
    path.write_text("x")
    path.unlink()
    return str(path)


@attack("files")
def change_the_plugins_own_code(_facts: Facts) -> str:
    path = Path(__file__).with_name("harness.py")
    with path.open("ab") as file:
        file.write(b"\n")
    return str(path)


@attack("files")
def add_to_the_plugins_own_folder(_facts: Facts) -> str:
    path = Path(__file__).with_name("added.py")
    path.write_text("")
    path.unlink()
    return str(path)


@attack("files")
def make_the_plugins_code_writable(_facts: Facts) -> str:
    path = Path(__file__).with_name("harness.py")
    path.chmod(0o777)
    return str(path)


@attack("files")
def swap_the_plugins_folder_by_renaming(_facts: Facts) -> str:
    folder = Path(__file__).parent.parent
    other = folder.with_name("renamed")
    folder.rename(other)
    other.rename(folder)
    return str(other)


@attack("files")
def read_a_masked_file(facts: Facts) -> str:
    return secret_in(read(facts.denied_file), facts)


@attack("files")
def read_inside_a_masked_folder(facts: Facts) -> str:
    return secret_in(read(Path(facts.denied_folder, "inner")), facts)


@attack("files")
def rename_the_parent_of_a_mask(facts: Facts) -> str:
    parent = Path(facts.denied_file).parent
    parent.rename(parent.with_name("moved"))
    try:
        return secret_in(read(parent.with_name("moved") / Path(facts.denied_file).name), facts)
    finally:
        parent.with_name("moved").rename(parent)


@attack("files")
def rename_the_masked_folder(facts: Facts) -> str:
    folder = Path(facts.denied_folder)
    folder.rename(folder.with_name("moved"))
    try:
        return secret_in(read(folder.with_name("moved") / "inner"), facts)
    finally:
        folder.with_name("moved").rename(folder)


@attack("files")
def remove_a_mask(facts: Facts) -> str:
    """Unmount what lies over the file; without a sandbox there is nothing to take away."""
    try:
        syscall("umount2", facts.denied_file.encode(), 2)
    except OSError as error:
        if facts.proxy:  # without a sandbox nothing lies over it
            raise HeldError(str(error)) from error
    return secret_in(read(facts.denied_file), facts)


@attack("files")
def link_a_file_of_the_host_into_the_write_folder(facts: Facts) -> str:
    link = Path(facts.write_folder, "hard")
    link.unlink(missing_ok=True)
    link.hardlink_to(facts.secret_file)
    return secret_in(read(link), facts)


@attack("files")
def follow_a_link_out_of_the_write_folder(facts: Facts) -> str:
    link = Path(facts.write_folder, "soft")
    link.unlink(missing_ok=True)
    link.symlink_to(facts.secret_file)
    return secret_in(read(link), facts)


@attack("files")
def climb_out_of_the_write_folder(facts: Facts) -> str:
    ups = "../" * 40
    return secret_in(read(f"{facts.write_folder}/{ups}{facts.secret_file.lstrip('/')}"), facts)


@attack("files")
def enter_by_the_root_of_the_first_process(facts: Facts) -> str:
    for pid in ("1", "2", str(os.getppid()), str(facts.victim)):
        try:
            return secret_in(read(f"/proc/{pid}/root{facts.secret_file}"), facts)
        except (OSError, HeldError):
            continue
    raise HeldError("no process's root shows the host")


@attack("files")
def enter_by_the_working_folder_of_another_process(facts: Facts) -> str:
    ups = "../" * 40
    for pid in ("1", "2", str(facts.victim), "self"):
        try:
            return secret_in(read(f"/proc/{pid}/cwd/{ups}{facts.secret_file.lstrip('/')}"), facts)
        except (OSError, HeldError):
            continue
    raise HeldError("no process's working folder shows the host")


@attack("files", needs_root=True)
def open_a_file_by_its_handle(facts: Facts) -> str:
    return reached("open_by_handle_at", -1, facts.secret.encode(), 0, refused_by=REFUSALS)


@attack("files")
def learn_the_handle_of_a_file(_facts: Facts) -> str:
    return reached("name_to_handle_at", -100, b"/usr", 0, 0, 0, refused_by=REFUSALS)


@attack("files")
def leave_a_setuid_program_behind(facts: Facts) -> str:
    path = Path(facts.write_folder, "setuid")
    path.write_text("x")
    path.chmod(0o4755)
    try:
        if not path.stat().st_mode & stat.S_ISUID:
            raise HeldError("the bit was dropped")
        return oct(path.stat().st_mode)
    finally:
        path.unlink()


@attack("files")
def create_a_setuid_program_at_once(facts: Facts) -> str:
    path = Path(facts.write_folder, "setuid-at-once")
    old = os.umask(0)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, 0o4755))
    finally:
        os.umask(old)
    try:
        if not path.stat().st_mode & stat.S_ISUID:
            raise HeldError("the bit was dropped")
        return oct(path.stat().st_mode)
    finally:
        path.unlink()


@attack("files", needs_root=True)
def make_a_device(facts: Facts) -> str:
    path = Path(facts.write_folder, "device")
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    path.unlink()
    return str(path)


@attack("files", needs_root=True)
def read_a_disk(_facts: Facts) -> str:
    for entry in Path("/dev").iterdir():
        if stat.S_ISBLK(entry.stat().st_mode):
            os.close(os.open(entry, os.O_RDONLY))
            return str(entry)
    raise HeldError("no disk in /dev")


@attack("files", needs_root=True)
def open_the_kernels_messages(_facts: Facts) -> str:
    os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    return "/dev/kmsg"


@attack("files", needs_root=True)
def open_a_setting_of_the_kernel_for_writing(_facts: Facts) -> str:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    return "/proc/sys/kernel/core_pattern"


@attack("files", needs_root=True)
def open_the_system_request_trigger(_facts: Facts) -> str:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))
    return "/proc/sysrq-trigger"


@attack("files")
def look_at_the_devices_of_the_machine(_facts: Facts) -> str:
    return " ".join(found.name for found in Path("/sys/class/net").iterdir())


@attack("files", needs_root=True)
def mount_a_file_system(facts: Facts) -> str:
    syscall("mount", b"none", facts.write_folder.encode(), b"tmpfs", 0, 0)
    syscall("umount2", facts.write_folder.encode(), 0)
    return "a tmpfs over the write folder"


@attack("files", needs_root=True)
def make_a_read_only_mount_writable(_facts: Facts) -> str:
    return reached("mount", 0, b"/nowhere", 0, 0x20 | 0x1000, 0, refused_by=REFUSALS)


@attack("files", needs_root=True)
def use_the_new_calls_for_mounts(_facts: Facts) -> str:
    return reached("fsopen", b"no such file system", 0, refused_by=REFUSALS)


@attack("files", needs_root=True)
def clone_a_tree_of_mounts(_facts: Facts) -> str:
    descriptor = syscall("open_tree", -100, b"/usr", 1)
    os.close(descriptor)
    return "a detached copy of /usr's mount"


@attack("files", needs_root=True)
def change_the_root(_facts: Facts) -> str:
    return reached("pivot_root", b"/nowhere", b"/nowhere", refused_by=REFUSALS)


@attack("files", needs_root=True)
def change_the_root_the_old_way(_facts: Facts) -> str:
    return reached("chroot", b"/nowhere", refused_by=REFUSALS)
