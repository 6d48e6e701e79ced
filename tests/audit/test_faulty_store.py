"""The store that fails on purpose does so where it was told, and only there."""

import pytest
import trio
from trio.testing import MockClock

from sigil_actors.audit.memory import MemoryAuditStore
from sigil_actors.core.audit_entry import AuditFilter
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.testing.audit_store_contract import example_entry
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore


async def test_the_named_append_fails_and_nothing_is_taken_before_a_reopening() -> None:
    inner = MemoryAuditStore()
    store = FaultyAuditStore(inner, fail_appends={2})
    async with store:
        await store.append([example_entry(1)])
        with pytest.raises(AuditUnavailableError, match="append 2 fails"):
            await store.append([example_entry(2)])
        with pytest.raises(AuditUnavailableError, match="since an error"):
            await store.append([example_entry(2)])
    async with store:
        await store.append([example_entry(3)])
    assert [entry.seq for entry in inner.entries] == [1, 2]
    assert (store.appends, store.openings, store.is_open) == (4, 2, False)


async def test_a_failing_append_can_have_stored_all_the_same() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends={1}, stores_before_failing=True)
    async with store:
        with pytest.raises(AuditUnavailableError):
            await store.append([example_entry(1)])
        assert len(await store.query(AuditFilter())) == 1


async def test_the_named_opening_fails() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_openings={1})
    with pytest.raises(AuditUnavailableError, match="opening 1 fails"):
        await store.__aenter__()
    async with store:
        assert store.is_open


async def test_a_hanging_append_goes_on_when_it_is_released(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), hang_appends={1})
    async with store, trio.open_nursery() as nursery:
        nursery.start_soon(store.append, [example_entry(1)])
        await store.hanging.wait()
        assert not await store.query(AuditFilter())
        store.release()
    assert len(await store.query(AuditFilter())) == 1


async def test_a_hanging_append_ends_when_it_is_cancelled(autojump_clock: MockClock) -> None:
    inner = MemoryAuditStore()
    async with FaultyAuditStore(inner, hang_appends={1}) as store:
        with trio.move_on_after(3) as scope:
            await store.append([example_entry(1)])
        assert scope.cancelled_caught
    assert not inner.entries


async def test_a_slow_append_takes_its_time(autojump_clock: MockClock) -> None:
    async with FaultyAuditStore(MemoryAuditStore(), slow_s=2.5) as store:
        before = trio.current_time()
        await store.append([example_entry(1)])
        assert trio.current_time() - before == pytest.approx(2.5)


async def test_a_memory_store_has_a_bound() -> None:
    async with MemoryAuditStore(entries_max=2) as store:
        with pytest.raises(AuditUnavailableError, match="full"):
            await store.append([example_entry(number) for number in range(3)])
        assert not store.entries
        await store.append([example_entry(number) for number in range(2)])


async def test_a_memory_store_has_one_user_at_a_time() -> None:
    async with MemoryAuditStore() as store:
        with pytest.raises(AuditUnavailableError, match="open already"):
            await store.__aenter__()
