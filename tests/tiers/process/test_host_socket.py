"""The host listens where the plugin reaches it, and can't be led to listen elsewhere."""

import os
import socket
import tempfile
from pathlib import Path

import pytest

from sigil_actors.tiers.process.host_socket import listen_at
from sigil_actors.tiers.process.socket_dir import open_socket_dirs
from sigil_actors.tiers.process.spawner import Identity, Spawner

PYTHON = "/usr/bin/python3"
CONNECT = "import socket, sys; socket.socket(socket.AF_UNIX).connect(sys.argv[1])"


@pytest.fixture(autouse=True)
def temporary(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the folders below one that others may pass through; pytest's own is private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


async def test_a_plugin_connects_to_the_path_that_it_is_told() -> None:
    async with open_socket_dirs() as dirs, dirs.open(None) as folder:
        listener, path = listen_at(folder, "s")
        with listener, socket.socket(socket.AF_UNIX) as plugin:
            plugin.connect(str(path))
            accepted, _ = listener.accept()
            accepted.close()


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path(PYTHON).exists(),
    reason="only root runs a plugin as somebody else, who can't run a Python below /root",
)
async def test_the_plugins_own_uid_reaches_it_and_no_other_does() -> None:
    identity = Identity(uid=54321, gid=54321)
    async with open_socket_dirs() as dirs, dirs.open(identity) as folder, Spawner() as spawner:
        listener, path = listen_at(folder, "s")
        ends = []
        with listener:
            for uid in (54321, 54322):
                argv = (PYTHON, "-I", "-S", "-c", CONNECT, str(path))
                async with await spawner.spawn(
                    argv, env={}, identity=Identity(uid=uid, gid=uid)
                ) as child:
                    ends.append((await child.wait()).exit_status)
        assert ends == [0, 1]


async def test_a_link_in_the_place_of_the_hosts_folder_leads_nowhere(tmp_path: Path) -> None:
    async with open_socket_dirs() as dirs, dirs.open(None) as folder:
        moved = folder.path / "moved"
        folder.host_path.rename(moved)
        folder.host_path.symlink_to(tmp_path)
        with listen_at(folder, "s")[0]:
            assert not list(tmp_path.iterdir())
            assert (moved / "s").is_socket()
