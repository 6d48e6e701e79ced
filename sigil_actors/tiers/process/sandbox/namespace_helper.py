"""Opens sockets inside of sandboxes, through a small program that enters their namespaces.

The program is started with the first request, and anew where it has died. A sandbox is named by a
descriptor of its network namespace, never by a number that may be somebody else's by now.
"""

import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sigil_actors.tiers.process.child_process import ChildProcess
from sigil_actors.tiers.process.sandbox import namespace_helper_main as program
from sigil_actors.tiers.process.spawner import Spawner

PROGRAM = Path(program.__file__).resolve()

REQUESTS_MAX = 16
"""Requests at once, each a process of the program's: a plugin's broker asks for connections."""

ANSWER_S = 15.0
"""Seconds that an answer is waited for; the program's own bound on a request is 10."""

_GONE = {errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN, errno.ECONNREFUSED}


class NamespaceHelper:
    """The host's end of the program. One task or many may ask at the same time."""

    def __init__(self, spawner: Spawner) -> None:
        self._spawner = spawner
        self._requests: trio.socket.SocketType | None = None
        self._child: ChildProcess | None = None
        self._sending = trio.Lock()
        self._at_once = trio.CapacityLimiter(REQUESTS_MAX)

    @property
    def pid(self) -> int | None:
        """Return the program's process, or None where there is none."""
        return None if self._child is None else self._child.pid

    async def listen(self, network: int, port: int) -> socket.socket:
        """Return a non-blocking socket that listens at 127.0.0.1:`port` of a namespace.

        Raises:
            OSError: the namespace can't be entered, or the port is taken.
        """
        return await self._ask(program.LISTEN, network, port)

    async def connect(self, network: int, port: int) -> socket.socket:
        """Return a non-blocking socket that is connected to 127.0.0.1:`port` of a namespace.

        Raises:
            OSError: nobody listens there.
        """
        return await self._ask(program.CONNECT, network, port)

    async def _ask(self, order: bytes, network: int, port: int) -> socket.socket:
        async with self._at_once:
            ours, theirs = trio.socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with ours:
                with theirs:
                    await self._send(program.REQUEST.pack(order, port), theirs.fileno(), network)
                with trio.move_on_after(ANSWER_S):
                    return await _answer(ours)
        raise TimeoutError(errno.ETIMEDOUT, "no answer from the sandbox's namespace")

    async def _send(self, request: bytes, answers: int, network: int) -> None:
        passed = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _packed(answers, network))]
        async with self._sending:
            if self._requests is not None:
                try:
                    await self._requests.sendmsg([request], passed)
                except OSError as error:
                    if error.errno not in _GONE:
                        raise
                else:
                    return
            await self._close()
            await self._start()
            if self._requests is None:
                raise AssertionError("it was just started")
            await self._requests.sendmsg([request], passed)

    async def _start(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._child = await self._spawner.spawn(
                    (sys.executable, "-I", "-S", str(PROGRAM)),
                    env={},
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self._requests = trio.socket.from_stdlib_socket(ours)

    async def _close(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._child is not None:
            child, self._child = self._child, None
            await child.aclose()


def _packed(*descriptors: int) -> bytes:
    return b"".join(number.to_bytes(4, sys.byteorder) for number in descriptors)


async def _answer(answers: trio.socket.SocketType) -> socket.socket:
    try:
        said, ancillary, _, _ = await answers.recvmsg(
            program.ANSWER.size, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:
        said, ancillary = b"", []
    passed = [
        int.from_bytes(content[:4], sys.byteorder)
        for level, kind, content in ancillary
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
    ]
    if not passed:
        if len(said) < program.ANSWER.size:
            raise OSError(errno.EIO, "the program that enters the sandbox's namespace gave up")
        (number,) = program.ANSWER.unpack(said)
        raise OSError(number, os.strerror(number))
    made = socket.socket(fileno=passed[0])
    made.setblocking(False)
    return made


@asynccontextmanager
async def open_namespace_helper(spawner: Spawner) -> AsyncGenerator[NamespaceHelper, None]:
    """Give a helper; the program it started is gone when the block is left."""
    helper = NamespaceHelper(spawner)
    try:
        yield helper
    finally:
        await helper._close()  # noqa: SLF001 - its owner
