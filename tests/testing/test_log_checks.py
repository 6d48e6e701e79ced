"""Each invariant of the log holds for a real run's log, and each can be seen to break."""

from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from sigil_actors import AuditEntry, MemoryAuditStore, PluginCrashedError, open_runtime
from sigil_actors.core.audit_entry import GENESIS, seal_entry
from sigil_actors.testing import (
    FakeCall,
    FakeTier,
    FaultPlan,
    InvariantError,
    check_log,
    fake_manifest,
    log_problems,
)
from tests.runtime.world import alice


@attrs.frozen
class Log:
    entries: tuple[AuditEntry, ...]
    calls: tuple[FakeCall, ...]

    def without(self, action: str, result: str = "", *, generation: int | None = None) -> "Log":
        def is_meant(entry: AuditEntry) -> bool:
            return (
                entry.action == action
                and entry.result == (result or entry.result)
                and generation in (None, entry.details.get("generation"))
            )

        kept = [entry for entry in self.entries if not is_meant(entry)]
        assert len(kept) < len(self.entries)
        return Log(sealed(kept), self.calls)

    def problems(self) -> list[str]:
        return log_problems(self.entries, calls=self.calls)


def sealed(entries: list[AuditEntry]) -> tuple[AuditEntry, ...]:
    """Number and chain entries anew, so that only what a test breaks is broken."""
    done: list[AuditEntry] = []
    head = GENESIS
    for seq, entry in enumerate(entries, start=1):
        entry, _ = seal_entry(head, seq, entry)  # noqa: PLW2901
        head = entry.hash
        done.append(entry)
    return tuple(done)


@pytest.fixture(scope="module")
def log() -> Log:
    """What is left of a runtime whose plugin crashed once and was called four times."""
    tier, store = FaultPlan().crash_on_call("echo-tool", 2).tier(), MemoryAuditStore()

    async def run() -> None:
        async with open_runtime(
            manifests=[(fake_manifest("echo-tool"), None)], audit_store=store, tiers=[tier]
        ) as runtime:
            while len(tier.calls) < 4:
                await runtime.wait_until_running("echo-tool")
                with suppress(PluginCrashedError):
                    await alice(runtime).execute_text("echo-tool", "echo")
                await trio.sleep(1)

    trio.run(run, clock=MockClock(autojump_threshold=0))
    return Log(store.entries, tuple(tier.calls))


def test_the_log_of_a_real_run_is_sound(log: Log) -> None:
    assert log.problems() == []
    assert len(log.calls) == 4
    assert {entry.action for entry in log.entries} >= {"capability_check", "outcome", "lifecycle"}
    check_log(log.entries, calls=log.calls)


def test_a_gap_in_the_numbers_is_found(log: Log) -> None:
    cut = [*log.entries[:5], *log.entries[6:]]
    assert any("stands where 6 should" in problem for problem in log_problems(cut))


def test_an_entry_that_was_changed_is_found(log: Log) -> None:
    changed = list(log.entries)
    changed[3] = attrs.evolve(changed[3], user_id="mallory").stored_as(4, changed[3].hash)
    assert "entry 4 doesn't chain to the one before it" in log_problems(changed)


def test_a_call_without_its_entry_is_found(log: Log) -> None:
    checks = [entry for entry in log.entries if entry.action == "capability_check"]
    cut = Log(sealed([entry for entry in log.entries if entry is not checks[0]]), log.calls)
    assert "echo-tool: 4 calls for tool.echo, 3 allowed" in cut.problems()


def test_a_denied_check_allows_nothing(log: Log) -> None:
    denied = [
        attrs.evolve(entry, result="denied") if entry.action == "capability_check" else entry
        for entry in log.entries
    ]
    assert any("0 allowed" in problem for problem in Log(sealed(denied), log.calls).problems())


def test_an_outcome_without_its_check_is_found(log: Log) -> None:
    first = next(entry for entry in log.entries if entry.action == "outcome")
    assert any(
        "an outcome of" in problem for problem in log_problems(sealed([first, *log.entries]))
    )


def test_an_outcome_before_its_check_is_found(log: Log) -> None:
    entries = list(log.entries)
    [at, *_] = [place for place, entry in enumerate(entries) if entry.action == "outcome"]
    entries.insert(0, entries.pop(at))
    assert any("an outcome of" in problem for problem in log_problems(sealed(entries)))


def test_what_was_told_twice_after_a_failure_counts_once(log: Log) -> None:
    twice = [
        entry
        for entry in log.entries
        for _ in range(2 if entry.action in ("outcome", "lifecycle") else 1)
    ]
    assert Log(sealed(twice), log.calls).problems() == []


@pytest.mark.parametrize("action", ["outcome", "lifecycle"])
def test_without_a_failure_of_the_store_whatever_stands_twice_is_found(
    log: Log, action: str
) -> None:
    twice = [entry for entry in log.entries for _ in range(1 + (entry.action == action))]
    assert log_problems(sealed(twice), calls=log.calls, retold=False)
    assert log_problems(log.entries, calls=log.calls, retold=False) == []


@pytest.mark.parametrize(("retold", "is_found"), [(None, True), (False, True), (True, False)])
def test_where_the_clock_stands_still_whatever_stands_twice_counts(
    log: Log, *, retold: bool | None, is_found: bool
) -> None:
    now = log.entries[0].timestamp
    still = [
        attrs.evolve(entry, timestamp=now)
        for entry in log.entries
        for _ in range(1 + (entry.action == "lifecycle"))
    ]
    problems = log_problems(sealed(still), calls=log.calls, retold=retold)
    assert any("from running to running" in one for one in problems) == is_found
    assert is_found or not problems


def test_two_steps_that_differ_in_anything_are_no_retelling(log: Log) -> None:
    twice = [
        one
        for entry in log.entries
        for one in (
            (entry, attrs.evolve(entry, reason="again"))
            if entry.action == "lifecycle"
            else (entry,)
        )
    ]
    assert any("from running to running" in one for one in Log(sealed(twice), log.calls).problems())


@pytest.mark.parametrize("missing", ["validating", "loading", "running", "draining", "stopping"])
def test_a_step_outside_the_table_is_found(log: Log, missing: str) -> None:
    generation = 1 if missing in ("validating", "loading") else 2
    cut = log.without("lifecycle", missing, generation=generation)
    assert any("went from" in problem for problem in cut.problems())


def test_an_instance_that_never_ended_is_found_once_the_runtime_is_left(log: Log) -> None:
    cut = log.without("lifecycle", "stopped")
    assert [problem for problem in cut.problems() if "never ended" in problem]
    assert log_problems(cut.entries, calls=cut.calls, ended=False) == []


def test_an_instance_that_runs_without_being_registered_is_found(log: Log) -> None:
    cut = log.without("plugin_registered", generation=2)
    assert any("generation 2, runs and isn't registered" in one for one in cut.problems())


def test_news_that_is_no_state_is_no_step(log: Log) -> None:
    news = attrs.evolve(log.entries[-1], action="lifecycle", result="quarantined", seq=0, hash=b"")
    assert Log(sealed([*log.entries, news]), log.calls).problems() == []


def test_all_problems_are_told_at_once(log: Log) -> None:
    with pytest.raises(InvariantError) as caught:
        check_log(log.without("capability_check").without("lifecycle", "stopped").entries)
    assert {"outcome", "never ended"} <= {
        word for word in ("outcome", "never ended") if word in str(caught.value)
    }


def test_an_empty_log_is_sound() -> None:
    assert log_problems([]) == []
    assert FakeTier().calls == []
