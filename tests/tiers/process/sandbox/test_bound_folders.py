"""What a sandbox shows of the host's is what was named, though somebody swaps it meanwhile."""

import os

import attrs
import pytest

from sigil_actors.core.execution import FilesystemPolicy
from sigil_actors.core.host_facts import HostFacts
from sigil_actors.core.sandbox_plan import SandboxPlan
from sigil_actors.errors import PluginStartError
from sigil_actors.tiers.process.sandbox import launch
from tests.tiers.process.sandbox.sandboxes import (
    IDENTITY,
    Folders,
    answer_of,
    plan_of,
    running,
    shell,
)


def writing(facts: HostFacts, folders: Folders, script: str = "echo x > file") -> SandboxPlan:
    policy = FilesystemPolicy(write_allow=(str(folders.writable),))
    return plan_of(shell(f"cd {folders.writable} && {script}"), facts, folders, filesystem=policy)


async def test_a_write_folder_is_written_and_nothing_beside_it(
    facts: HostFacts, folders: Folders
) -> None:
    script = f"echo mine > file; echo x > {folders.plugin}/x; echo x > /usr/x; echo x > /x; true"
    await answer_of(writing(facts, folders, script), facts)
    assert (folders.writable / "file").read_text() == "mine\n"
    assert not list(folders.plugin.iterdir())


@pytest.mark.parametrize("by_descriptor", [True, False])
async def test_a_write_folder_that_became_a_link_is_refused(
    *, by_descriptor: bool, facts: HostFacts, folders: Folders
) -> None:
    facts = _binding(facts, by_descriptor=by_descriptor)
    plan = writing(facts, folders)
    target = folders.root / "elsewhere"
    target.mkdir()
    folders.writable.rmdir()
    folders.writable.symlink_to(target)
    with pytest.raises(PluginStartError, match="leads through a link"):
        await answer_of(plan, facts)
    assert not list(target.iterdir())


async def test_a_link_on_the_way_to_a_write_folder_is_refused(
    facts: HostFacts, folders: Folders
) -> None:
    (folders.writable / "real" / "inner").mkdir(parents=True)
    (folders.writable / "link").symlink_to("real")
    policy = FilesystemPolicy(write_allow=(str(folders.writable / "link" / "inner"),))
    plan = plan_of(shell("true"), facts, folders, filesystem=policy)
    with pytest.raises(PluginStartError, match="leads through a link"):
        await answer_of(plan, facts)


@pytest.mark.parametrize("by_descriptor", [True, False])
async def test_a_folder_that_is_swapped_during_the_launch_is_not_shown(
    *, by_descriptor: bool, facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = _binding(facts, by_descriptor=by_descriptor)
    if by_descriptor and facts.bubblewrap is not None and not facts.bubblewrap.binds_by_descriptor:
        pytest.skip("this bubblewrap takes paths only")
    plan = writing(facts, folders)
    secret = folders.root / "secret"
    secret.mkdir()
    if IDENTITY is not None:
        os.chown(secret, IDENTITY.uid, IDENTITY.gid)
    spawn = launch._spawn

    async def swap_and_spawn(*arguments):  # type: ignore[no-untyped-def]  # noqa: ANN002, ANN202
        folders.writable.rename(folders.root / "moved")
        secret.rename(folders.writable)
        return await spawn(*arguments)

    monkeypatch.setattr(launch, "_spawn", swap_and_spawn)
    if by_descriptor:
        await answer_of(plan, facts)
        assert (folders.root / "moved" / "file").exists()
    else:
        with pytest.raises(PluginStartError, match="became something else"):
            await answer_of(plan, facts)
        assert not (folders.root / "moved" / "file").exists()
    assert not list(folders.writable.iterdir())


async def test_a_bubblewrap_that_takes_paths_only_does_the_same(
    facts: HostFacts, folders: Folders
) -> None:
    facts = _binding(facts, by_descriptor=False)
    await answer_of(writing(facts, folders), facts)
    assert (folders.writable / "file").exists()


async def test_a_missing_write_folder_is_named_with_the_line_that_makes_it(
    facts: HostFacts, folders: Folders
) -> None:
    plan = writing(facts, folders)
    folders.writable.rmdir()
    with pytest.raises(PluginStartError, match=f"mkdir -p {folders.writable}"):
        await answer_of(plan, facts)


async def test_a_write_folder_that_is_a_file_is_refused(facts: HostFacts, folders: Folders) -> None:
    plan = writing(facts, folders)
    folders.writable.rmdir()
    folders.writable.write_text("")
    with pytest.raises(PluginStartError, match="is no folder"):
        await answer_of(plan, facts)


async def test_a_write_folder_of_somebody_else_is_named_with_its_chown_line(
    facts: HostFacts, folders: Folders
) -> None:
    if IDENTITY is None:
        pytest.skip("only a root host gives plugins a uid")
    os.chown(folders.writable, 0, 0)
    line = f"chown {IDENTITY.uid}:{IDENTITY.gid} {folders.writable}"
    with pytest.raises(PluginStartError, match=line):
        await answer_of(writing(facts, folders), facts)


async def test_a_folder_on_the_way_that_the_plugins_uid_may_not_pass_is_named(
    facts: HostFacts, folders: Folders
) -> None:
    if IDENTITY is None:
        pytest.skip("only a root host gives plugins a uid")
    folders.root.chmod(0o700)
    with pytest.raises(PluginStartError, match=f"chmod o\\+x {folders.root}"):
        await answer_of(writing(facts, folders), facts)


async def test_write_folders_that_hold_too_much_already_refuse_the_start(
    facts: HostFacts, folders: Folders
) -> None:
    (folders.writable / "inner").mkdir()
    (folders.writable / "inner" / "file").write_bytes(b"x" * (2 << 20))
    with pytest.raises(PluginStartError, match="hold more than 1048576 bytes"):
        async with running(writing(facts, folders), facts, write_bytes_max=1 << 20):
            pass


async def test_a_plugin_that_fills_its_write_folders_is_killed_and_its_end_says_so(
    facts: HostFacts, folders: Folders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sigil_actors.tiers.process.sandbox.write_bound.LOOK_EVERY_S", 0.01)
    script = "i=0; while :; do i=$((i+1)); head -c 500000 /dev/zero > file$i; done"
    plan = writing(facts, folders, script)
    async with running(plan, facts, write_bytes_max=2 << 20) as program:
        end = await program.wait()
    assert str(end) == "was killed, since its write folders hold more than 2097152 bytes"


def _binding(facts: HostFacts, *, by_descriptor: bool) -> HostFacts:
    assert facts.bubblewrap is not None
    if by_descriptor:
        return facts
    return attrs.evolve(facts, bubblewrap=attrs.evolve(facts.bubblewrap, binds_by_descriptor=False))
