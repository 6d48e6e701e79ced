"""Plans under the real bubblewrap: what a program inside sees, may write and may call."""

import json
import os
import platform
import signal
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.bwrap_args import with_handshake
from sigil_actors.core.execution import FilesystemPolicy, ProcessExecution
from sigil_actors.core.host_facts import Bubblewrap
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.seccomp_tables import NUMBERS
from sigil_actors.sandbox import generate_args
from tests.core.sandbox_cases import manifest
from tests.core.test_seccomp import answer
from tests.sandbox.bwrap_run import PYTHON, PYTHON_HOME, plan_here, run, this_machine


@pytest.fixture
def world(tmp_path: Path, require: Callable[[str], None]) -> Path:
    """Folders of a plugin, of its data and of somebody else."""
    require("bwrap")
    if platform.machine() not in NUMBERS:
        pytest.skip(f"there is no filter for {platform.machine()}")
    for name in ("plugin", "sockets", "data/echo/a/b", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "data/echo/a/b/secret").write_text("secret")
    (tmp_path / "plugin/hidden.txt").write_text("hidden")
    (tmp_path / "plugin/own.txt").write_text("own")
    (tmp_path / "other/file").write_text("another's")
    return tmp_path


@pytest.fixture(params=["by descriptor", "by path"])
def bubblewrap(request: pytest.FixtureRequest, world: Path) -> Bubblewrap:
    """This machine's bubblewrap, and the same as if it were an older one."""
    found = this_machine().bubblewrap
    assert found is not None
    if request.param == "by path":
        return attrs.evolve(found, binds_by_descriptor=False)
    if not found.binds_by_descriptor:
        pytest.skip("this bubblewrap has no --bind-fd")
    return found


def python(world: Path, code: str, *, env: dict[str, str] | None = None) -> Manifest:
    return manifest(
        command=(PYTHON, "-I", "-S", "-c", code),
        env=env,
        write_allow=(f"{world}/data/self/*",),
        read_allow=(PYTHON_HOME,),
        read_deny=(
            f"{world}/data/echo/a/b/secret",
            f"{world}/plugin/hidden.txt",
            "/etc/shadow",
            "/usr/share/doc/*",
            "/gone",
        ),
    )


def result_of(world: Path, bubblewrap: Bubblewrap, code: str) -> object:
    plan = plan_here(
        python(world, HEAD + code), folder=world / "plugin", socket_dir=world / "sockets"
    )
    ran = run(plan, bubblewrap)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


HEAD = """
import ctypes, errno, json, os, socket, sys
def tried(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return errno.errorcode[error.errno]
def opened(path, mode="r"):
    with open(path, mode) as file:
        return file.read() if mode == "r" else file.write("x")
"""


def test_a_program_sees_what_the_plan_says(world: Path, bubblewrap: Bubblewrap) -> None:
    seen = result_of(
        world,
        bubblewrap,
        f"""
w = {str(world)!r}
print(json.dumps([
    sorted(set(os.listdir("/")) - {{"lib", "lib32", "lib64", "libx32", "bin", "sbin"}}),
    tried(opened, w + "/plugin/own.txt"),
    tried(opened, w + "/plugin/hidden.txt"),
    tried(opened, w + "/plugin/new", "w"),
    tried(opened, w + "/data/echo/new", "w"),
    tried(opened, w + "/sockets/new", "w"),
    tried(opened, w + "/data/echo/a/b/secret"),
    tried(os.listdir, w + "/other"),
    tried(opened, "/etc/shadow"),
    tried(opened, "/etc/passwd"),
    tried(os.listdir, "/usr/share/doc"),
    tried(opened, "/usr/new", "w"),
    tried(opened, "/new", "w"),
    tried(opened, "/dev/new", "w"),
    tried(opened, "/tmp/new", "w"),
    tried(opened, "/dev/shm/new", "w"),
    tried(opened, "/home/plugin/new", "w"),
    os.getuid(), os.getcwd() == w + "/plugin",
]))""",
    )
    top = Path(str(world)).parts[1]
    assert isinstance(seen, list)
    roots = {"dev", "etc", "home", "proc", "tmp", "usr", top, Path(PYTHON_HOME).parts[1]}
    assert set(seen[0]) == roots
    assert seen[1:] == [
        *("own", "EACCES", "EROFS", 1, 1, "EACCES"),
        *("ENOENT", "ENOENT", "plugin:x:1000:1000::/home/plugin:/bin/false\n", "EACCES"),
        *("EROFS", "EROFS", "EROFS", 1, 1, 1),
        *(1000, True),
    ]
    assert (world / "data/echo/new").read_text() == "x"


def test_what_is_hidden_stays_where_it_is(world: Path, bubblewrap: Bubblewrap) -> None:
    folder = f"{world}/data/echo"
    moved = result_of(
        world,
        bubblewrap,
        f"""
d = {folder!r}
print(json.dumps([
    tried(os.rename, d + "/a", d + "/x"),
    tried(os.rename, d + "/a/b", d + "/a/x"),
    tried(os.rename, d + "/a/b/secret", d + "/a/b/x"),
    tried(os.unlink, d + "/a/b/secret"),
    tried(os.link, d + "/a/b/secret", d + "/x"),
    tried(os.rename, d, d + "2"),
]))""",
    )
    assert moved == ["EBUSY", "EBUSY", "EBUSY", "EBUSY", "EXDEV", "EBUSY"]
    assert (world / "data/echo/a/b/secret").read_text() == "secret"


def test_neither_environment_nor_command_nor_descriptors_tell_of_the_host(
    world: Path, bubblewrap: Bubblewrap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOST_SECRET", "hunter2")
    told = result_of(
        world,
        bubblewrap,
        """
print(json.dumps([
    dict(os.environ),
    [open(f"/proc/{pid}/environ").read() for pid in os.listdir("/proc")
        if pid.isdigit() and int(pid) != os.getpid()],
    open("/proc/1/cmdline").read().split("\\0")[:4],
    [os.readlink(f"/proc/self/fd/{fd}").split(":")[0] for fd in range(3, 64)
        if os.path.lexists(f"/proc/self/fd/{fd}")],
    sorted(os.listdir("/sys")) if os.path.exists("/sys") else None,
]))""",
    )
    assert isinstance(told, list)
    environment, others, command, descriptors, sys_files = told
    assert environment.pop("LC_CTYPE", "C.UTF-8") == "C.UTF-8"  # Python's own, at its start
    assert environment == {
        "HOME": "/home/plugin",
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PWD": f"{world}/plugin",
        "SIGIL_PLUGIN": "cookie",
        "TMPDIR": "/tmp",
    }
    assert others == [""] * len(others)
    assert command[1:2] == ["--args"]
    assert command[3] == "--"
    assert descriptors == []
    assert sys_files is None


CALLS: Sequence[tuple[str, tuple[int, ...]]] = [
    ("unshare", (0x10000000,)),
    ("setns", (0, 0)),
    ("clone", (0x10000011, 0, 0, 0, 0)),
    ("clone3", (0, 0)),
    ("openat2", (0, 0, 0, 0)),
    ("mount", (0, 0, 0, 0, 0)),
    ("umount2", (0, 0)),
    ("pivot_root", (0, 0)),
    ("chroot", (0,)),
    ("ptrace", (0, 0, 0, 0)),
    ("process_vm_readv", (1, 0, 0, 0, 0, 0)),
    ("bpf", (0, 0, 0)),
    ("perf_event_open", (0, 0, 0, 0, 0)),
    ("keyctl", (0, 0, 0, 0, 0)),
    ("add_key", (0, 0, 0, 0, 0)),
    ("userfaultfd", (0,)),
    ("io_uring_setup", (1, 0)),
    ("kexec_load", (0, 0, 0, 0)),
    ("init_module", (0, 0, 0)),
    ("open_by_handle_at", (0, 0, 0)),
    ("fanotify_init", (0, 0)),
    ("pidfd_getfd", (0, 0, 0)),
    ("sethostname", (0, 0)),
    ("memfd_secret", (0,)),
    ("personality", (0x0040000,)),
    ("ioctl", (0, 0x5412, 0)),
    ("ioctl", (0, 0x541C, 0)),
    ("ioctl", (0, 0x5423, 0)),
    ("socket", (17, 3, 0)),
    ("socket", (2, 3, 1)),
    ("socket", (16, 3, 9)),
    ("socket", (40, 1, 0)),
    ("socket", (38, 5, 0)),
    ("socket", (2, 1, 132)),
    ("socketpair", (30, 1, 0, 0)),
    ("fchmod", (1, 0o4755)),
    ("fchmodat", (0, 0, 0o2755)),
    ("mknodat", (0, 0, 0o020600, 0x103)),
]


def test_the_kernel_answers_as_the_tests_machine_does(world: Path, bubblewrap: Bubblewrap) -> None:
    architecture = platform.machine()
    calls = [[NUMBERS[architecture][name], *arguments] for name, arguments in CALLS]
    answers = result_of(
        world,
        bubblewrap,
        f"""
syscall = ctypes.CDLL(None, use_errno=True).syscall
def called(number, *arguments):
    ctypes.set_errno(0)
    return ctypes.get_errno() if syscall(number, *map(ctypes.c_long, arguments)) == -1 else 0
print(json.dumps([called(*call) for call in {calls!r}]))""",
    )
    assert answers == [answer(architecture, name, *arguments) for name, arguments in CALLS]


def test_honest_programs_notice_nothing(world: Path, bubblewrap: Bubblewrap) -> None:
    did = result_of(
        world,
        bubblewrap,
        """
import subprocess, threading, select, tempfile, multiprocessing, mmap
done = []
thread = threading.Thread(target=done.append, args=(1,)); thread.start(); thread.join()
done.append(subprocess.run(["/bin/sh", "-c", "exit 7"]).returncode)
listener = socket.create_server(("127.0.0.1", 0)); client = socket.create_connection(
    listener.getsockname()); done.append(client.getpeername()[0])
a, b = socket.socketpair(); a.sendall(b"x"); done.append(b.recv(1).decode())
unix = socket.socket(socket.AF_UNIX); unix.bind(os.environ["TMPDIR"] + "/s"); unix.listen()
done.append(len(socket.if_nameindex()))
done.append(socket.gethostbyname("localhost"))
with tempfile.NamedTemporaryFile() as file: os.chmod(file.name, 0o755)
os.mkfifo("/tmp/fifo"); select.epoll().close(); mmap.mmap(-1, 4096).close()
multiprocessing.Lock(); os.memfd_create("x"); os.getrandom(4)
print(json.dumps(done))""",
    )
    assert did == [1, 7, "127.0.0.1", "x", 1, "127.0.0.1"]


def test_there_is_no_network_but_the_sandboxs_own(world: Path, bubblewrap: Bubblewrap) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        tried = result_of(
            world,
            bubblewrap,
            f"""
print(json.dumps([
    tried(socket.create_connection, ("127.0.0.1", {port}), 2),
    tried(socket.create_connection, ("192.0.2.1", 80), 2),
    [name for _, name in socket.if_nameindex()],
]))""",
        )
    assert tried == ["ECONNREFUSED", "ENETUNREACH", ["lo"]]


@pytest.mark.skipif(platform.machine() != "x86_64", reason="only x86_64 has this other ABI")
def test_a_call_by_the_old_abi_kills(world: Path, bubblewrap: Bubblewrap) -> None:
    ended = result_of(
        world,
        bubblewrap,
        """
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20 (getpid); int 0x80; ret
child = os.fork()
if child == 0:
    ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()
    os._exit(0)
print(json.dumps(os.waitpid(child, 0)[1]))""",
    )
    # SIGSEGV where the kernel was built without that ABI.
    assert isinstance(ended, int)
    assert os.WTERMSIG(ended) in {signal.SIGSYS, signal.SIGSEGV}


def test_the_generated_command_line_runs(world: Path) -> None:
    program = world / "plugin" / "echo"
    program.write_text(
        "#!/bin/sh\nls -d / /etc/shadow; id -u; echo $HOME $COOKIE; ls " + str(world)
    )
    program.chmod(0o755)
    one = Manifest(
        name="echo",
        version="1.0.0",
        type="tool",
        execution=ProcessExecution(
            sandbox=attrs.evolve(
                ProcessExecution().sandbox,
                filesystem=FilesystemPolicy(write_allow=[f"{world}/data/self"]),
            )
        ),
    )
    arguments = generate_args(one, program)
    assert arguments is not None
    arguments = with_handshake(
        arguments, environment={"COOKIE": "c"}, socket_dir=f"{world}/sockets"
    )
    ran = subprocess.run(arguments, capture_output=True, text=True, timeout=30, check=False)
    assert ran.stdout.split() == ["/", "1000", "/home/plugin", "c", "data", "plugin", "sockets"], (
        ran.stderr
    )
    assert "/etc/shadow" in ran.stderr
