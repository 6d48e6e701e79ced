"""The host connects to the plugin's own socket, and is led nowhere else."""

import os
import socket
from collections.abc import Generator
from pathlib import Path

import attrs
import pytest
import trio

from sigil_actors.core.calls import Usage
from sigil_actors.tiers.process.plugin_socket import PluginAddressError, dial
from sigil_actors.tiers.process.program import ProgramEnd
from tests.tiers.process.machine import descriptors


@attrs.define
class Program:
    """A `RunningProgram` as far as dialling looks at it."""

    socket_dir: Path
    socket_uid: int
    asked_for: int = 0
    pid: int = 0

    @property
    def stdout(self) -> trio.abc.ReceiveStream:
        """Return nothing."""
        raise AssertionError

    stderr = stdout

    async def connect_tcp(self, port: int) -> socket.socket:
        """Return some socket, or refuse."""
        await trio.lowlevel.checkpoint()
        self.asked_for = port
        if port == 1:
            raise ConnectionRefusedError(111, "Connection refused")
        return socket.socket()

    async def wait(self) -> ProgramEnd:
        """Return nothing."""
        raise AssertionError

    def terminate(self) -> None:
        """Do nothing."""

    def kill(self) -> None:
        """Do nothing."""

    def usage(self) -> Usage | None:
        """Tell nothing."""
        return None


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """Give a program whose folder exists."""
    folder = tmp_path / "sockets"
    folder.mkdir()
    return Program(folder, os.geteuid())


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Generator[None, None, None]:
    before = descriptors()
    yield
    assert descriptors() == before


def listening(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(1)
    return listener


@pytest.mark.parametrize("below", ["plugin1", "inner/plugin1"])
async def test_a_socket_in_the_folder_is_connected_to(program: Program, below: str) -> None:
    path = program.socket_dir / below
    path.parent.mkdir(exist_ok=True)
    with listening(path) as listener, await dial(program, "unix", str(path)) as connection:
        assert not connection.getblocking()
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"hello")
            await trio.lowlevel.wait_readable(connection)
            assert connection.recv(10) == b"hello"


@pytest.mark.parametrize(
    "address",
    [
        "{outside}/s",
        "{folder}/../outside/s",
        "{folder}",
        "{folder}/",
        "s",
        "",
        "/",
        "{folder}/../s",
    ],
)
async def test_an_address_outside_the_folder_is_refused(
    program: Program, tmp_path: Path, address: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    with listening(outside / "s"), pytest.raises(PluginAddressError, match="not in its socket"):
        await dial(program, "unix", address.format(folder=program.socket_dir, outside=outside))


async def test_no_link_is_followed_at_the_end_nor_on_the_way(
    program: Program, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (program.socket_dir / "link").symlink_to(outside / "s")
    (program.socket_dir / "way").symlink_to(outside)
    with listening(outside / "s"):
        for address, why in (("link", "is a link"), ("way/s", "a link is in the way")):
            with pytest.raises(PluginAddressError, match=why):
                await dial(program, "unix", str(program.socket_dir / address))


async def test_what_is_no_socket_or_not_the_plugins_is_refused(program: Program) -> None:
    (program.socket_dir / "file").touch()
    os.mkfifo(program.socket_dir / "pipe")
    for name in ("file", "pipe"):
        with pytest.raises(PluginAddressError, match="is no socket"):
            await dial(program, "unix", str(program.socket_dir / name))
    stranger = Program(program.socket_dir, os.geteuid() + 1)
    with listening(program.socket_dir / "s"), pytest.raises(PluginAddressError, match="belongs to"):
        await dial(stranger, "unix", str(program.socket_dir / "s"))
    with pytest.raises(PluginAddressError, match="No such file"):
        await dial(program, "unix", str(program.socket_dir / "nothing"))
    with pytest.raises(PluginAddressError, match="nobody listens"):
        await dial(program, "unix", str(program.socket_dir / "s"))


async def test_a_socket_that_takes_no_more_is_waited_for(program: Program) -> None:
    path = program.socket_dir / "s"
    with listening(path) as listener:
        waiting = [await dial(program, "unix", str(path)) for _ in range(2)]

        async def accept() -> None:
            await trio.sleep(0.02)
            waiting.append(listener.accept()[0])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(accept)
            waiting.append(await dial(program, "unix", str(path)))
        for connection in waiting:
            connection.close()


@pytest.mark.parametrize("address", ["127.0.0.1:1234", "localhost:1234", "[::1]:1234"])
async def test_a_loopback_port_is_reached_through_the_program(
    program: Program, address: str
) -> None:
    (await dial(program, "tcp", address)).close()
    assert program.asked_for == 1234


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1:80", "example.com:80", "127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1", ":1", "1:²"],
)
async def test_no_other_address_is(program: Program, address: str) -> None:
    with pytest.raises(PluginAddressError, match=r"is no host:port|not on the loopback"):
        await dial(program, "tcp", address)
    assert program.asked_for == 0


async def test_folders_in_folders_come_to_an_end(program: Program) -> None:
    with pytest.raises(PluginAddressError, match="folders deep"):
        await dial(program, "unix", f"{program.socket_dir}/{'d/' * 9}s")


async def test_refusals_say_why(program: Program) -> None:
    with pytest.raises(PluginAddressError, match=r"nobody listens .* refused"):
        await dial(program, "tcp", "127.0.0.1:1")
    with pytest.raises(PluginAddressError, match="neither unix nor tcp"):
        await dial(program, "udp", "127.0.0.1:1")
