"""What plugins were allowed is changed by one at a time, and no change gets lost."""

from collections.abc import Callable

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors.core.approvals import PluginApprovals, with_accepted, with_approved
from sigil_actors.errors import ApprovalsUnavailableError
from sigil_actors.runtime.approval_records import ApprovalRecords
from sigil_actors.storage.memory_approvals import MemoryApprovalStore

STEP_S = 1.0


class SlowStore(MemoryApprovalStore):
    """Takes its time for everything, as a disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.is_broken = False

    async def read(self, plugin: str) -> PluginApprovals:
        found = await super().read(plugin)
        await trio.sleep(STEP_S)
        return found

    async def write(self, plugin: str, approvals: PluginApprovals) -> None:
        await trio.sleep(STEP_S)
        if self.is_broken:
            raise ApprovalsUnavailableError("the disk is gone", remedy="Look at it")
        self.writes.append(plugin)
        await super().write(plugin, approvals)


def sha(number: int) -> str:
    return f"{number:064x}"


def approving(number: int) -> Callable[[PluginApprovals], PluginApprovals]:
    return lambda before: with_approved(before, sha(number))


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
def records(store: SlowStore) -> ApprovalRecords:
    return ApprovalRecords(store)


def assert_nothing_is_left(records: ApprovalRecords) -> None:
    assert records._turns == {}


async def test_a_change_is_kept_and_returned(
    autojump_clock: MockClock, records: ApprovalRecords
) -> None:
    after = await records.update("p", approving(1))
    assert after == with_approved(PluginApprovals(), sha(1))
    assert await records.read("p") == after
    assert await records.read("q") == PluginApprovals()
    assert_nothing_is_left(records)


async def test_an_update_in_between_isnt_lost(
    autojump_clock: MockClock, records: ApprovalRecords
) -> None:
    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(records.update, "p", approving(number))
    assert set((await records.read("p")).approved) == {sha(number) for number in range(5)}
    assert_nothing_is_left(records)


async def test_an_approval_while_a_version_is_accepted_isnt_lost(
    autojump_clock: MockClock, records: ApprovalRecords
) -> None:
    def accept(before: PluginApprovals) -> PluginApprovals:
        return with_accepted(before, {"some": "authority"}, "1.0.0", sha(1))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.update, "p", accept)
        await wait_all_tasks_blocked()
        nursery.start_soon(records.update, "p", approving(2))
    found = await records.read("p")
    assert (found.accepted_sha256, found.approved) == (sha(1), (sha(2),))


async def test_what_stays_as_it_is_isnt_written(
    autojump_clock: MockClock, records: ApprovalRecords, store: SlowStore
) -> None:
    await records.update("p", approving(1))
    await records.update("p", approving(1))
    assert await records.update("p", attrs.evolve) == await records.read("p")
    assert store.writes == ["p"]


async def test_one_plugin_doesnt_wait_for_another(
    autojump_clock: MockClock, records: ApprovalRecords
) -> None:
    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for plugin in ("p", "q", "r"):
            nursery.start_soon(records.update, plugin, approving(1))
    assert trio.current_time() - start == 2 * STEP_S


@pytest.mark.parametrize("after_s", [0.0, 0.5 * STEP_S, 1.5 * STEP_S])
async def test_a_cancelled_update_changes_nothing_and_lets_the_next_one_go_on(
    autojump_clock: MockClock, records: ApprovalRecords, after_s: float
) -> None:
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(after_s) as scope:
            nursery.start_soon(records.update, "p", approving(2))
            await records.update("p", approving(1))
        assert scope.cancelled_caught
    assert (await records.read("p")).approved == (sha(2),)
    assert_nothing_is_left(records)


async def test_one_that_gives_up_waiting_leaves_nothing_behind(
    autojump_clock: MockClock, records: ApprovalRecords
) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(records.update, "p", approving(1))
        await wait_all_tasks_blocked(0)
        with trio.move_on_after(0.5 * STEP_S) as scope:
            await records.update("p", approving(2))
        assert scope.cancelled_caught
    assert (await records.read("p")).approved == (sha(1),)
    assert_nothing_is_left(records)


async def test_an_error_reaches_its_caller_and_lets_the_next_one_go_on(
    autojump_clock: MockClock, records: ApprovalRecords, store: SlowStore
) -> None:
    def refuse(before: PluginApprovals) -> PluginApprovals:
        raise LookupError

    with pytest.raises(LookupError):
        await records.update("p", refuse)
    store.is_broken = True
    with pytest.raises(ApprovalsUnavailableError):
        await records.update("p", approving(1))
    store.is_broken = False
    assert_nothing_is_left(records)
    assert (await records.update("p", approving(2))).approved == (sha(2),)
