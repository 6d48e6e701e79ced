"""Which files an instance runs from: those that were checked, and none are left behind."""

import tempfile
from pathlib import Path

import pytest
import trio

from sigil_actors import PluginCrashedError, PluginStartError, PluginState
from sigil_actors.runtime.events import EventKind
from sigil_actors.testing import FakePlugin
from tests.runtime.folder_world import (
    BOUND_S,
    FolderTier,
    FolderWorld,
    next_event,
    open_folder_world,
    remove_plugin,
    until,
    write_plugin,
)

QUICK = ["lifecycle: {restart: {backoff: 1ms, backoff_max: 1ms}}"]
DEPENDS = ['dependencies: {base: ">= 1.0.0"}']


def snapshots(state: Path) -> list[str]:
    folder = state / "snapshots"
    return sorted(path.name for path in folder.glob("[!.]*"))


async def test_a_restart_after_a_crash_runs_the_files_that_were_checked(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path, "alpha", lines=QUICK)
    async with open_folder_world(tmp_path) as world:
        (folder / "code").write_text("two")
        async with world.runtime.events() as stream:
            with pytest.raises(PluginCrashedError):
                await world.ask("alpha", "crash")
            await next_event(stream, EventKind.RESTART)
        await world.running("alpha")
        assert await world.ask("alpha") == "one"
        assert world.tier.folders[0] == world.tier.folders[1]
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "two"


async def test_a_restart_after_a_crash_needs_the_folder_no_more(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha", lines=QUICK)
    async with open_folder_world(tmp_path) as world:
        remove_plugin(tmp_path, "alpha")
        async with world.runtime.events() as stream:
            with pytest.raises(PluginCrashedError):
                await world.ask("alpha", "crash")
            await next_event(stream, EventKind.RESTART)
        await world.running("alpha")
        assert await world.ask("alpha") == "one"


async def test_a_restart_after_a_reload_that_failed_runs_the_old_files(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha", lines=QUICK)
    tier = FolderTier()
    tier.behaviour["bad"] = FakePlugin(failing_starts=1000)
    async with open_folder_world(tmp_path, tier=tier) as world:
        write_plugin(tmp_path, "alpha", "bad", lines=QUICK)
        with pytest.raises(PluginStartError):
            await world.runtime.reload("alpha")
        async with world.runtime.events() as stream:
            with pytest.raises(PluginCrashedError):
                await world.ask("alpha", "crash")
            await next_event(stream, EventKind.RESTART)
        await world.running("alpha")
        assert await world.ask("alpha") == "one"


async def test_a_start_after_a_stop_takes_the_files_as_they_are_now(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        await world.runtime.drain("alpha")
        write_plugin(tmp_path, "alpha", "two", version="1.1.0")
        await world.runtime.start("alpha")
        assert await world.ask("alpha") == "two"
        assert world.runtime.get("alpha").version == "1.1.0"


async def test_a_start_where_the_folder_has_become_bad_says_so_and_starts_nothing(
    tmp_path: Path,
) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        await world.runtime.stop("alpha")
        (folder / "plugin.yaml").unlink()
        with pytest.raises(PluginStartError, match="no manifest"):
            await world.runtime.start("alpha")
        assert world.runtime.get("alpha").state is PluginState.STOPPED


async def test_a_manifest_edited_between_its_check_and_its_start_is_not_run(
    tmp_path: Path,
) -> None:
    """The copy is made when the start is due; what was checked is what was found before that."""
    write_plugin(tmp_path, "base")
    write_plugin(tmp_path, "alpha", lines=[*QUICK, *DEPENDS])
    tier = FolderTier()
    tier.behaviour["one"] = FakePlugin(start_s=0.2)
    async with open_folder_world(tmp_path, tier=tier, wait=False) as world:
        write_plugin(tmp_path, "alpha", "two", version="1.1.0", lines=[*QUICK, *DEPENDS])
        await until(lambda: world.runtime.get("alpha").quarantined, world.runtime)
        assert tier.started("alpha") == []
        assert "another manifest" in world.runtime.get("alpha").reason
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "two"


async def test_the_copy_of_an_old_version_goes_when_its_last_call_has_ended(
    tmp_path: Path,
) -> None:
    plugins, state = tmp_path / "plugins", tmp_path / "state"
    write_plugin(plugins, "alpha")
    async with (
        open_folder_world(plugins, state_dir=state) as world,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(world.ask, "alpha", "slow")
        await world.tier.inside.wait()
        write_plugin(plugins, "alpha", "two")
        await world.runtime.reload("alpha")
        assert len(snapshots(state)) == 2
        world.tier.release.set()
        await kept_copies(world, state, 1)


async def kept_copies(world: FolderWorld, state: Path, count: int) -> None:
    """Wait until so many copies are there; they go just before their plugin's actor is told."""
    with trio.fail_after(BOUND_S):
        while len(snapshots(state)) != count:
            await world.changed("alpha")


async def test_many_reloads_leave_one_copy_and_the_end_none(tmp_path: Path) -> None:
    plugins, state = tmp_path / "plugins", tmp_path / "state"
    write_plugin(plugins, "alpha")
    async with open_folder_world(plugins, state_dir=state) as world:
        for number in range(20):
            write_plugin(plugins, "alpha", f"version {number}")
            await world.runtime.reload("alpha")
            assert await world.ask("alpha") == f"version {number}"
        await kept_copies(world, state, 1)
        assert world.runtime.get("alpha").generation == 21
        for _ in range(5):
            await world.rescan()
        await kept_copies(world, state, 1)
        await world.runtime.stop("alpha")
        assert snapshots(state) == []
        await world.runtime.start("alpha")
    assert snapshots(state) == []


async def test_without_a_state_folder_no_copy_is_left_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines = tmp_path / "tmp"
    machines.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(machines))
    write_plugin(tmp_path / "plugins", "alpha")
    async with open_folder_world(tmp_path / "plugins") as world:
        write_plugin(tmp_path / "plugins", "alpha", "two")
        await world.runtime.reload("alpha")
        assert machines in world.tier.folders[0].parents
    assert list(machines.iterdir()) == []


async def test_a_version_that_is_refused_leaves_no_copy(tmp_path: Path) -> None:
    plugins, state = tmp_path / "plugins", tmp_path / "state"
    write_plugin(plugins, "alpha")
    tier = FolderTier()
    tier.behaviour["bad"] = FakePlugin(failing_starts=1000)
    async with open_folder_world(plugins, tier=tier, state_dir=state) as world:
        write_plugin(plugins, "alpha", "bad")
        with pytest.raises(PluginStartError):
            await world.runtime.reload("alpha")
        write_plugin(plugins, "alpha", "wide", capabilities=["*"])
        with pytest.raises(PluginStartError, match="is held"):
            await world.runtime.reload("alpha")
        assert len(snapshots(state)) == 1
