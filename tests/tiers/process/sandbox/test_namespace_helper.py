"""Sockets inside of namespaces are opened by a program that may die."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio

from sigil_actors.tiers.process.sandbox.namespace_helper import (
    PROGRAM,
    NamespaceHelper,
    open_namespace_helper,
)
from sigil_actors.tiers.process.spawner import Spawner
from tests.tiers.process.machine import children, descriptors, eventually, is_alive

HOLD = (
    "/usr/bin/bwrap", "--unshare-user", "--unshare-net", "--die-with-parent", "--ro-bind", "/", "/",
    "--", "/bin/sh", "-c", "echo up; exec sleep 1000",
)  # fmt: skip


@asynccontextmanager
async def namespace(require: Callable[[str], None]) -> AsyncGenerator[tuple[NamespaceHelper, int]]:
    """Give a helper, and a network namespace that isn't the host's."""
    require("bwrap")
    with trio.fail_after(30):
        async with Spawner() as spawner, await spawner.spawn(HOLD, env={}) as child:
            await child.stdout.receive_some(10)
            inside = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()[0]
            network = os.open(f"/proc/{inside}/ns/net", os.O_RDONLY)
            try:
                async with open_namespace_helper(spawner) as helper:
                    yield helper, network
            finally:
                os.close(network)


async def _talk(helper: NamespaceHelper, network: int, port: int) -> None:
    with await helper.listen(network, port) as listening:
        assert not listening.getblocking()
        with await helper.connect(network, port) as connected:
            await trio.lowlevel.wait_readable(listening)
            accepted, _ = listening.accept()
            with accepted:
                connected.send(b"hello")
                await trio.lowlevel.wait_readable(accepted)
                assert accepted.recv(10) == b"hello"


async def test_it_listens_and_connects_inside(require: Callable[[str], None]) -> None:
    async with namespace(require) as (helper, network):
        await _talk(helper, network, 3128)
        with (
            await helper.listen(network, 3128),
            pytest.raises(OSError, match="in use") as raised,
        ):
            await helper.listen(network, 3128)
        assert raised.value.errno == errno.EADDRINUSE
        with pytest.raises(ConnectionRefusedError):
            await helper.connect(network, 3129)
        # The host's own loopback has none of it.
        with socket.socket() as outside, pytest.raises(ConnectionRefusedError):
            outside.connect(("127.0.0.1", 3128))


async def test_it_is_started_anew_where_it_was_killed(require: Callable[[str], None]) -> None:
    async with namespace(require) as (helper, network):
        await _talk(helper, network, 3128)
        first = helper.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: not is_alive(first))
        await _talk(helper, network, 3128)
        assert helper.pid not in {None, first}


async def test_many_requests_at_once_are_each_answered(require: Callable[[str], None]) -> None:
    async with namespace(require) as (helper, network):
        async with trio.open_nursery() as nursery:
            for port in range(10_000, 10_040):
                nursery.start_soon(_talk, helper, network, port)


async def test_a_cancelled_request_leaves_nothing_and_the_next_one_works(
    require: Callable[[str], None],
) -> None:
    async with namespace(require) as (helper, network):
        await _talk(helper, network, 3128)
        before = descriptors()
        for _ in range(20):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(helper.connect, network, 3129)
                    await trio.testing.wait_all_tasks_blocked()
                    scope.cancel()
        assert descriptors() == before
        await _talk(helper, network, 3128)
        pid = helper.pid
    assert pid is not None
    assert not is_alive(pid)


async def test_what_is_no_namespace_is_an_error_and_no_more(
    require: Callable[[str], None],
) -> None:
    async with namespace(require) as (helper, network):
        descriptor = os.open("/dev/null", os.O_RDONLY)
        try:
            with pytest.raises(OSError, match="Inappropriate ioctl"):
                await helper.listen(descriptor, 3128)
        finally:
            os.close(descriptor)
        await _talk(helper, network, 3128)


async def test_no_process_is_left(require: Callable[[str], None]) -> None:
    before = children()
    async with namespace(require) as (helper, network):
        await _talk(helper, network, 3128)
    assert children() == before


def test_the_program_ends_when_its_host_does() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(PROGRAM)], stdin=theirs.fileno()
        )
    ours.send(b"nonsense without descriptors")
    ours.close()
    assert process.wait(timeout=10) == 0
