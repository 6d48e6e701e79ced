"""What the tests of real sandboxes start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sigil_actors.core.host_facts import HostFacts
from sigil_actors.tiers.process.sandbox.probe import probe_host_blocking
from tests.tiers.process.sandbox.sandboxes import IDENTITY, Folders


@pytest.fixture(scope="session")
def facts(require: Callable[[str], None]) -> HostFacts:
    require("bwrap")
    return probe_host_blocking(IDENTITY)


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders.below(tmp_path)
