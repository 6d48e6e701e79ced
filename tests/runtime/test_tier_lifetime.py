"""A tier that is a context manager is open for as long as there may be instances of it."""

from types import TracebackType

import pytest

from sigil_actors import MemoryAuditStore, open_runtime
from sigil_actors.testing import FakePlugin, FakeTier
from tests.runtime.world import manifest


class LastingTier(FakeTier):
    """Notes when it is entered and left, and what runs in it then."""

    def __init__(self) -> None:
        super().__init__({"echo-tool": FakePlugin()})
        self.story: list[str] = []

    async def __aenter__(self) -> None:
        self.story.append("entered")

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.story.append(f"left with {len(self.open_sessions)} instances")


async def test_a_tier_is_entered_before_its_instances_and_left_after_them() -> None:
    tier = LastingTier()
    async with open_runtime(
        audit_store=MemoryAuditStore(), manifests=[(manifest(), None)], tiers=[tier]
    ) as runtime:
        assert tier.story == ["entered"]
        await runtime.wait_until_running("echo-tool")
    assert tier.story == ["entered", "left with 0 instances"]


async def test_a_tier_is_left_when_the_runtime_fails() -> None:
    tier = LastingTier()
    with pytest.raises(ZeroDivisionError):
        async with open_runtime(audit_store=MemoryAuditStore(), tiers=[tier]):
            raise ZeroDivisionError
    assert tier.story == ["entered", "left with 0 instances"]
