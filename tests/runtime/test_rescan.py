"""A look into the plugins folder while the runtime runs: what is new, changed, gone or bad."""

import os
from pathlib import Path

import pytest
import trio

from sigil_actors import (
    MemoryAuditStore,
    PluginNotFoundError,
    PluginState,
    PluginUnavailableError,
    RuntimeSettings,
    open_runtime,
)
from sigil_actors.runtime.discovery import Found, read_plugin
from sigil_actors.runtime.events import EventKind
from sigil_actors.runtime.rescan import RescanWord
from sigil_actors.testing import FakePlugin
from sigil_actors.testing.faults import Fail
from tests.runtime.folder_world import (
    BOUND_S,
    FolderTier,
    FolderWorld,
    break_plugin,
    next_event,
    open_folder_world,
    remove_plugin,
    until,
    write_plugin,
)

QUICK_RESTART = "lifecycle: {restart: {max_restarts: 1, backoff: 1ms, backoff_max: 1ms}}"


async def test_a_plugin_that_is_new_is_started(tmp_path: Path) -> None:
    async with open_folder_world(tmp_path / "plugins") as world:
        assert world.runtime.list() == ()
        write_plugin(tmp_path / "plugins", "alpha")
        async with world.runtime.events() as stream:
            assert await world.rescan() == {"alpha": RescanWord.ADDED}
            added = await next_event(stream, EventKind.ADDED)
        assert (added.plugin, added.reason) == ("alpha", "version 1.0.0")
        await world.running("alpha")
        assert await world.ask("alpha") == "one"


async def test_a_plugin_whose_manifest_changed_is_reloaded(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha", version="1.1.0")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        status = world.runtime.get("alpha")
        assert (status.version, status.generation) == ("1.1.0", 2)


async def test_a_plugin_of_which_only_another_file_changed_is_reloaded(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        (folder / "code").write_text("two")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.ask("alpha") == "two"


async def test_a_file_that_was_touched_or_written_with_the_same_text_is_no_change(
    tmp_path: Path,
) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha")
        os.utime(folder / "code", (0, 0))
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}
        assert world.runtime.get("alpha").generation == 1


async def test_those_that_are_unchanged_go_on_untouched(tmp_path: Path) -> None:
    for name in ("alpha", "beta", "gamma"):
        write_plugin(tmp_path, name)
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "beta", "two")
        assert await world.rescan() == {
            "alpha": RescanWord.UNCHANGED,
            "beta": RescanWord.RELOADED,
            "gamma": RescanWord.UNCHANGED,
        }
        assert {one.name: one.generation for one in world.runtime.list()} == {
            "alpha": 1,
            "beta": 2,
            "gamma": 1,
        }
        assert len(world.tier.ran) == 4


async def test_a_plugin_whose_folder_is_gone_finishes_its_calls_and_is_forgotten(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world, trio.open_nursery() as nursery:
        answers: list[str] = []

        async def call() -> None:
            answers.append(await world.ask("alpha", "slow"))

        async def rescan() -> None:
            assert await world.rescan() == {"alpha": RescanWord.REMOVED}
            assert answers == ["one"]

        nursery.start_soon(call)
        await world.tier.inside.wait()
        remove_plugin(tmp_path, "alpha")
        async with world.runtime.events() as stream:
            nursery.start_soon(rescan)
            await until(
                lambda: world.runtime.get("alpha").state is PluginState.DRAINING, world.runtime
            )
            with pytest.raises(PluginUnavailableError, match="draining"):
                await world.ask("alpha")
            world.tier.release.set()
            await next_event(stream, EventKind.REMOVED, "alpha")
        with pytest.raises(PluginNotFoundError):
            await world.ask("alpha")
        with pytest.raises(PluginNotFoundError):
            world.runtime.get("alpha")
        assert world.runtime.tree().find("alpha") is None


async def test_a_plugin_that_comes_back_starts_anew(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        remove_plugin(tmp_path, "alpha")
        await world.rescan()
        write_plugin(tmp_path, "alpha", "two")
        assert await world.rescan() == {"alpha": RescanWord.ADDED}
        await world.running("alpha")
        assert await world.ask("alpha") == "two"
        assert world.runtime.get("alpha").generation == 1


async def test_a_plugin_whose_manifest_becomes_bad_goes_on_running(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        break_plugin(tmp_path, "alpha")
        async with world.runtime.events() as stream:
            assert await world.rescan() == {"alpha": RescanWord.FAILED}
            await world.rescan()
            # Told once, however often it is looked at.
            await next_event(stream, EventKind.RELOAD_FAILED, "alpha")
            with trio.move_on_after(0):
                assert await anext(stream) is None
        assert "plugin.yaml" in world.runtime.get("alpha").reload_failed
        assert await world.ask("alpha") == "one"
        assert world.runtime.get("alpha").generation == 1
        (problem,) = world.runtime.problems
        assert problem.file == str(tmp_path / "alpha" / "plugin.yaml")
        write_plugin(tmp_path, "alpha", "two")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert world.runtime.problems == ()


async def test_a_bad_manifest_in_a_folder_of_strange_letters_leaves_the_plugin(
    tmp_path: Path,
) -> None:
    plugins = tmp_path / "plug\nins"
    write_plugin(plugins, "alpha")
    async with open_folder_world(plugins) as world:
        break_plugin(plugins, "alpha")
        await world.rescan()
        assert await world.ask("alpha") == "one"


async def test_a_bad_neighbour_with_a_longer_name_keeps_no_plugin_that_is_gone(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "alpha-two")
    async with open_folder_world(tmp_path) as world:
        remove_plugin(tmp_path, "alpha")
        break_plugin(tmp_path, "alpha-two")
        assert await world.rescan() == {
            "alpha": RescanWord.REMOVED,
            "alpha-two": RescanWord.FAILED,
        }
        assert await world.ask("alpha-two") == "one"


async def test_of_two_folders_with_one_name_neither_is_taken_and_the_running_one_goes_on(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha", "two", folder="copy")
        write_plugin(tmp_path, "alpha", "three")
        assert await world.rescan() == {"alpha": RescanWord.FAILED}
        assert await world.ask("alpha") == "one"
        assert {problem.plugin for problem in world.runtime.problems} == {"alpha"}
        assert len(world.runtime.problems) == 2
        remove_plugin(tmp_path, "copy")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.ask("alpha") == "three"


async def test_a_plugin_that_moved_to_two_folders_goes_on_until_one_of_them_is_gone(
    tmp_path: Path,
) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        folder.rename(tmp_path / "left")
        write_plugin(tmp_path, "alpha", "two", folder="right")
        assert await world.rescan() == {"alpha": RescanWord.FAILED}
        assert await world.ask("alpha") == "one"
        remove_plugin(tmp_path, "left")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.ask("alpha") == "two"


async def test_a_plugin_whose_folder_was_renamed_is_taken_up_from_there(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        folder.rename(tmp_path / "elsewhere")
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}
        write_plugin(tmp_path, "alpha", "two", folder="elsewhere")
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "two"


async def test_a_folder_whose_plugin_has_another_name_now_is_another_plugin(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha", folder="folder")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "beta", "two", folder="folder")
        assert await world.rescan() == {"alpha": RescanWord.REMOVED, "beta": RescanWord.ADDED}
        await world.running("beta")
        assert await world.ask("beta") == "two"


async def test_a_version_that_doesnt_come_up_leaves_the_one_that_runs(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    tier = FolderTier()
    tier.behaviour["bad"] = FakePlugin(on_start={2: Fail("no such module")})
    async with open_folder_world(tmp_path, tier=tier) as world:
        write_plugin(tmp_path, "alpha", "bad")
        (result,) = await world.results()
        assert result.what is RescanWord.FAILED
        assert "no such module" in result.reason
        assert await world.ask("alpha") == "one"
        assert "no such module" in world.runtime.get("alpha").reload_failed


async def test_a_plugin_that_was_stopped_stays_so_and_the_next_start_takes_what_is_there(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        await world.runtime.stop("alpha")
        write_plugin(tmp_path, "alpha", "two", version="2.0.0")
        assert await world.rescan() == {"alpha": RescanWord.SKIPPED}
        assert world.runtime.get("alpha").state is PluginState.STOPPED
        assert world.runtime.get("alpha").version == "2.0.0"
        await world.runtime.start("alpha")
        assert await world.ask("alpha") == "two"


async def quarantined(world: FolderWorld, name: str) -> None:
    with trio.fail_after(BOUND_S):
        async with world.runtime.events() as stream:
            while not world.runtime.get(name).quarantined:
                await anext(stream)


async def test_a_plugin_in_quarantine_is_started_by_a_new_version_only(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha", "bad", lines=[QUICK_RESTART])
    tier = FolderTier()
    tier.behaviour["bad"] = FakePlugin(failing_starts=1000)
    async with open_folder_world(tmp_path, tier=tier, wait=False) as world:
        await quarantined(world, "alpha")
        starts = tier.starts["alpha"]
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}
        assert tier.starts["alpha"] == starts
        write_plugin(tmp_path, "alpha", "good", lines=[QUICK_RESTART])
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.ask("alpha") == "good"
        assert not world.runtime.get("alpha").quarantined


async def test_hot_reload_false_doesnt_keep_a_rescan_that_was_asked_for(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha", lines=["lifecycle: {hot_reload: false}"])
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha", "two", lines=["lifecycle: {hot_reload: false}"])
        assert await world.rescan() == {"alpha": RescanWord.RELOADED}
        assert await world.ask("alpha") == "two"


async def test_a_plugin_given_in_code_is_not_touched_by_one_of_its_name_in_the_folder(
    tmp_path: Path,
) -> None:
    outside = write_plugin(tmp_path / "outside", "alpha")
    found = read_plugin(outside)
    assert isinstance(found, Found)
    for given in (found, (found.manifest, outside)):
        plugins = tmp_path / type(given).__name__
        tier = FolderTier()
        async with open_runtime(
            plugins,
            audit_store=MemoryAuditStore(),
            manifests=[given],
            tiers=[tier],
            settings=RuntimeSettings(watch_plugins=False),
        ) as runtime:
            world = FolderWorld(runtime, tier, MemoryAuditStore())
            await world.running("alpha")
            assert await world.rescan() == {}
            write_plugin(plugins, "alpha", "two")
            assert await world.rescan() == {"alpha": RescanWord.SKIPPED}
            assert await world.ask("alpha") == "one"
            remove_plugin(plugins, "alpha")
            assert await world.rescan() == {}
            assert await world.ask("alpha") == "one"


async def test_a_plugins_folder_that_is_gone_is_no_reason_to_stop_what_runs(
    tmp_path: Path,
) -> None:
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "alpha")
    async with open_folder_world(plugins) as world:
        plugins.rename(tmp_path / "elsewhere")
        (result,) = await world.results()
        assert (str(result.what), result.reason) == ("failed", "the plugins folder isn't there")
        assert await world.ask("alpha") == "one"
        (tmp_path / "elsewhere").rename(plugins)
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}


async def test_a_plugin_that_drains_for_long_holds_up_no_other_one(tmp_path: Path) -> None:
    write_plugin(tmp_path, "slow")
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world, trio.open_nursery() as nursery:
        gate = world.runtime._plugins.get("slow")._roles
        assert gate.current is not None
        with gate.current.gate.lease():
            remove_plugin(tmp_path, "slow")
            nursery.start_soon(world.results)
            await until(lambda: world.runtime.get("slow").state == "draining", world.runtime)
            write_plugin(tmp_path, "alpha", "two")
            async with world.runtime.events() as stream:
                nursery.start_soon(world.results)
                await next_event(stream, EventKind.SWAPPED, "alpha")
        await until(lambda: world.runtime._plugins.find("slow") is None, world.runtime)


async def test_what_somebody_stopped_stays_so_though_its_folder_goes_and_comes(
    tmp_path: Path,
) -> None:
    folder = write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        await world.runtime.stop("alpha")
        folder.rename(tmp_path / ".away")
        assert await world.rescan() == {"alpha": RescanWord.REMOVED}
        (tmp_path / ".away").rename(folder)
        assert await world.rescan() == {"alpha": RescanWord.SKIPPED}
        assert world.runtime.get("alpha").generation == 0
        await world.runtime.start("alpha")
        assert await world.ask("alpha") == "one"


async def test_a_plugins_folder_that_cant_be_read_says_nothing_of_what_runs(
    tmp_path: Path,
) -> None:
    plugins = tmp_path / "plugins"
    write_plugin(plugins, "alpha")
    async with open_folder_world(plugins) as world:
        plugins.rename(tmp_path / "elsewhere")
        plugins.write_text("no folder, which nobody can list")
        assert await world.rescan() == {"plugins": RescanWord.FAILED}
        assert await world.ask("alpha") == "one"
        (problem,) = world.runtime.problems
        assert problem.file == str(plugins)
        plugins.unlink()
        (tmp_path / "elsewhere").rename(plugins)
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}


async def test_a_new_plugin_and_the_new_version_that_depends_on_it_come_together(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "base")
        write_plugin(tmp_path, "alpha", "two", lines=['dependencies: {base: ">= 1.0.0"}'])
        assert await world.rescan() == {"alpha": RescanWord.RELOADED, "base": RescanWord.ADDED}
        assert await world.ask("alpha") == "two"


async def test_a_plugin_that_another_depends_on_is_removed_after_that_one(tmp_path: Path) -> None:
    write_plugin(tmp_path, "base")
    write_plugin(tmp_path, "alpha", lines=['dependencies: {base: ">= 1.0.0"}'])
    async with open_folder_world(tmp_path) as world, trio.open_nursery() as nursery:
        nursery.start_soon(world.ask, "alpha", "slow")
        await world.tier.inside.wait()
        remove_plugin(tmp_path, "alpha")
        remove_plugin(tmp_path, "base")
        nursery.start_soon(world.rescan)
        await until(lambda: world.runtime.get("alpha").state is PluginState.DRAINING, world.runtime)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert await world.ask("base") == "one"
        async with world.runtime.events() as stream:
            world.tier.release.set()
            gone = [(await next_event(stream, EventKind.REMOVED)).plugin for _ in range(2)]
        assert gone == ["alpha", "base"]


async def test_a_plugin_whose_dependency_is_gone_goes_on_and_is_said_to_miss_it(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "base")
    write_plugin(tmp_path, "alpha", lines=['dependencies: {base: ">= 1.0.0"}'])
    async with open_folder_world(tmp_path) as world:
        remove_plugin(tmp_path, "base")
        assert await world.rescan() == {"alpha": RescanWord.FAILED, "base": RescanWord.REMOVED}
        assert await world.ask("alpha") == "one"
        assert [problem.plugin for problem in world.runtime.problems] == ["alpha"]


async def test_a_plugin_that_waits_for_another_is_unchanged_where_its_folder_is(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "base", "bad", lines=[QUICK_RESTART])
    write_plugin(tmp_path, "alpha", lines=['dependencies: {base: ">= 1.0.0"}'])
    tier = FolderTier()
    tier.behaviour["bad"] = FakePlugin(failing_starts=1000)
    async with open_folder_world(tmp_path, tier=tier, wait=False) as world:
        await quarantined(world, "base")
        assert await world.rescan() == {
            "alpha": RescanWord.UNCHANGED,
            "base": RescanWord.UNCHANGED,
        }
        write_plugin(tmp_path, "base", "good", lines=[QUICK_RESTART])
        assert (await world.rescan())["base"] is RescanWord.RELOADED
        await world.running("alpha")


async def test_rescans_at_the_same_time_do_everything_once(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "gone")
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha", "two")
        write_plugin(tmp_path, "new")
        remove_plugin(tmp_path, "gone")
        seen: list[dict[str, RescanWord]] = []

        async def rescan() -> None:
            seen.append(await world.rescan())

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(rescan)
        await world.running("new")
        assert [one["alpha"] for one in seen].count(RescanWord.RELOADED) == 1
        assert [one["new"] for one in seen].count(RescanWord.ADDED) == 1
        assert sorted(world.tier.ran) == [
            ("alpha", 1, "one"),
            ("alpha", 2, "two"),
            ("gone", 1, "one"),
            ("new", 1, "one"),
        ]


async def test_a_rescan_while_the_runtime_is_left_starts_nothing_and_holds_nothing_up(
    tmp_path: Path,
) -> None:
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "beta")
    async with trio.open_nursery() as nursery:
        with trio.fail_after(BOUND_S):
            async with open_folder_world(tmp_path) as world:
                nursery.start_soon(world.ask, "alpha", "slow")
                await world.tier.inside.wait()
                write_plugin(tmp_path, "alpha", "two")
                write_plugin(tmp_path, "beta", "two")
                write_plugin(tmp_path, "new")

                async def rescan_late() -> None:
                    await until(
                        lambda: world.runtime.get("beta").state is PluginState.STOPPED,
                        world.runtime,
                    )
                    results = await world.rescan()
                    assert results["new"] is RescanWord.FAILED
                    assert results["alpha"] is RescanWord.FAILED
                    assert results["beta"] is not RescanWord.RELOADED
                    world.tier.release.set()

                nursery.start_soon(rescan_late)
        assert sorted(world.tier.ran) == [("alpha", 1, "one"), ("beta", 1, "one")]
        assert world.tier.open_sessions == []


async def test_a_start_while_the_runtime_is_left_starts_nothing(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "beta")
    async with trio.open_nursery() as nursery:
        async with open_folder_world(tmp_path) as world:
            nursery.start_soon(world.ask, "alpha", "slow")
            await world.tier.inside.wait()

            async def start_late() -> None:
                try:
                    await until(
                        lambda: world.runtime.get("beta").state is PluginState.STOPPED,
                        world.runtime,
                    )
                    with pytest.raises(PluginUnavailableError):
                        await world.runtime.start("beta")
                finally:
                    world.tier.release.set()

            nursery.start_soon(start_late)


async def test_a_plugin_of_a_tier_that_the_application_brings_is_found(tmp_path: Path) -> None:
    folder = write_plugin(tmp_path, "alpha")
    manifest = (folder / "plugin.yaml").read_text().replace("tier: wasm", "tier: vm, speed: 1")
    (folder / "plugin.yaml").write_text(manifest)
    async with open_folder_world(tmp_path, tier=FolderTier(kind="vm")) as world:
        assert await world.ask("alpha") == "one"


async def test_a_rescan_after_the_runtime_has_ended_changes_nothing(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        pass
    write_plugin(tmp_path, "alpha", "two")
    write_plugin(tmp_path, "new")
    assert set((await world.rescan()).values()) == {RescanWord.FAILED}
    assert world.tier.started("alpha") == ["one"]
