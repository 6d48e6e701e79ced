# ruff: noqa: D102, S101 - the name of a test is its sentence, and tests assert
# ruff: noqa: PT012, SIM117 - which block is left by which error is what is tested
"""What every tier's session must do, as tests: inherit `TierSessionContract` and give it a fixture.

    class TestMyTier(TierSessionContract):
        @pytest.fixture
        def open_session(self):
            return lambda behaviour: open_my_plugin(behaviour.value)

Each call of `open_session` opens a session with a plugin that has the tool which `Behaviour`
describes; it may have the others too. It is a plugin of the type `tool`, and has no channel and no
provider; for those there are `channel_contract` and `provider_contract`. The session has had its
`init` with an empty configuration. Time is real, or virtual: no test sleeps.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from enum import StrEnum

import pytest
import trio
import trio.testing

from sigil_actors.core.calls import ExecuteRequest, HealthStatus
from sigil_actors.core.channel_calls import PresenceStatus, SendRequest
from sigil_actors.core.provider_calls import ChatRequest
from sigil_actors.errors import (
    GuestTrapError,
    LimitExceededError,
    PluginCallError,
    PluginCrashedError,
)
from sigil_actors.ports.tier import TierSession


class Behaviour(StrEnum):
    """What a plugin of the contract does when the tool of that name is called."""

    ECHO = "echo"
    """Answers its arguments, as they came, in one piece."""
    STREAM = "stream"
    """Answers `a`, `b` and `c`, each in a piece of its own."""
    ERROR = "error"
    """Answers `so far`, then the error `it went wrong`; the plugin lives on."""
    CRASH = "crash"
    """Takes its instance down without an answer."""
    ENDLESS = "endless"
    """Answers `started`, then never comes back."""


OpenSession = Callable[[Behaviour], AbstractAsyncContextManager[TierSession]]

_FAULTS = (GuestTrapError, LimitExceededError, PluginCrashedError)


def request_for(behaviour: Behaviour, arguments: str = "{}") -> ExecuteRequest:
    """Return a request for the tool of `behaviour`."""
    return ExecuteRequest(tool_name=behaviour.value, arguments=arguments, session_id="token")


async def text_of(
    session: TierSession, behaviour: Behaviour, arguments: str = "{}"
) -> tuple[str, ...]:
    """Call the tool of `behaviour`; return the pieces that it answered."""
    async with session.execute(request_for(behaviour, arguments)) as chunks:
        return tuple([piece async for piece in chunks])


class TierSessionContract:
    """The tests. The fixture `open_session` comes from the class that inherits."""

    crash_ends_the_session = True
    """False for a tier that runs each call in an instance of its own: a crash ends just that."""

    @pytest.mark.parametrize("behaviour", list(Behaviour))
    async def test_a_session_describes_its_tool(
        self, open_session: OpenSession, behaviour: Behaviour
    ) -> None:
        async with open_session(behaviour) as session:
            assert behaviour.value in {tool.name for tool in await session.describe()}

    async def test_a_session_tells_how_it_is(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.ECHO) as session:
            assert (await session.health()).status is HealthStatus.HEALTHY

    async def test_a_call_gets_its_arguments_and_answers(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.ECHO) as session:
            for arguments in ("{}", '{"text":"Ünïcode \\"\\u0001\\" \U0001f600"}'):
                assert "".join(await text_of(session, Behaviour.ECHO, arguments)) == arguments

    async def test_large_arguments_arrive_whole(self, open_session: OpenSession) -> None:
        arguments = f'{{"text":"{"x" * 300_000}"}}'
        async with open_session(Behaviour.ECHO) as session:
            assert "".join(await text_of(session, Behaviour.ECHO, arguments)) == arguments

    async def test_pieces_come_apart_and_in_order(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.STREAM) as session:
            assert await text_of(session, Behaviour.STREAM) == ("a", "b", "c")

    async def test_an_error_comes_after_what_was_said_before_it(
        self, open_session: OpenSession
    ) -> None:
        said = []
        async with open_session(Behaviour.ERROR) as session:
            with pytest.raises(PluginCallError) as caught:
                async with session.execute(request_for(Behaviour.ERROR)) as chunks:
                    async for piece in chunks:
                        said.append(piece)  # noqa: PERF401 - the pieces before the error matter
            assert said == ["so far"]
            assert "it went wrong" in caught.value.reason
            assert (await session.health()).status is HealthStatus.HEALTHY

    async def test_an_error_of_the_body_leaves_it_bare(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.STREAM) as session:
            with pytest.raises(ZeroDivisionError):
                async with session.execute(request_for(Behaviour.STREAM)) as chunks:
                    async for _ in chunks:
                        raise ZeroDivisionError
            assert await text_of(session, Behaviour.STREAM) == ("a", "b", "c")

    async def test_a_call_left_early_is_cancelled_and_the_next_works(
        self, open_session: OpenSession
    ) -> None:
        async with open_session(Behaviour.ENDLESS) as session:
            for _ in range(3):
                async with session.execute(request_for(Behaviour.ENDLESS)) as chunks:
                    assert await anext(chunks) == "started"
            assert await session.describe()

    async def test_a_cancelled_call_stops_and_the_session_goes_on(
        self, open_session: OpenSession
    ) -> None:
        async with open_session(Behaviour.ENDLESS) as session:
            for _ in range(3):
                await _cancel_once_blocked(lambda: text_of(session, Behaviour.ENDLESS))
            assert await session.describe()

    async def test_a_cancelled_wait_for_a_piece_ends_the_call(
        self, open_session: OpenSession
    ) -> None:
        async with open_session(Behaviour.ENDLESS) as session:
            async with session.execute(request_for(Behaviour.ENDLESS)) as chunks:
                assert await anext(chunks) == "started"
                await _cancel_once_blocked(lambda: anext(chunks))
            assert await session.describe()

    async def test_a_crash_is_told_to_its_caller_and_to_whoever_watches(
        self, open_session: OpenSession
    ) -> None:
        async with open_session(Behaviour.CRASH) as session:
            with pytest.raises(_FAULTS):
                await text_of(session, Behaviour.CRASH)
            if not self.crash_ends_the_session:
                assert await session.describe()
                return
            end = await session.wait_ended()
            assert end.reason
            assert end.reason.isprintable()
            assert isinstance(end.error, _FAULTS)
            for _ in range(2):
                with pytest.raises(PluginCrashedError):
                    await session.describe()
                with pytest.raises(PluginCrashedError):
                    await text_of(session, Behaviour.CRASH)
            assert await session.shutdown(grace_s=1) is False

    async def test_as_many_calls_as_it_says_run_at_the_same_time(
        self, open_session: OpenSession
    ) -> None:
        async with open_session(Behaviour.ENDLESS) as session:
            at_once = min(session.calls_at_once or 4, 4)
            started = 0

            async def call() -> None:
                nonlocal started
                async with session.execute(request_for(Behaviour.ENDLESS)) as chunks:
                    async for _ in chunks:
                        started += 1

            async with trio.open_nursery() as nursery:
                for _ in range(at_once):
                    nursery.start_soon(call)
                while started < at_once:
                    await trio.testing.wait_all_tasks_blocked(0.001)
                nursery.cancel_scope.cancel()
            assert await session.describe()

    async def test_calls_one_after_another_from_many_tasks_all_get_their_own_answer(
        self, open_session: OpenSession
    ) -> None:
        answers: dict[int, str] = {}
        async with open_session(Behaviour.ECHO) as session:

            async def call(number: int) -> None:
                pieces = await text_of(session, Behaviour.ECHO, f'{{"number":{number}}}')
                answers[number] = "".join(pieces)

            async with trio.open_nursery() as nursery:
                for number in range(20):
                    nursery.start_soon(call, number)
        assert answers == {number: f'{{"number":{number}}}' for number in range(20)}

    @pytest.mark.parametrize(
        "ask",
        [
            lambda session: _first(lambda: session.listen(session_id="token")),
            lambda session: session.send(
                SendRequest(channel_id="c1", content="hello"), session_id="token"
            ),
            lambda session: session.update_presence(
                "c1", PresenceStatus.ONLINE, session_id="token"
            ),
            lambda session: session.get_identity("4711", session_id="token"),
            lambda session: session.list_models(session_id="token"),
            lambda session: _first(
                lambda: session.chat(ChatRequest(model="m", messages=[]), session_id="token")
            ),
            lambda session: session.provider_status(session_id="token"),
        ],
        ids=["listen", "send", "presence", "identity", "models", "chat", "status"],
    )
    async def test_what_a_tool_has_no_service_for_is_refused_and_the_session_goes_on(
        self, open_session: OpenSession, ask: Callable[[TierSession], Awaitable[object]]
    ) -> None:
        async with open_session(Behaviour.ECHO) as session:
            with pytest.raises(PluginCallError):
                await ask(session)
            assert await session.describe()

    async def test_what_it_uses_is_told_or_not_known(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.ECHO) as session:
            usage = session.usage()
            if usage is not None:
                assert usage.memory_bytes > 0
                assert usage.cpu_s >= 0
                assert usage.pids > 0

    async def test_an_honest_plugin_shuts_down_cleanly(self, open_session: OpenSession) -> None:
        async with open_session(Behaviour.ECHO) as session:
            assert await session.shutdown(grace_s=5) is True

    async def test_leaving_the_session_ends_the_calls_in_it(
        self, open_session: OpenSession
    ) -> None:
        async with trio.open_nursery() as nursery:
            async with open_session(Behaviour.ENDLESS) as session:
                started = trio.Event()

                async def call() -> None:
                    with pytest.raises(PluginCrashedError):
                        async with session.execute(request_for(Behaviour.ENDLESS)) as chunks:
                            async for _ in chunks:
                                started.set()

                nursery.start_soon(call)
                await started.wait()
                await trio.testing.wait_all_tasks_blocked()


async def _first(
    call: Callable[[], AbstractAsyncContextManager[AsyncIterator[object]]],
) -> object:
    async with call() as pieces:
        return await anext(pieces)


async def _cancel_once_blocked(call: Callable[[], Awaitable[object]]) -> None:
    async def run() -> None:
        await call()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught, "the call ended before it was cancelled"
