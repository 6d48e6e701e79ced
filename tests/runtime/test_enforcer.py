"""The enforcer by itself: what it decides, that it records first, what it does when it can't."""

from collections.abc import Sequence
from typing import Any, Self

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditEntry,
    AuditFilter,
    AuditUnavailableError,
    CapabilityDeniedError,
    CapabilitySet,
    CheckRequest,
    DenyReason,
    InvalidCapabilityError,
    MemoryAuditStore,
    open_enforcer,
)
from sigil_actors.actors.mailbox import ActorDownError
from sigil_actors.runtime.clock import SystemClock
from sigil_actors.runtime.enforcer import COMMIT_MAX, OUTCOMES_MAX, Enforcer
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore

ALL = CapabilitySet("*")
REQUEST = CheckRequest("telegram", "sessions.read", "ws-1", ALL, ALL, user_id="alice")


def odd(**fields: Any) -> CheckRequest:
    """A request that no type checker would let through."""
    return attrs.evolve(REQUEST, **fields)


async def register(enforcer: Enforcer, *allow: str, deny: Sequence[str] = ()) -> None:
    await enforcer.register_plugin("telegram", CapabilitySet(*allow), CapabilitySet(*deny))


def outcome(number: int) -> AuditEntry:
    return AuditEntry(
        action="outcome", timestamp=SystemClock().now(), actor="test", details={"n": number}
    )


async def test_an_allowed_check_returns_its_decision_with_its_entrys_number() -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "sessions.*")
        decision = await enforcer.check(REQUEST)
    assert decision.allowed
    assert decision.reason is DenyReason.OK
    assert decision.matched.plugin_allow == "sessions.*"
    assert decision.request is REQUEST
    (entry,) = await store.query(AuditFilter())
    assert (entry.seq, entry.result, entry.reason) == (decision.seq, "allowed", "ok")
    assert (entry.plugin, entry.capability, entry.user_id) == ("telegram", "sessions.read", "alice")


async def test_a_denial_reads_as_specified_and_says_what_would_allow_it() -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        await register(enforcer, "sessions.*")
        with pytest.raises(CapabilityDeniedError) as caught:
            await enforcer.check(attrs.evolve(REQUEST, capability="exec.run"))
    text = str(caught.value)
    assert text.startswith(
        "capability 'exec.run' denied for plugin 'telegram': plugin_allow_missing"
    )
    assert "exec.run" in text.removeprefix("capability 'exec.run' denied")
    assert caught.value.reason == "plugin_allow_missing"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (attrs.evolve(REQUEST, plugin="nobody"), DenyReason.PLUGIN_NOT_REGISTERED),
        (attrs.evolve(REQUEST, plugin="No Name!"), DenyReason.INVALID_REQUEST),
        (attrs.evolve(REQUEST, capability=""), DenyReason.INVALID_REQUEST),
        (attrs.evolve(REQUEST, capability="sessions.*"), DenyReason.INVALID_REQUEST),
        (attrs.evolve(REQUEST, capability="a." * 40 + "a"), DenyReason.INVALID_REQUEST),
        (odd(capability=None), DenyReason.INVALID_REQUEST),
        (odd(plugin=["list"]), DenyReason.INVALID_REQUEST),
        (odd(workspace_allow=None), DenyReason.INVALID_REQUEST),
        (odd(workspace_id=5, user_id=b"bytes"), DenyReason.OK),
        (attrs.evolve(REQUEST, generation=7), DenyReason.PLUGIN_NOT_REGISTERED),
    ],
)
async def test_whatever_is_odd_is_audited_and_spoils_nothing_else(
    request_: CheckRequest, reason: DenyReason
) -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        if reason is DenyReason.OK:
            await enforcer.check(request_)
        else:
            with pytest.raises(CapabilityDeniedError) as caught:
                await enforcer.check(request_)
            assert caught.value.reason == reason
    (entry,) = await store.query(AuditFilter())
    assert entry.reason == reason


async def test_a_registration_counts_from_the_next_check_on() -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        for allow, allowed in (("sessions.*", True), ("kv.*", False), ("*", True)):
            await register(enforcer, allow)
            assert enforcer.explain(REQUEST).verdict.allowed is allowed
            if allowed:
                await enforcer.check(REQUEST)
            else:
                with pytest.raises(CapabilityDeniedError):
                    await enforcer.check(REQUEST)
        await enforcer.unregister_plugin("telegram")
        with pytest.raises(CapabilityDeniedError, match="plugin_not_registered"):
            await enforcer.check(REQUEST)


async def test_each_generation_has_its_own_sets_and_the_newest_is_the_default() -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        await enforcer.register_plugin("telegram", ["sessions.*"], [], generation=1)
        await enforcer.register_plugin("telegram", ["kv.*"], [], generation=2)
        await enforcer.check(attrs.evolve(REQUEST, generation=1))
        for generation in (2, None):
            with pytest.raises(CapabilityDeniedError, match="plugin_allow_missing"):
                await enforcer.check(attrs.evolve(REQUEST, generation=generation))
        await enforcer.unregister_plugin("telegram", generation=2)
        await enforcer.check(REQUEST)


@pytest.mark.parametrize("wrong", ["a..b", "/data//x", "", "x" * 1025])
async def test_an_invalid_pattern_is_refused_and_what_was_registered_stays(wrong: str) -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        await register(enforcer, "sessions.*")
        for allow, deny in (([wrong], []), (["*"], [wrong])):
            with pytest.raises(InvalidCapabilityError):
                await enforcer.register_plugin("telegram", allow, deny)
        await enforcer.check(REQUEST)


async def test_a_lone_text_is_one_pattern() -> None:
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        await enforcer.register_plugin("telegram", "sessions.*", [])
        await enforcer.check(REQUEST)


async def test_what_waits_together_is_committed_together() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), hang_appends=[1])
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enforcer.check, REQUEST)
            await store.hanging.wait()
            for _ in range(50):
                nursery.start_soon(enforcer.check, REQUEST)
            await wait_all_tasks_blocked()
            store.release()
        assert store.appends == 2
        assert len(await store.query(AuditFilter())) == 51


async def test_a_reply_never_comes_before_its_entry_is_stored(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), slow_s=1)
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        began = trio.current_time()
        await enforcer.check(REQUEST)
        assert trio.current_time() - began == pytest.approx(1)


async def test_one_who_is_cancelled_while_waiting_asks_nothing() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), hang_appends=[1])
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(enforcer.check, REQUEST)
            await store.hanging.wait()
            async with trio.open_nursery() as cancelled:
                cancelled.start_soon(enforcer.check, attrs.evolve(REQUEST, user_id="bob"))
                await wait_all_tasks_blocked()
                cancelled.cancel_scope.cancel()
            store.release()
        await enforcer.check(REQUEST)
    assert [entry.user_id for entry in await store.query(AuditFilter())] == ["alice", "alice"]


async def test_a_failed_store_denies_its_whole_batch_and_the_gap_is_written_first(
    autojump_clock: MockClock,
) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=[2, 3])
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        await enforcer.check(REQUEST)
        denied = 0

        async def ask() -> None:
            nonlocal denied
            with pytest.raises(AuditUnavailableError):
                await enforcer.check(REQUEST)
            denied += 1

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert denied == 5
        await ask()  # still closed: refused without a try
        await trio.sleep(10)  # opened again, for a gap that can't be stored either, and again
        await enforcer.check(REQUEST)
    entries = await store.query(AuditFilter())
    assert [entry.action for entry in entries] == [
        "capability_check",
        "audit_gap",
        "capability_check",
    ]
    assert entries[1].details["missed"] == 6
    assert store.openings == 3


async def test_a_store_that_cant_be_reopened_keeps_denying_until_it_can(
    autojump_clock: MockClock,
) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=[1], fail_openings=range(2, 6))
    async with open_enforcer(store) as enforcer:
        await register(enforcer, "*")
        for _ in range(4):
            with pytest.raises(AuditUnavailableError):
                await enforcer.check(REQUEST)
            await trio.sleep(0.01)
        await trio.sleep(60)
        await enforcer.check(REQUEST)
    assert store.openings == 6


async def test_a_store_that_hangs_is_waited_for_only_so_long(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), hang_appends=[1])
    async with open_enforcer(store, audit_timeout_s=5) as enforcer:
        await register(enforcer, "*")
        began = trio.current_time()
        with pytest.raises(AuditUnavailableError, match="within 5 s"):
            await enforcer.check(REQUEST)
        assert trio.current_time() - began == pytest.approx(5)


async def test_a_store_that_fails_in_a_way_of_its_own_fails_closed(
    autojump_clock: MockClock,
) -> None:
    class Odd(MemoryAuditStore):
        async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
            raise ZeroDivisionError(len(entries))

    async with open_enforcer(Odd()) as enforcer:
        await register(enforcer, "*")
        with pytest.raises(AuditUnavailableError, match="ZeroDivisionError"):
            await enforcer.check(REQUEST)


async def test_no_store_no_enforcer() -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_openings=[1])
    with pytest.raises(AuditUnavailableError):
        async with open_enforcer(store):
            pytest.fail("it must not open")


async def test_outcomes_are_stored_without_anybody_waiting() -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        enforcer.tell_outcome(outcome(1))
        await wait_all_tasks_blocked()
        assert len(await store.query(AuditFilter(action="outcome"))) == 1
        enforcer.tell_outcome(outcome(2))
    assert len(await store.query(AuditFilter(action="outcome"))) == 2


async def test_outcomes_over_the_bound_are_counted_in_the_next_gap(
    autojump_clock: MockClock,
) -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        for number in range(OUTCOMES_MAX + 5):
            enforcer.tell_outcome(outcome(number))
        await trio.sleep(1)
    entries = await store.query(AuditFilter())
    assert entries[0].action == "audit_gap"
    assert entries[0].details["missed"] == 5
    assert [entry.details["n"] for entry in entries[1:]] == list(range(OUTCOMES_MAX))


async def test_outcomes_outlive_a_failed_store(autojump_clock: MockClock) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=[1])
    async with open_enforcer(store) as enforcer:
        for number in range(10):
            enforcer.tell_outcome(outcome(number))
        await trio.sleep(10)
        enforcer.tell_outcome(outcome(10))
    numbers = [e.details["n"] for e in await store.query(AuditFilter(action="outcome"))]
    assert numbers == list(range(11))


async def test_what_was_accepted_is_stored_when_the_block_is_left() -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        recorded = await enforcer.record(outcome(1))
        enforcer.tell_outcome(outcome(2))
    assert recorded.seq == 1
    assert [e.details["n"] for e in await store.query(AuditFilter())] == [1, 2]
    with pytest.raises(ActorDownError):
        await enforcer.check(REQUEST)
    enforcer.tell_outcome(outcome(3))  # nobody to store it, and nobody to fail


async def test_a_cancelled_block_still_stores_what_was_accepted() -> None:
    store = MemoryAuditStore()
    with trio.CancelScope() as scope:
        async with open_enforcer(store) as enforcer:
            scope.cancel()
            enforcer.tell_outcome(outcome(1))
            await trio.sleep_forever()
    assert len(await store.query(AuditFilter(action="outcome"))) == 1


async def test_an_error_of_the_block_leaves_it_bare() -> None:
    with pytest.raises(ValueError, match="mine"):
        async with open_enforcer(MemoryAuditStore()):
            raise ValueError("mine")


async def test_a_store_that_returns_too_few_entries_has_stored_none(
    autojump_clock: MockClock,
) -> None:
    class Short(MemoryAuditStore):
        async def append(self, entries: Sequence[AuditEntry]) -> Sequence[AuditEntry]:
            return (await super().append(entries))[:-1]

    async with open_enforcer(Short()) as enforcer:
        await register(enforcer, "*")
        with trio.fail_after(60), pytest.raises(AuditUnavailableError, match="returned 0"):
            await enforcer.check(REQUEST)


async def test_a_store_that_reopens_oddly_keeps_denying(autojump_clock: MockClock) -> None:
    class Odd(MemoryAuditStore):
        openings = 0

        async def __aenter__(self) -> Self:
            self.openings += 1
            if self.openings == 2:
                raise ZeroDivisionError
            return await super().__aenter__()

    store = Odd()
    async with open_enforcer(FaultyAuditStore(store, fail_appends=[1])) as enforcer:
        await register(enforcer, "*")
        with pytest.raises(AuditUnavailableError):
            await enforcer.check(REQUEST)
        await trio.sleep(60)
        await enforcer.check(REQUEST)
    assert store.openings == 3


@pytest.mark.parametrize("steps", range(12))
async def test_an_enforcer_that_is_cancelled_while_it_opens_ends(steps: int) -> None:
    with trio.fail_after(5), trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cancel)
            async with open_enforcer(MemoryAuditStore()):
                await trio.sleep_forever()
    assert scope.cancelled_caught


async def test_more_outcomes_than_one_commit_holds_are_stored_though_nobody_asks(
    autojump_clock: MockClock,
) -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        for _ in range(3 * COMMIT_MAX):
            enforcer.tell_outcome(outcome(0))
        await wait_all_tasks_blocked()
        assert len(store.entries) == 3 * COMMIT_MAX


async def test_what_was_told_during_a_failure_is_stored_though_nobody_asks(
    autojump_clock: MockClock,
) -> None:
    memory = MemoryAuditStore()
    async with open_enforcer(FaultyAuditStore(memory, fail_appends=[1])) as enforcer:
        enforcer.tell_outcome(outcome(0))
        await trio.sleep(0.01)
        enforcer.tell_outcome(outcome(0))
        await trio.sleep(10)
        assert [entry.action for entry in memory.entries] == ["outcome", "outcome"]


async def test_an_append_that_hangs_during_the_end_costs_no_entry(
    autojump_clock: MockClock,
) -> None:
    memory = MemoryAuditStore()
    async with open_enforcer(FaultyAuditStore(memory, hang_appends=[1])) as enforcer:
        enforcer.tell_outcome(outcome(0))
    assert [entry.action for entry in memory.entries] == ["outcome"]
