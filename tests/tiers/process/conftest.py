"""What the tests of this folder share."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.tiers.process import workshop
from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking
from sigil_actors.tiers.process.spawner import Identity
from tests.go_programs import go_program
from tests.tiers.process.world import UIDS

__all__ = ["go_program"]


@pytest.fixture
def own_temporary_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Keep what tiers leave apart from what others do on this machine at the same time.

    Not below pytest's own folder, which is private and whose name is too long for sockets.
    """
    tmp_path_factory.getbasetemp()  # settled before the temporary folder is another one
    folder = Path(tempfile.mkdtemp(prefix="sigil-t-"))
    folder.chmod(0o755)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def probed(require: Callable[[str], None]) -> HostFacts:
    """Look at this machine, once for all tests."""
    require("bwrap")
    return probe_host_blocking(UIDS.tried_identity())


@pytest.fixture
def sandbox(probed: HostFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have tiers take the machine for what it was found to be."""

    async def probe_host(_identity: Identity | None) -> HostFacts:
        await trio.lowlevel.checkpoint()
        return probed

    monkeypatch.setattr(workshop, "probe_host", probe_host)
