"""A full disk and a torn write; the rest of the store's faults is in tests/audit."""

import sqlite3
from pathlib import Path

import pytest

from sigil_actors import AuditUnavailableError, MemoryAuditStore
from sigil_actors.audit.storage_error import storage_error
from sigil_actors.testing import FaultyAuditStore
from sigil_actors.testing.audit_store_contract import (
    AuditStoreContract,
    MakeStore,
    example_entry,
)


class TestStoreWithoutFaults(AuditStoreContract):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        store = MemoryAuditStore()
        return lambda: FaultyAuditStore(store)


async def test_a_full_disk_is_full_over_reopenings_until_there_is_room() -> None:
    inner = MemoryAuditStore()
    store = FaultyAuditStore(inner, full_at=2)
    async with store:
        await store.append([example_entry(1)])
        with pytest.raises(AuditUnavailableError, match="disk is full"):
            await store.append([example_entry(2)])
    async with store:
        with pytest.raises(AuditUnavailableError, match="disk is full"):
            await store.append([example_entry(2)])
        store.free()
        with pytest.raises(AuditUnavailableError, match="since an error"):
            await store.append([example_entry(2)])
    async with store:
        await store.append([example_entry(2)])
    assert [entry.seq for entry in inner.entries] == [1, 2]


async def test_a_disk_can_be_filled_by_hand() -> None:
    async with FaultyAuditStore(MemoryAuditStore()) as store:
        store.fill()
        with pytest.raises(AuditUnavailableError, match="disk is full"):
            await store.append([example_entry(1)])


async def test_a_full_disk_says_what_the_real_store_says() -> None:
    real = sqlite3.OperationalError("database or disk is full")
    real.sqlite_errorcode = sqlite3.SQLITE_FULL
    expected = storage_error(Path("audit"), real)
    async with FaultyAuditStore(MemoryAuditStore(), full_at=1) as store:
        with pytest.raises(AuditUnavailableError) as caught:
            await store.append([example_entry(1)])
    assert (caught.value.what, caught.value.remedy) == (expected.what, expected.remedy)


@pytest.mark.parametrize(("given", "stored"), [(1, 0), (2, 1), (5, 2)])
async def test_a_torn_append_stores_the_first_half_and_raises(given: int, stored: int) -> None:
    inner = MemoryAuditStore()
    store = FaultyAuditStore(inner, tear_appends={1})
    async with store:
        with pytest.raises(AuditUnavailableError, match="torn"):
            await store.append([example_entry(number) for number in range(given)])
        assert inner.last_seq == stored
        with pytest.raises(AuditUnavailableError, match="since an error"):
            await store.append([example_entry(9)])
    async with store:
        await store.append([example_entry(9)])
    assert inner.last_seq == stored + 1
