"""What no rule covers can't be opened, even where a mount shows it: the second layer is real."""

import os
from pathlib import Path

import attrs
import pytest

from sigil_actors.core.execution import FilesystemPolicy
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_mounts import Bind
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.tiers.process.sandbox import launch
from sigil_actors.tiers.process.sandbox.confine.program import confined
from sigil_actors.tiers.process.static_programs import CONFINE, build
from tests.tiers.process.sandbox.sandboxes import Folders, answer_of, plan_of, shell

LEAK = "/leaked"


@pytest.fixture
def leaking(facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch) -> SandboxPlan:
    """As if the mounts had a bug: one shows a folder that the plan's rules don't know."""
    if facts.landlock_abi == 0:
        pytest.skip("this kernel has no Landlock")
    secret = folders.root / "secret"
    secret.mkdir()
    secret.chmod(0o755)
    (secret / "file").write_text("the secret")
    script = f"cat {LEAK}/file; echo done; : > /tmp/mine && echo mine; cat /usr/bin/env >&- || :"
    plan = confined(plan_of(shell(script), facts, folders), facts)
    monkeypatch.setattr(launch, "confined", lambda plan, _facts: plan)
    leak = Bind(source=str(secret), target=LEAK, why="a bug")
    return attrs.evolve(plan, mounts=(*plan.mounts[:-1], leak, plan.mounts[-1]))


async def test_a_folder_that_a_mount_leaks_cant_be_read(
    facts: HostFacts, leaking: SandboxPlan
) -> None:
    said, end = await answer_of(leaking, facts)
    assert "the secret" not in said
    assert said.splitlines() == ["done", "mine"]
    assert end.exit_status == 0


async def test_without_the_layer_it_could(facts: HostFacts, leaking: SandboxPlan) -> None:
    command = leaking.command[leaking.command.index("--") + 1 :]
    said, _ = await answer_of(attrs.evolve(leaking, command=command), facts)
    assert "the secret" in said


async def test_folders_on_the_way_to_what_is_shown_can_be_listed(
    facts: HostFacts, folders: Folders
) -> None:
    # An importer lists a folder before it looks into it. Below /tmp all can be listed anyway.
    if not Path("/var/lib/dpkg/info").is_dir():
        pytest.skip("no Debian: the test wants a folder that lies deep, not below /tmp")
    filesystem = FilesystemPolicy(read_allow=("/var/lib/dpkg/info",))
    script = "ls / | grep -c usr; ls /var; ls /var/lib; ls /var/lib/dpkg; ls /root || echo no"
    plan = plan_of(shell(script), facts, folders, filesystem=filesystem)
    said, end = await answer_of(plan, facts)
    assert said.splitlines() == ["1", "lib", "dpkg", "info", "no"]
    assert end.exit_status == 0


async def test_rules_that_cant_be_set_keep_the_program_from_running(
    facts: HostFacts, leaking: SandboxPlan
) -> None:
    broken = tuple(word.replace("read=", "rede=") for word in leaking.command)
    said, end = await answer_of(attrs.evolve(leaking, command=broken), facts)
    assert said == ""
    assert end.exit_status == 126


@pytest.mark.slow
@pytest.mark.skipif("CI" not in os.environ, reason="building takes half a minute; CI does it")
def test_a_rebuild_gives_the_committed_bytes(require: "object", tmp_path: Path) -> None:
    require("zig")  # type: ignore[operator] # the fixture of tests/conftest.py
    from sigil_actors.tiers.process.sandbox.confine import program

    built = build(CONFINE, "x86_64", tmp_path)
    assert built.read_bytes() == program._program("x86_64")
