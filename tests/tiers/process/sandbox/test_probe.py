"""What a machine has for sandboxes is found by trying it, and what it lacks is named."""

import os
import shutil
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.host_facts import Bubblewrap, CgroupVersion, HostFacts
from sigil_actors.tiers.process.sandbox import probe
from sigil_actors.tiers.process.sandbox.lacks import lacks
from sigil_actors.tiers.process.sandbox.probe import find_bubblewrap, probe_host
from tests.tiers.process.sandbox.sandboxes import IDENTITY


async def test_this_machine_can_make_a_sandbox(facts: HostFacts) -> None:
    found = await probe_host(IDENTITY)
    assert attrs.evolve(found, cgroups=None) == attrs.evolve(facts, cgroups=None)
    assert found.has_user_namespaces
    assert found.has_seccomp
    assert found.uid == os.geteuid()
    assert found.etc_entries["ld.so.cache"] == "/etc/ld.so.cache"
    assert not [lack for lack in lacks(found) if lack.is_needed]


def stand_in(folder: Path, *, version: str, status: int = 0, said: str = "") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "bwrap"
    program.write_text(
        f'#!/bin/sh\ncase "$1" in --version) echo bubblewrap {version};;'
        f" --help) echo {said!r};; *) exit {status};; esac\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def no_bubblewrap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "DISTRIBUTION_PATH", "/nowhere")
    monkeypatch.setattr(probe, "PYPI_PACKAGE", "no_such_package_of_bubblewrap")
    monkeypatch.setenv("PATH", "/nowhere")


async def test_a_machine_without_bubblewrap_lacks_it(no_bubblewrap: None) -> None:
    found = await probe_host()
    assert found.bubblewrap is None
    assert not found.has_user_namespaces
    assert "apt install bubblewrap" in lacks(found)[0].remedy


async def test_a_bubblewrap_that_can_make_no_namespaces_does_not_count(
    no_bubblewrap: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(stand_in(tmp_path, version="0.9.0", status=1).parent))
    found = await probe_host()
    assert found.bubblewrap is not None
    assert found.bubblewrap.version == (0, 9, 0)
    assert not found.has_user_namespaces
    assert [lack.name for lack in lacks(found) if lack.is_needed] == ["namespaces"]


async def test_one_that_is_too_old_is_not_even_tried(
    no_bubblewrap: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(stand_in(tmp_path, version="0.4.1").parent))
    found = await probe_host()
    assert not found.has_user_namespaces
    assert "0.8 or newer" in lacks(found)[0].remedy


def test_the_distributions_bubblewrap_comes_first_and_pypis_last(
    no_bubblewrap: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "site" / "bubblewrap_of_a_test"
    pypi = stand_in(package / "_bin", version="0.11", said="--bind-fd FD DEST")
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.setattr(probe, "PYPI_PACKAGE", "bubblewrap_of_a_test")
    assert find_bubblewrap() == Bubblewrap(
        path=str(pypi), version=(0, 11, 0), binds_by_descriptor=True
    )
    own = stand_in(tmp_path / "own", version="0.10.0")
    monkeypatch.setenv("PATH", str(own.parent))
    assert find_bubblewrap() == Bubblewrap(
        path=str(own), version=(0, 10, 0), binds_by_descriptor=False
    )
    distribution = stand_in(tmp_path / "distribution", version="0.8.0")
    monkeypatch.setattr(probe, "DISTRIBUTION_PATH", str(distribution.parent))
    found = find_bubblewrap()
    assert found is not None
    assert found.path == str(distribution)


def test_what_makes_a_sandbox_weaker_is_named_but_does_not_refuse_it(facts: HostFacts) -> None:
    poor = attrs.evolve(facts, cgroups=None, uid=1000)
    assert {lack.name: lack.is_needed for lack in lacks(poor)} == {"cgroups": False, "uids": False}
    if facts.cgroups is not None:
        assert facts.cgroups.version in CgroupVersion
        partly = attrs.evolve(facts.cgroups, controllers=frozenset({"memory", "pids"}))
        found = lacks(attrs.evolve(facts, cgroups=partly, uid=0))
        assert [lack.what for lack in found] == [
            "processor time isn't bounded: its controller isn't handed to this host"
        ]


def test_macos_is_told_apart(facts: HostFacts) -> None:
    assert [lack.is_needed for lack in lacks(attrs.evolve(facts, platform="darwin"))] == [True]
    assert shutil.which("sh")
