# ruff: noqa: D102 - the name of a test is its sentence
"""What every audit store must do, as tests: inherit `AuditStoreContract` and give it a fixture.

    class TestMyStore(AuditStoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path / "audit")

Each call of `make_store` makes a store on the same place. A store that lives in one object only,
like one in memory, returns that object each time.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import trio

from sigil_actors.core.audit_entry import (
    GENESIS,
    TEXT_LENGTH_MAX,
    AuditEntry,
    AuditFilter,
    chain_hash,
)
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.ports.audit_store import AuditStore

MakeStore = Callable[[], AuditStore]

_START = datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC)


def example_entry(
    number: int, *, action: str = "capability_check", actor: str = "gateway"
) -> AuditEntry:
    """Return an entry that looks like those of the enforcer; `number` tells them apart."""
    is_denied = number % 4 == 0
    return AuditEntry(
        action=action,
        timestamp=_START + timedelta(seconds=number),
        actor=actor,
        plugin=f"plugin-{number % 3}",
        workspace_id=f"workspace-{number % 2}",
        user_id="alice" if number % 2 else "bob",
        session_id=f"session-{number}",
        capability=f"{'messages' if number % 5 else 'kv'}.send.channel-{number}",
        result="denied" if is_denied else "allowed",
        reason="plugin_allow_missing" if is_denied else "ok",
        details={"generation": number, "matched": {"plugin_allow": "messages.*"}},
    )


class AuditStoreContract:
    """The tests. The fixture `make_store` comes from the class that inherits."""

    async def test_entries_get_consecutive_numbers_and_a_chain_that_can_be_recomputed(
        self, make_store: MakeStore
    ) -> None:
        async with make_store() as store:
            stored = [
                *await store.append([example_entry(1)]),
                *await store.append([example_entry(2), example_entry(3)]),
            ]
        _expect([entry.seq for entry in stored], [1, 2, 3])
        _expect_chain(stored)

    async def test_what_append_returns_is_what_a_query_finds(self, make_store: MakeStore) -> None:
        given = [example_entry(number) for number in range(5)]
        async with make_store() as store:
            stored = await store.append(given)
            found = await store.query(AuditFilter())
        _expect(list(found), list(stored))
        _expect([_without_place(entry) for entry in found], given)

    async def test_appending_nothing_stores_nothing(self, make_store: MakeStore) -> None:
        async with make_store() as store:
            _expect(list(await store.append([])), [])
            _expect(list(await store.query(AuditFilter())), [])

    async def test_a_store_goes_on_where_it_stopped_when_it_is_opened_again(
        self, make_store: MakeStore
    ) -> None:
        store = make_store()
        async with store:
            await store.append([example_entry(1), example_entry(2)])
        async with store:
            await store.append([example_entry(3)])
        async with make_store() as another:
            await another.append([example_entry(4)])
            found = await another.query(AuditFilter())
        _expect([entry.seq for entry in found], [1, 2, 3, 4])
        _expect_chain(found)

    async def test_a_second_store_on_the_same_place_sees_what_was_appended(
        self, make_store: MakeStore
    ) -> None:
        async with make_store() as store:
            stored = await store.append([example_entry(1)])
            _expect(list(await make_store().query(AuditFilter())), list(stored))

    async def test_a_store_that_is_not_open_takes_nothing(self, make_store: MakeStore) -> None:
        store = make_store()
        await _expect_unavailable(store, example_entry(1))
        async with store:
            await store.append([example_entry(1)])
        await _expect_unavailable(store, example_entry(2))
        async with store:
            _expect(len(await store.query(AuditFilter())), 1)

    async def test_an_append_that_is_cancelled_before_it_begins_stores_nothing(
        self, make_store: MakeStore
    ) -> None:
        async with make_store() as store:
            with trio.CancelScope() as scope:
                scope.cancel()
                await store.append([example_entry(1)])
            _expect(scope.cancelled_caught, expected=True)
            stored = await store.append([example_entry(2)])
            _expect([entry.seq for entry in stored], [1])
            _expect(list(await store.query(AuditFilter())), list(stored))

    async def test_text_of_any_kind_and_length_is_stored(self, make_store: MakeStore) -> None:
        strange = ["\ud800", "\x00\x1b[2J\n", "a\\b\"c'd", "\u202eevil", "€ ü 😀", "x" * 100_000]
        given = [
            AuditEntry(
                action="capability_check",
                timestamp=_START,
                plugin=text,
                user_id=text,
                capability=text,
                reason=text,
                details={text: text, "list": [text, 1, 2.5, None, True]},
            )
            for text in strange
        ]
        async with make_store() as store:
            stored = await store.append(given)
            found = await store.query(AuditFilter())
            _expect(list(found), list(stored))
            _expect_chain(found)
            _expect(max(len(entry.user_id) for entry in found), TEXT_LENGTH_MAX)
            for text, entry in zip(strange, stored, strict=True):
                _expect(list(await store.query(AuditFilter(user_id=text))), [entry])

    async def test_each_filter_selects_what_fits_and_nothing_else(
        self, make_store: MakeStore
    ) -> None:
        given = [example_entry(number) for number in range(1, 25)]
        given.append(example_entry(25, action="lifecycle", actor="manager"))
        filters = [
            AuditFilter(action="lifecycle"),
            AuditFilter(actor="manager"),
            AuditFilter(plugin="plugin-1"),
            AuditFilter(workspace_id="workspace-1"),
            AuditFilter(user_id="alice"),
            AuditFilter(session_id="session-7"),
            AuditFilter(capability="messages.send.channel-1*"),
            AuditFilter(capability="messages.*"),
            AuditFilter(result="denied"),
            AuditFilter(since=_START + timedelta(seconds=20)),
            AuditFilter(until=_START + timedelta(seconds=3)),
            AuditFilter(after_seq=20),
            AuditFilter(plugin="plugin-1", user_id="bob", result="denied", after_seq=5),
        ]
        async with make_store() as store:
            stored = await store.append(given)
            for query in filters:
                wanted = [entry for entry in stored if query.takes(entry)]
                _expect(0 < len(wanted) < len(stored), expected=True)
                _expect(list(await store.query(query)), wanted)
            _expect(list(await store.query(AuditFilter(plugin="nobody"))), [])

    async def test_a_limit_takes_the_first_that_fit_or_the_last(
        self, make_store: MakeStore
    ) -> None:
        async with make_store() as store:
            await store.append([example_entry(number) for number in range(1, 21)])

            async def numbers(query: AuditFilter) -> list[int]:
                return [entry.seq for entry in await store.query(query)]

            _expect(await numbers(AuditFilter(limit=2)), [1, 2])
            _expect(await numbers(AuditFilter(limit=0)), [])
            _expect(await numbers(AuditFilter(limit=2, newest_first=True)), [20, 19])
            _expect(await numbers(AuditFilter(plugin="plugin-1", limit=2)), [1, 4])
            some = "messages.*"
            _expect(
                await numbers(
                    AuditFilter(capability=some, plugin="plugin-1", limit=3, newest_first=True)
                ),
                [19, 16, 13],
            )


def _expect(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected!r}, found {found!r}")


def _expect_chain(entries: Sequence[AuditEntry]) -> None:
    previous = GENESIS
    for entry in entries:
        _expect(entry.hash, chain_hash(previous, entry))
        previous = entry.hash


async def _expect_unavailable(store: AuditStore, entry: AuditEntry) -> None:
    try:
        await store.append([entry])
    except AuditUnavailableError:
        return
    raise AssertionError("the append was expected to raise AuditUnavailableError")


def _without_place(entry: AuditEntry) -> AuditEntry:
    return entry.stored_as(0, b"")
