"""What the tests of real sandboxes start from."""

import tempfile
from collections.abc import Callable, Iterator
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
def folders() -> Iterator[Folders]:
    # Not in pytest's own folder: only its user may pass that, and a plugin has a uid of its own.
    with tempfile.TemporaryDirectory(prefix="sigil-test-") as root:
        yield Folders.below(Path(root).resolve())
