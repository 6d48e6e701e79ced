"""Both stores keep the contract, and so does one that is wrapped to fail but never told to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sigil_actors.audit.memory import MemoryAuditStore
from sigil_actors.audit.sqlite import SqliteAuditStore
from sigil_actors.testing.audit_store_contract import AuditStoreContract
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore


class TestMemoryAuditStore(AuditStoreContract):
    @pytest.fixture
    def make_store(self) -> Callable[[], MemoryAuditStore]:
        store = MemoryAuditStore()
        return lambda: store


class TestSqliteAuditStore(AuditStoreContract):
    @pytest.fixture
    def make_store(self, tmp_path: Path) -> Callable[[], SqliteAuditStore]:
        return lambda: SqliteAuditStore(tmp_path / "audit")


class TestFaultyAuditStoreWithoutFaults(AuditStoreContract):
    @pytest.fixture
    def make_store(self) -> Callable[[], FaultyAuditStore]:
        store = MemoryAuditStore()
        return lambda: FaultyAuditStore(store)
