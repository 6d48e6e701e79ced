"""A plugin's program without a sandbox: for whoever asked for that in so many words.

It is no less gone when its block is left, or when the host is killed: it leads a group of its own,
asks for a death signal, and a guard sees to what it started. A process that leaves that group on
purpose is beyond this; only a sandbox holds it.
"""

import os
import platform
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache
from pathlib import Path

import trio

from sigil_actors.core.calls import Usage
from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.child_process import ChildProcess
from sigil_actors.tiers.process.group_guard import GroupGuard
from sigil_actors.tiers.process.program import ProgramEnd
from sigil_actors.tiers.process.spawner import Spawner
from sigil_actors.tiers.process.static_programs import DIE_WITH_PARENT, static_program

# What the program beside this file does, for a kind of machine that there is none for: thirty
# milliseconds instead of a tenth of one. 1 is PR_SET_PDEATHSIG.
_ASK_IN_PYTHON = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(126)\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)


@cache
def _asking_program() -> tuple[str, ...]:
    """Return what asks for a death signal, checks its parent, and becomes what it is told."""
    program = static_program(DIE_WITH_PARENT, platform.machine())
    if os.access(program, os.X_OK):
        return (str(program),)
    return (sys.executable, "-I", "-S", "-c", _ASK_IN_PYTHON)


class PlainProgram:
    """A `RunningProgram` that is just a child process."""

    def __init__(self, child: ChildProcess, socket_dir: Path) -> None:
        self._child = child
        self._socket_dir = socket_dir

    @property
    def pid(self) -> int:
        """Return the child: the prefix has become the program, under the same number."""
        return self._child.pid

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """Return its standard output."""
        return self._child.stdout

    @property
    def stderr(self) -> trio.abc.ReceiveStream:
        """Return its standard error."""
        return self._child.stderr

    @property
    def socket_dir(self) -> Path:
        """Return the folder for its sockets."""
        return self._socket_dir

    @property
    def socket_uid(self) -> int:
        """Return the host's own uid: it runs as the host does."""
        return os.geteuid()

    async def connect_tcp(self, port: int) -> socket.socket:
        """Return a connected, non-blocking socket to 127.0.0.1:`port`."""
        connection = trio.socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            await connection.connect(("127.0.0.1", port))
        except BaseException:
            connection.close()
            raise
        connected = socket.socket(fileno=connection.detach())
        connected.setblocking(False)
        return connected

    async def wait(self) -> ProgramEnd:
        """Wait until it has ended."""
        return await self._child.wait()

    def terminate(self) -> None:
        """Send SIGTERM to it alone."""
        self._child.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Kill its group."""
        self._child.kill_group()

    def usage(self) -> Usage | None:
        """Return None: nothing counts it together with what it started."""
        return None


@asynccontextmanager
async def open_plain_program(
    plugin: str,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    socket_dir: Path,
    spawner: Spawner,
    guard: GroupGuard,
) -> AsyncGenerator[PlainProgram, None]:
    """Run a program as the host's own user, with exactly these variables.

    Raises:
        PluginStartError: on entering; it can't be started.
    """
    async with AsyncExitStack() as stack:
        try:
            child = await spawner.spawn(
                (*_asking_program(), str(os.getpid()), *argv), env=env, cwd=cwd
            )
            await stack.enter_async_context(child)
            stack.enter_context(guard.watching(child.pid))
        except OSError as error:
            raise PluginStartError(
                plugin,
                f"can't be started: {error.strerror or error}",
                remedy="Look whether the machine has processes and memory left",
            ) from error
        # Before the guard forgets its group, whose number may be another's once it is reaped.
        stack.push_async_callback(child.aclose)
        yield PlainProgram(child, socket_dir)
