"""When a change of a plugins folder is told: once it has settled, on virtual time."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sigil_actors.runtime.folder_watch import PAUSE_PER_LOOK, SETTLE_S_MAX, FolderWatch

INTERVAL_S = 1.0
FAR_S = 1000.0


class Folder:
    """A folder made up: `now` is what a look sees, and `takes_s` what it takes."""

    def __init__(self, **now: bytes) -> None:
        self.now: dict[str, bytes] = now
        self.takes_s = 0.0
        self.error: OSError | None = None
        self.looked_at: list[float] = []
        self.changes_by_itself: set[str] = set()

    async def look(self) -> Mapping[str, bytes]:
        self.looked_at.append(trio.current_time())
        await trio.sleep(self.takes_s)
        if self.error is not None:
            raise self.error
        for name in self.changes_by_itself:
            self.now[name] = str(len(self.looked_at)).encode()
        return dict(self.now)


async def watching(folder: Folder) -> FolderWatch:
    watch = FolderWatch(Path("/nowhere"), interval_s=INTERVAL_S, files_max=1, look=folder.look)
    await watch.look()
    return watch


async def quiet(watch: FolderWatch, seconds: float = FAR_S) -> bool:
    """Tell whether nothing is reported for a while."""
    with trio.move_on_after(seconds):
        await watch.wait_changed()
        return False
    return True


async def told(watch: FolderWatch) -> frozenset[str]:
    with trio.fail_after(FAR_S):
        return await watch.wait_changed()


async def test_where_nothing_changes_nothing_is_told(autojump_clock: MockClock) -> None:
    assert await quiet(await watching(Folder(a=b"1")))


async def test_a_change_an_addition_and_a_removal_are_told_once(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1", b=b"1", c=b"1")
    watch = await watching(folder)
    folder.now = {"a": b"2", "b": b"1", "d": b"1"}
    assert await told(watch) == {"a", "c", "d"}
    assert await quiet(watch)
    del folder.now["d"]
    assert await told(watch) == {"d"}
    assert await quiet(watch)


async def test_a_change_is_told_when_two_looks_have_seen_the_same(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1")
    watch = await watching(folder)
    start = trio.current_time()
    folder.now["a"] = b"2"
    await told(watch)
    assert trio.current_time() - start == pytest.approx(2 * INTERVAL_S)


async def test_what_changes_between_the_baseline_and_the_first_wait_is_told(
    autojump_clock: MockClock,
) -> None:
    folder = Folder()
    watch = await watching(folder)
    folder.now["a"] = b"1"
    await trio.sleep(100)
    assert await told(watch) == {"a"}


async def test_what_changes_while_a_report_is_acted_on_is_told_next(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1")
    watch = await watching(folder)
    folder.now["a"] = b"2"
    await told(watch)
    folder.now["a"] = b"3"
    await trio.sleep(100)
    assert await told(watch) == {"a"}


async def test_what_is_put_back_before_it_has_settled_is_not_told(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1", b=b"1")
    watch = await watching(folder)
    for _ in range(10):
        folder.now = {"a": b"2", "new": b"1"}
        assert await quiet(watch, INTERVAL_S * 1.5)
        folder.now = {"a": b"1", "b": b"1"}
        assert await quiet(watch, INTERVAL_S * 2.5)
    assert await quiet(watch)


async def test_a_folder_that_keeps_changing_is_told_after_a_while_and_holds_up_no_other(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1", restless=b"1")
    watch = await watching(folder)
    start = trio.current_time()
    folder.changes_by_itself = {"restless"}
    folder.now["a"] = b"2"
    assert await told(watch) == {"a"}
    assert trio.current_time() - start == pytest.approx(2 * INTERVAL_S)
    assert await told(watch) == {"restless"}
    assert trio.current_time() - start == pytest.approx(SETTLE_S_MAX + INTERVAL_S)
    at = trio.current_time()
    assert await told(watch) == {"restless"}
    assert trio.current_time() - at == pytest.approx(SETTLE_S_MAX + INTERVAL_S)
    folder.changes_by_itself = set()
    assert await quiet(watch)


async def test_the_time_that_a_folder_was_restless_before_it_came_back_doesnt_count(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1")
    watch = await watching(folder)
    folder.changes_by_itself = {"a"}
    assert await quiet(watch, SETTLE_S_MAX - 2)
    folder.changes_by_itself = set()
    folder.now["a"] = b"1"
    assert await quiet(watch, INTERVAL_S * 2)
    folder.changes_by_itself = {"a"}
    assert await quiet(watch, SETTLE_S_MAX - 2)


async def test_the_whole_folder_may_be_missing_at_first_and_vanish(
    autojump_clock: MockClock,
) -> None:
    folder = Folder()
    watch = await watching(folder)
    assert await quiet(watch)
    folder.now = {"a": b"1", "b": b"1"}
    assert await told(watch) == {"a", "b"}
    folder.now = {}
    assert await told(watch) == {"a", "b"}
    assert await quiet(watch)


async def test_a_folder_that_cant_be_looked_into_counts_as_unchanged(
    autojump_clock: MockClock,
) -> None:
    """A network file system that stutters must not take all plugins down."""
    folder = Folder(a=b"1", b=b"1")
    watch = await watching(folder)
    folder.error = OSError(5, "Input/output\x1b error")
    assert await quiet(watch)
    assert watch.problem == "Input/output\\x1b error"
    folder.error = None
    assert await quiet(watch)
    assert watch.problem == ""
    folder.now["a"] = b"2"
    assert await told(watch) == {"a"}


async def test_looks_on_both_sides_of_a_failed_one_are_not_two_in_a_row(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1")
    watch = await watching(folder)
    folder.now["a"] = b"2"
    assert await quiet(watch, INTERVAL_S * 1.5)
    folder.error = OSError("hung")
    assert await quiet(watch, INTERVAL_S * 1.5)
    assert watch.problem == "hung"
    folder.error = None
    start = trio.current_time()
    assert await told(watch) == {"a"}
    assert trio.current_time() - start == pytest.approx(2 * INTERVAL_S)


async def test_what_was_there_behind_a_failed_baseline_is_told_once_it_can_be_seen(
    autojump_clock: MockClock,
) -> None:
    folder = Folder(a=b"1")
    folder.error = OSError(13, "Permission denied")
    watch = await watching(folder)
    assert watch.problem == "Permission denied"
    folder.error = None
    assert await told(watch) == {"a"}


async def test_without_a_baseline_everything_counts_as_added(autojump_clock: MockClock) -> None:
    folder = Folder(a=b"1")
    watch = FolderWatch(Path("/nowhere"), interval_s=1, files_max=1, look=folder.look)
    assert await told(watch) == {"a"}


async def test_a_new_baseline_forgets_what_was_to_be_told(autojump_clock: MockClock) -> None:
    folder = Folder(a=b"1")
    watch = await watching(folder)
    folder.now["a"] = b"2"
    assert await quiet(watch, INTERVAL_S * 1.5)
    await watch.look()
    assert await quiet(watch)


async def test_looks_take_a_twentieth_of_the_time_at_most(autojump_clock: MockClock) -> None:
    folder = Folder(a=b"1")
    folder.takes_s = 3.0
    watch = await watching(folder)
    assert await quiet(watch, 10_000)
    assert len(folder.looked_at) * folder.takes_s / 10_000 <= 0.05
    pauses = {b - a for a, b in zip(folder.looked_at, folder.looked_at[1:], strict=False)}
    assert {round(pause, 6) for pause in pauses} == {(PAUSE_PER_LOOK + 1) * folder.takes_s}


async def test_quick_looks_come_at_the_interval(autojump_clock: MockClock) -> None:
    folder = Folder()
    folder.takes_s = 0.001
    watch = await watching(folder)
    assert await quiet(watch, 100)
    assert 95 <= len(folder.looked_at) <= 101


async def test_a_look_that_fails_slowly_is_followed_by_a_long_pause_too(
    autojump_clock: MockClock,
) -> None:
    folder = Folder()
    folder.takes_s = 10.0
    folder.error = OSError("hung")
    watch = await watching(folder)
    assert await quiet(watch, 10_000)
    assert len(folder.looked_at) <= 10_000 / 200


@pytest.mark.parametrize("after_s", [0.5, 1.05, 1.5, 2.05])
async def test_a_wait_that_is_cancelled_loses_no_change(
    autojump_clock: MockClock, after_s: float
) -> None:
    folder = Folder(a=b"1")
    folder.takes_s = 0.04
    watch = await watching(folder)
    folder.now["a"] = b"2"
    with trio.move_on_after(after_s) as scope:
        await watch.wait_changed()
    assert scope.cancelled_caught
    assert await told(watch) == {"a"}


async def test_a_real_folder_is_watched_in_a_thread(tmp_path: Path) -> None:
    watch = FolderWatch(tmp_path / "plugins", interval_s=0.01, files_max=100)
    await watch.look()
    with trio.fail_after(30):
        (tmp_path / "plugins" / "a").mkdir(parents=True)
        assert await watch.wait_changed() == {"a"}
        (tmp_path / "plugins" / "a" / "plugin.yaml").write_text("name: a")
        assert await watch.wait_changed() == {"a"}
        (tmp_path / "plugins" / "a" / "plugin.yaml").unlink()
        (tmp_path / "plugins" / "a").rmdir()
        assert await watch.wait_changed() == {"a"}
