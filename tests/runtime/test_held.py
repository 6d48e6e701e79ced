"""A version that asks for more than the one before waits until somebody approves its very files."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self

import pytest
import trio

from sigil_actors import (
    AuditStore,
    AuditUnavailableError,
    PluginStartError,
    PluginUnavailableError,
    RuntimeSettings,
)
from sigil_actors.errors import ApprovalsUnavailableError, PluginHeldError
from sigil_actors.runtime.events import EventKind
from sigil_actors.runtime.rescan import RescanWord
from sigil_actors.runtime.status import HeldVersion
from sigil_actors.testing import FakePlugin, FaultyAuditStore
from tests.runtime.folder_world import (
    BOUND_S,
    FolderTier,
    FolderWorld,
    next_event,
    open_folder_world,
    until,
    write_plugin,
)

NARROW = ("tool.*",)
WIDE = ("tool.*", "kv.get")
WIDER = ("tool.*", "kv.*")


def write(plugins: Path, code: str, capabilities: Sequence[str] = NARROW) -> None:
    write_plugin(
        plugins,
        "alpha",
        code,
        version=f"1.0.{len(code)}",
        capabilities=capabilities,
        lines=["lifecycle: {restart: {max_restarts: 2, backoff: 1ms, backoff_max: 1ms}}"],
    )


async def held_by_reload(world: FolderWorld) -> PluginHeldError:
    with pytest.raises(PluginHeldError) as caught:
        await world.runtime.reload("alpha")
    return caught.value


def held(world: FolderWorld) -> HeldVersion:
    found = world.runtime.get("alpha").held
    assert found is not None
    return found


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """A plugins folder with one plugin."""
    write(tmp_path / "plugins", "old")
    return tmp_path / "plugins"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


async def test_a_wider_version_is_held_on_a_reload_and_the_old_one_goes_on(plugins: Path) -> None:
    async with open_folder_world(plugins) as world, world.runtime.events() as stream:
        write(plugins, "wide", WIDE)
        error = await held_by_reload(world)
        assert error.differences == ("capabilities: adds kv.get",)
        assert error.version == "1.0.4"
        assert "adds kv.get" in str(error)
        assert held(world) == HeldVersion(
            version="1.0.4",
            snapshot_sha256=error.snapshot_sha256,
            differences=error.differences,
        )
        event = await next_event(stream, EventKind.HELD)
        assert event.reason == "capabilities: adds kv.get"
        assert await world.ask("alpha") == "old"
        assert world.runtime.get("alpha").version == "1.0.3"
        assert world.tier.started("alpha") == ["old"]


async def test_a_wider_version_is_held_on_a_rescan_which_says_why(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        for _ in range(2):
            (result,) = await world.results()
            assert (result.what, result.reason) == (RescanWord.HELD, "capabilities: adds kv.get")
        assert await world.ask("alpha") == "old"


async def test_a_wider_version_is_held_by_the_watch(plugins: Path) -> None:
    settings = RuntimeSettings(watch_interval_s=0.02)
    async with (
        open_folder_world(plugins, settings=settings) as world,
        world.runtime.events() as stream,
    ):
        write(plugins, "wide", WIDE)
        await next_event(stream, EventKind.HELD, "alpha")
        assert await world.ask("alpha") == "old"
        assert held(world).version == "1.0.4"


async def test_a_wider_version_is_held_at_the_next_start_of_the_runtime(
    plugins: Path, state: Path
) -> None:
    async with open_folder_world(plugins, state_dir=state):
        pass
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        with pytest.raises(PluginUnavailableError, match="held") as unavailable:
            await world.running("alpha")
        assert unavailable.value.reason == "held"
        assert "kv.get" in unavailable.value.detail
        with pytest.raises(PluginUnavailableError, match="approve"):
            await world.ask("alpha")
        with pytest.raises(PluginHeldError):
            await world.runtime.start("alpha")
        assert held(world).differences == ("capabilities: adds kv.get",)
        assert world.tier.started("alpha") == []
        assert not world.runtime.get("alpha").quarantined


async def test_a_wider_version_is_held_at_a_start_after_a_stop(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        await world.runtime.stop("alpha")
        write(plugins, "wide", WIDE)
        assert await world.rescan() == {"alpha": RescanWord.HELD}
        with pytest.raises(PluginHeldError):
            await world.runtime.start("alpha")
        assert world.tier.started("alpha") == ["old"]


async def test_the_first_version_of_a_plugin_is_never_held(plugins: Path, state: Path) -> None:
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins, state_dir=state) as world:
        write_plugin(plugins, "beta", capabilities=["*"])
        assert (await world.rescan())["beta"] is RescanWord.ADDED
        await world.running("beta")


async def test_a_plugin_that_was_removed_and_comes_back_wider_is_held(plugins: Path) -> None:
    async with open_folder_world(plugins) as world, world.runtime.events() as stream:
        (plugins / "alpha").rename(plugins.parent / "elsewhere")
        assert await world.rescan() == {"alpha": RescanWord.REMOVED}
        write(plugins, "wide", WIDE)
        await world.rescan()
        await next_event(stream, EventKind.HELD, "alpha")
        assert world.tier.started("alpha") == ["old"]


async def test_what_is_approved_runs_at_once(plugins: Path) -> None:
    async with open_folder_world(plugins) as world, world.runtime.events() as stream:
        write(plugins, "wide", WIDE)
        error = await held_by_reload(world)
        await world.runtime.approve("alpha", error.snapshot_sha256)
        assert await world.ask("alpha") == "wide"
        assert world.runtime.get("alpha").held is None
        assert (await next_event(stream, EventKind.APPROVED)).reason == "version 1.0.4"
        await next_event(stream, EventKind.SWAPPED)


async def test_what_is_approved_without_a_hash_is_what_is_held(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "wide"


async def test_what_was_held_at_a_start_runs_when_it_is_approved(
    plugins: Path, state: Path
) -> None:
    async with open_folder_world(plugins, state_dir=state):
        pass
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        await until(lambda: world.runtime.get("alpha").held, world.runtime)
        await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "wide"


async def test_an_approval_outlasts_the_runtime(plugins: Path, state: Path) -> None:
    async with open_folder_world(plugins, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        await world.runtime.approve("alpha")
    async with open_folder_world(plugins, state_dir=state) as world:
        assert await world.ask("alpha") == "wide"
        write(plugins, "wider", WIDER)
        await held_by_reload(world)


async def test_an_approval_that_wasnt_followed_by_a_start_outlasts_the_runtime(
    plugins: Path, state: Path
) -> None:
    tier = FolderTier()
    tier.behaviour["wide"] = FakePlugin(failing_starts=2)
    async with open_folder_world(plugins, tier=tier, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        with pytest.raises(PluginStartError, match="fails to start"):
            await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "old"
    async with open_folder_world(plugins, state_dir=state) as world:
        assert await world.ask("alpha") == "wide"


async def test_without_a_state_folder_nothing_is_remembered(plugins: Path) -> None:
    async with open_folder_world(plugins):
        pass
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins) as world:
        assert await world.ask("alpha") == "wide"


async def test_a_folder_that_changed_since_it_was_held_is_held_again(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        first = await held_by_reload(world)
        write(plugins, "evil", WIDE)
        with pytest.raises(PluginHeldError) as caught:
            await world.runtime.approve("alpha", first.snapshot_sha256)
        assert caught.value.snapshot_sha256 != first.snapshot_sha256
        assert held(world).snapshot_sha256 == caught.value.snapshot_sha256
        assert await world.ask("alpha") == "old"
        with pytest.raises(PluginStartError, match="other files"):
            await world.runtime.approve("alpha", first.snapshot_sha256)
        # What was approved are the files that had been looked at, and these may still come back.
        write(plugins, "wide", WIDE)
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "wide"


@pytest.mark.parametrize("hash_", ["0" * 64, "", "no hash"])
async def test_another_hash_than_that_of_what_is_held_is_refused(plugins: Path, hash_: str) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        with pytest.raises(PluginStartError, match="other files of it are held"):
            await world.runtime.approve("alpha", hash_)
        await held_by_reload(world)
        assert not [one for one in world.store.entries if one.action == "plugin_approved"]


async def test_there_is_nothing_to_approve_where_nothing_is_held(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        with pytest.raises(PluginStartError, match="nothing of it is held"):
            await world.runtime.approve("alpha")
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        await world.runtime.approve("alpha")
        with pytest.raises(PluginStartError, match="nothing of it is held"):
            await world.runtime.approve("alpha")


async def test_an_approval_is_recorded_before_the_version_is(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        error = await held_by_reload(world)
        await world.runtime.approve("alpha")
        actions = [(one.action, one.result) for one in world.store.entries]
        (entry,) = [one for one in world.store.entries if one.action == "plugin_approved"]
        assert entry.plugin == "alpha"
        assert entry.details == {
            "version": "1.0.4",
            "snapshot_sha256": error.snapshot_sha256,
            "differences": ["capabilities: adds kv.get"],
        }
        registrations = [
            place for place, one in enumerate(actions) if one[0].endswith("registered")
        ]
        assert registrations[0] < actions.index(("plugin_approved", "approved"))
        assert actions.index(("plugin_approved", "approved")) < registrations[1]


class FillableStore(FaultyAuditStore):
    """An audit store that tells when it was opened again."""

    def __init__(self, store: AuditStore) -> None:
        super().__init__(store)
        self.opened = trio.Event()

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.opened.set()
        return self

    async def free_and_wait(self) -> None:
        self.free()
        self.opened = trio.Event()
        with trio.fail_after(BOUND_S):
            await self.opened.wait()


async def test_what_cant_be_recorded_isnt_approved(plugins: Path, state: Path) -> None:
    stores: list[FillableStore] = []

    def fillable(store: AuditStore) -> AuditStore:
        stores.append(FillableStore(store))
        return stores[0]

    async with open_folder_world(plugins, state_dir=state, audit_store=fillable) as world:
        audit = stores[0]
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        before = approvals(state)
        audit.fill()
        with pytest.raises(AuditUnavailableError):
            await world.runtime.approve("alpha")
        assert approvals(state) == before
        assert held(world).version == "1.0.4"
        await audit.free_and_wait()
        await held_by_reload(world)
        await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "wide"


def approvals(state: Path) -> object:
    return json.loads((state / "approvals" / "alpha.json").read_text())


async def test_a_cancelled_approval_is_whole_or_not_there(plugins: Path, state: Path) -> None:
    async with open_folder_world(plugins, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        before = approvals(state)
        with trio.CancelScope() as scope:
            scope.cancel()
            await world.runtime.approve("alpha")
        assert approvals(state) == before
        await held_by_reload(world)


def write_text(file: Path, text: str) -> None:
    file.write_text(text)


def link_away(file: Path) -> None:
    file.symlink_to(file.rename(file.with_name("other")))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "no JSON": lambda file: write_text(file, "{"),
    "empty": lambda file: write_text(file, ""),
    "not ours": lambda file: file.chmod(0o666),
    "a folder": lambda file: file.rename(file.with_name("other")).with_name(file.name).mkdir(),
    "a link": link_away,
    "another's": lambda file: write_text(file, file.read_text().replace('"alpha"', '"beta"')),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_where_it_cant_be_read_what_was_allowed_no_version_starts(
    plugins: Path, state: Path, damage: Callable[[Path], None]
) -> None:
    write_plugin(plugins, "beta")
    async with open_folder_world(plugins, state_dir=state) as world:
        damage(state / "approvals" / "alpha.json")
        write(plugins, "new")
        with pytest.raises(ApprovalsUnavailableError, match="alpha"):
            await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "old"
        assert "what plugin 'alpha' was allowed" in world.runtime.get("alpha").reload_failed
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        with pytest.raises(ApprovalsUnavailableError, match="what plugin 'alpha' was allowed"):
            await world.runtime.start("alpha")
        assert world.tier.started("alpha") == []
        await world.running("beta")


async def test_where_it_cant_be_written_what_was_allowed_no_version_starts(
    plugins: Path, state: Path
) -> None:
    state.mkdir()
    (state / "approvals").write_text("in the way")
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        with pytest.raises(ApprovalsUnavailableError, match="what plugin 'alpha' was allowed"):
            await world.runtime.start("alpha")
        with pytest.raises(PluginUnavailableError):
            await world.ask("alpha")


async def test_an_approval_that_cant_be_kept_lets_nothing_run(plugins: Path, state: Path) -> None:
    async with open_folder_world(plugins, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        (state / "approvals").chmod(0o777)
        with pytest.raises(ApprovalsUnavailableError):
            await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "old"
        (state / "approvals").chmod(0o700)
        await held_by_reload(world)


async def test_where_nothing_is_to_be_held_nothing_is(plugins: Path, state: Path) -> None:
    settings = RuntimeSettings(hold_widened_manifests=False, watch_plugins=False)
    async with open_folder_world(plugins, settings=settings, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "wide"
        assert not (state / "approvals").exists()


async def test_going_back_to_the_old_files_clears_the_hold(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        write(plugins, "old")
        assert await world.rescan() == {"alpha": RescanWord.UNCHANGED}
        assert world.runtime.get("alpha").held is None
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        write(plugins, "old")
        await world.runtime.reload("alpha")
        assert world.runtime.get("alpha").held is None


async def test_a_start_from_the_old_files_clears_the_hold(plugins: Path, state: Path) -> None:
    async with open_folder_world(plugins, state_dir=state) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        await world.runtime.stop("alpha")
        write(plugins, "old")
        await world.runtime.start("alpha")
        assert await world.ask("alpha") == "old"
        assert world.runtime.get("alpha").held is None


async def test_a_start_from_what_was_approved_clears_the_hold(plugins: Path, state: Path) -> None:
    async with open_folder_world(plugins, state_dir=state):
        pass
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        await until(lambda: world.runtime.get("alpha").held, world.runtime)
        await world.runtime.approve("alpha")
        assert await world.ask("alpha") == "wide"
        status = world.runtime.get("alpha")
        assert status.held is None
        assert (status.reason, status.reload_failed) == ("", "")


async def test_after_a_narrower_version_the_one_before_is_wider(plugins: Path) -> None:
    write(plugins, "wide", WIDE)
    async with open_folder_world(plugins) as world:
        write(plugins, "old")
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "old"
        write(plugins, "wide", WIDE)
        assert (await held_by_reload(world)).differences == ("capabilities: adds kv.get",)


async def test_what_was_approved_once_needs_no_second_approval(plugins: Path) -> None:
    async with open_folder_world(plugins) as world:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        await world.runtime.approve("alpha")
        write(plugins, "old")
        await world.runtime.reload("alpha")
        write(plugins, "wide", WIDE)
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "wide"


async def test_a_narrower_version_that_didnt_come_up_doesnt_count(plugins: Path) -> None:
    write(plugins, "wide", WIDE)
    tier = FolderTier()
    tier.behaviour["old"] = FakePlugin(failing_starts=1000)
    async with open_folder_world(plugins, tier=tier) as world:
        write(plugins, "old")
        with pytest.raises(PluginStartError):
            await world.runtime.reload("alpha")
        write(plugins, "wide", WIDE)
        await world.runtime.reload("alpha")
        assert await world.ask("alpha") == "wide"


async def test_a_restart_of_the_version_that_runs_is_never_held(plugins: Path) -> None:
    async with open_folder_world(plugins) as world, world.runtime.events() as stream:
        write(plugins, "wide", WIDE)
        await held_by_reload(world)
        with pytest.raises(Exception, match="as asked"):
            await world.ask("alpha", "crash")
        await next_event(stream, EventKind.RESTART)
        await world.running("alpha")
        assert await world.ask("alpha") == "old"
        assert held(world).version == "1.0.4"


async def test_what_waits_to_be_approved_doesnt_keep_others_from_starting(
    plugins: Path, state: Path
) -> None:
    write_plugin(plugins, "beta", lines=['dependencies: {alpha: ">= 1.0.0"}'])
    async with open_folder_world(plugins, state_dir=state):
        pass
    write(plugins, "wide", WIDE)
    write_plugin(plugins, "gamma")
    async with open_folder_world(plugins, state_dir=state, wait=False) as world:
        await world.running("gamma")
        with pytest.raises(PluginUnavailableError, match="held"):
            await world.running("beta")
        await world.runtime.approve("alpha")
        await world.running("beta")
