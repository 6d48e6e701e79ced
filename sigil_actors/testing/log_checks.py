"""Invariants of an audit log: what must be true of every log, whatever went wrong meanwhile.

Each function returns what is wrong, in words; nothing is good news. They look at entries and know
nothing of stores.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

from sigil_actors.core.audit_entry import GENESIS, AuditEntry, chain_hash
from sigil_actors.core.lifecycle import TRANSITIONS, PluginState
from sigil_actors.testing.every_step import InvariantError
from sigil_actors.testing.fake_services import FakeAsk
from sigil_actors.testing.fake_session import FakeCall

_STATES = frozenset(PluginState)


def check_log(
    entries: Sequence[AuditEntry],
    *,
    calls: Sequence[FakeCall | FakeAsk] = (),
    ended: bool = True,
    retold: bool | None = None,
) -> None:
    """Hold a whole log against all invariants below.

    Args:
        entries: All of them, in order.
        calls: What reached the plugins: `FakeTier.calls`, and `asks`.
        ended: Whether the runtime has been left, so that no instance lives any more.
        retold: Whether the store may have stored entries and failed all the same, so that some were
            told again; they are the same to the microsecond, and count once. Where the clock stands
            still, steps that were taken twice are that too: then, unless this says otherwise,
            everything counts.

    Raises:
        InvariantError: with every problem.
    """
    problems = log_problems(entries, calls=calls, ended=ended, retold=retold)
    if problems:
        raise InvariantError(problems)


def log_problems(
    entries: Sequence[AuditEntry],
    *,
    calls: Sequence[FakeCall | FakeAsk] = (),
    ended: bool = True,
    retold: bool | None = None,
) -> list[str]:
    """Return what is wrong with a whole log; see `check_log`."""
    return [
        *chain_problems(entries),
        *call_problems(entries, calls),
        *outcome_problems(entries, retold=retold),
        *lifecycle_problems(entries, ended=ended, retold=retold),
    ]


def chain_problems(entries: Sequence[AuditEntry]) -> list[str]:
    """Return where numbers have gaps or the hash chain breaks. Takes a log from its beginning."""
    problems: list[str] = []
    previous = GENESIS
    for place, entry in enumerate(entries, start=1):
        if entry.seq != place:
            problems.append(f"entry {entry.seq} stands where {place} should")
            break  # all later ones would be wrong too
        if entry.hash != chain_hash(previous, entry):
            problems.append(f"entry {entry.seq} doesn't chain to the one before it")
            break
        previous = entry.hash
    return problems


def call_problems(entries: Iterable[AuditEntry], calls: Iterable[FakeCall | FakeAsk]) -> list[str]:
    """Return which plugins were reached by more calls than were allowed and recorded.

    Counted in the whole log, by plugin and capability: neither the order nor whose call it was is
    looked at. That each was recorded before it ran is what `calls_recorded_first` checks meanwhile.
    """
    allowed = Counter(
        (entry.plugin, entry.capability) for entry in entries if _is_allowed_check(entry)
    )
    reached = Counter((call.plugin, call.capability) for call in calls)
    return [
        f"{plugin}: {count} calls for {capability}, {allowed[plugin, capability]} allowed"
        for (plugin, capability), count in reached.items()
        if count > allowed[plugin, capability]
    ]


def outcome_problems(entries: Iterable[AuditEntry], *, retold: bool | None = None) -> list[str]:
    """Return which outcomes have no allowed check of their own before them.

    An outcome that was recorded twice, since nobody knew whether the first time had worked, counts
    once; see `check_log` for `retold`.
    """
    problems: list[str] = []
    open_checks: Counter[tuple[str, str, str]] = Counter()
    for entry in _told_once(entries, retold=retold):
        call = (entry.plugin, entry.capability, entry.session_id)
        if _is_allowed_check(entry):
            open_checks[call] += 1
        elif entry.action == "outcome":
            open_checks[call] -= 1
            if open_checks[call] < 0:
                problems.append(f"entry {entry.seq}: an outcome of {call} without a check")
    return problems


def lifecycle_problems(
    entries: Iterable[AuditEntry], *, ended: bool, retold: bool | None = None
) -> list[str]:
    """Return which steps of which generations aren't in the lifecycle table.

    A generation also has to be registered before it runs, and with `ended`, every one must have
    come to its end. For `retold` see `check_log`.
    """
    problems: list[str] = []
    states: dict[tuple[str, object], PluginState] = {}
    registered: set[tuple[str, object]] = set()
    for entry in _told_once(entries, retold=retold):
        instance = (entry.plugin, entry.details.get("generation"))
        if entry.action == "plugin_registered":
            registered.add(instance)
        if entry.action != "lifecycle" or entry.result not in _STATES:
            continue  # what isn't a state is news of the plugin: that it was quarantined
        before = states.get(instance, PluginState.DISCOVERED)
        after = states[instance] = PluginState(entry.result)
        if after not in TRANSITIONS[before]:
            problems.append(f"entry {entry.seq}: {_named(instance)} went from {before} to {after}")
        if after is PluginState.RUNNING and instance not in registered:
            problems.append(f"entry {entry.seq}: {_named(instance)} runs and isn't registered")
    if ended:
        problems.extend(
            f"{_named(instance)} never ended: it is {state}"
            for instance, state in states.items()
            if TRANSITIONS[state]
        )
    return problems


def _is_allowed_check(entry: AuditEntry) -> bool:
    return entry.action == "capability_check" and entry.result == "allowed"


def _named(instance: tuple[str, object]) -> str:
    return f"{instance[0]}, generation {instance[1]},"


def _told_once(entries: Iterable[AuditEntry], *, retold: bool | None) -> list[AuditEntry]:
    """Return the entries without those that were told again after a failure.

    Those are the very same but for their place. Checks aren't told again: who asked got an error.
    """
    told = list(entries)
    if retold is None:
        retold = len({entry.timestamp for entry in told}) > 1
    if not retold:
        return told
    kept: list[AuditEntry] = []
    seen: set[AuditEntry] = set()
    for entry in told:
        anywhere = entry.stored_as(0, b"")
        if entry.action == "capability_check" or anywhere not in seen:
            seen.add(anywhere)
            kept.append(entry)
    return kept
