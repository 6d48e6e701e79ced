"""A change of the plugins folder is taken up by itself, once it has settled."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio

from sigil_actors import PluginNotFoundError, RuntimeSettings
from sigil_actors.runtime import runtime as runtime_module
from sigil_actors.runtime.events import EventKind
from sigil_actors.runtime.folder_watch import FolderWatch
from sigil_actors.runtime.rescan import Rescan, RescanResult
from tests.runtime.folder_world import (
    break_plugin,
    next_event,
    open_folder_world,
    remove_plugin,
    until,
    write_plugin,
)

WATCHING = RuntimeSettings(watch_interval_s=0.02)
NOT_HOT = ["lifecycle: {hot_reload: false}"]


async def test_what_is_new_changed_or_gone_is_taken_up(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path, settings=WATCHING) as world:
        async with world.runtime.events() as stream:
            write_plugin(tmp_path, "alpha", "two")
            await next_event(stream, EventKind.SWAPPED, "alpha")
            assert await world.ask("alpha") == "two"
            write_plugin(tmp_path, "beta")
            await next_event(stream, EventKind.ADDED, "beta")
            await world.running("beta")
            remove_plugin(tmp_path, "alpha")
            await next_event(stream, EventKind.REMOVED, "alpha")
        with pytest.raises(PluginNotFoundError):
            world.runtime.get("alpha")
        assert world.runtime.get("beta").generation == 1


async def test_a_plugins_folder_that_comes_later_is_found(tmp_path: Path) -> None:
    plugins = tmp_path / "plugins"
    async with (
        open_folder_world(plugins, settings=WATCHING) as world,
        world.runtime.events() as stream,
    ):
        write_plugin(plugins, "alpha")
        await next_event(stream, EventKind.ADDED, "alpha")


async def test_a_bad_manifest_changes_nothing_until_it_is_mended(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "beta")
    async with (
        open_folder_world(tmp_path, settings=WATCHING) as world,
        world.runtime.events() as stream,
    ):
        break_plugin(tmp_path, "alpha")
        write_plugin(tmp_path, "beta", "two")
        await next_event(stream, EventKind.SWAPPED, "beta")
        assert await world.ask("alpha") == "one"
        write_plugin(tmp_path, "alpha", "two")
        await next_event(stream, EventKind.SWAPPED, "alpha")
        assert await world.ask("alpha") == "two"


async def test_a_plugin_that_takes_no_changes_while_it_runs_is_left_alone(tmp_path: Path) -> None:
    write_plugin(tmp_path, "cold", lines=NOT_HOT)
    write_plugin(tmp_path, "old", lines=NOT_HOT)
    write_plugin(tmp_path, "warm")
    async with (
        open_folder_world(tmp_path, settings=WATCHING) as world,
        world.runtime.events() as stream,
    ):
        write_plugin(tmp_path, "cold", "two", lines=NOT_HOT)
        remove_plugin(tmp_path, "old")
        await until_looked_at(world.runtime, tmp_path)
        write_plugin(tmp_path, "warm", "two")
        await next_event(stream, EventKind.SWAPPED, "warm")
        assert await world.ask("cold") == "one"
        assert await world.ask("old") == "one"


async def until_looked_at(runtime: runtime_module.Runtime, plugins: Path) -> None:
    """Wait until the watch has seen all that has happened until now."""
    write_plugin(plugins, "marker")
    await until(lambda: any(one.name == "marker" for one in runtime.list()), runtime)


async def test_where_it_isnt_asked_for_nothing_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def look(_watch: FolderWatch) -> None:
        raise AssertionError("the folder is looked at")

    monkeypatch.setattr(FolderWatch, "look", look)
    monkeypatch.setattr(FolderWatch, "wait_changed", look)
    write_plugin(tmp_path, "alpha")
    settings = RuntimeSettings(watch_plugins=False, watch_interval_s=0.001)
    async with open_folder_world(tmp_path, settings=settings) as world:
        write_plugin(tmp_path, "alpha", "two")
        assert await world.ask("alpha") == "one"
        assert (await world.rescan()).keys() == {"alpha"}


async def test_a_change_between_the_discovery_and_the_first_look_is_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens while the runtime starts is either found or reported."""
    look = FolderWatch.look

    async def look_and_be_overtaken(watch: FolderWatch) -> None:
        await look(watch)
        write_plugin(tmp_path, "alpha", "two")

    monkeypatch.setattr(FolderWatch, "look", look_and_be_overtaken)
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path, settings=WATCHING) as world:
        assert await world.ask("alpha") == "two"


class HandWatch(FolderWatch):
    """A watch whose looks a test makes up."""

    def __init__(self, *_arguments: object, **_more: object) -> None:
        self.seen: dict[str, bytes] = {}
        super().__init__(Path("/nowhere"), interval_s=0.01, files_max=1, look=self._see)

    async def _see(self) -> Mapping[str, bytes]:
        await trio.lowlevel.checkpoint()
        return dict(self.seen)


async def test_what_is_still_being_written_is_not_taken_up_with_what_has_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = HandWatch()
    monkeypatch.setattr(runtime_module, "FolderWatch", lambda *_a, **_k: watch)
    write_plugin(tmp_path, "alpha")
    write_plugin(tmp_path, "beta")
    async with (
        open_folder_world(tmp_path, settings=WATCHING) as world,
        world.runtime.events() as stream,
    ):
        write_plugin(tmp_path, "alpha", "two")
        write_plugin(tmp_path, "beta", "half of tw")
        watch.seen["alpha"] = b"two"
        await next_event(stream, EventKind.SWAPPED, "alpha")
        rescan: Rescan = vars(world.runtime)["_rescan"]
        await rescan.run(changed=())  # looks at nothing, after the one that is under way
        write_plugin(tmp_path, "beta", "two")
        watch.seen["beta"] = b"two"
        await next_event(stream, EventKind.SWAPPED, "beta")
        assert world.tier.started("beta") == ["one", "two"]


@pytest.mark.parametrize("changed", [{"alpha"}, {"alpha", "beta"}])
async def test_a_rescan_of_what_has_changed_leaves_the_others(
    tmp_path: Path, changed: set[str]
) -> None:
    for name in ("alpha", "beta", "gone"):
        write_plugin(tmp_path, name)
    async with open_folder_world(tmp_path) as world:
        write_plugin(tmp_path, "alpha", "two")
        write_plugin(tmp_path, "beta", "two")
        write_plugin(tmp_path, "new")
        remove_plugin(tmp_path, "gone")
        rescan: Rescan = vars(world.runtime)["_rescan"]
        results: tuple[RescanResult, ...] = await rescan.run(changed=changed)
        assert {(one.plugin, str(one.what)) for one in results} == {
            (name, "reloaded") for name in changed
        }
        assert await world.ask("gone") == "one"


async def test_what_was_refused_is_taken_up_when_what_it_needs_has_come(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha", lines=['dependencies: {base: ">= 1.0.0"}'])
    async with (
        open_folder_world(tmp_path, settings=WATCHING) as world,
        world.runtime.events() as stream,
    ):
        assert [problem.plugin for problem in world.runtime.problems] == ["alpha"]
        write_plugin(tmp_path, "base")
        names = {(await next_event(stream, EventKind.ADDED)).plugin for _ in range(2)}
        assert names == {"alpha", "base"}
        await world.running("alpha")


async def test_what_was_changed_while_it_was_refused_is_taken_up_later(tmp_path: Path) -> None:
    write_plugin(tmp_path, "alpha")
    async with open_folder_world(tmp_path) as world:
        rescan: Rescan = vars(world.runtime)["_rescan"]
        write_plugin(tmp_path, "alpha", "two", folder="copy")
        write_plugin(tmp_path, "alpha", "three")
        results = await rescan.run(changed={"alpha", "copy"})
        assert [(one.plugin, str(one.what)) for one in results] == [("alpha", "failed")] * 2
        (tmp_path / "copy" / "plugin.yaml").unlink()
        (result,) = await rescan.run(changed={"copy"})
        assert (result.plugin, str(result.what)) == ("alpha", "reloaded")
        assert await world.ask("alpha") == "three"
