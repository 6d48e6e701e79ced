# ruff: noqa: D102, S101 - the name of a test is its sentence, and tests assert
# ruff: noqa: PT012 - which block is left by which error is what is tested
"""What a session must do with a provider plugin, as tests; for tiers that have providers.

    class TestMyTiersProviders(ProviderSessionContract):
        @pytest.fixture
        def open_provider(self):
            return open_my_echo_provider

Each call of `open_provider` opens a session with a provider plugin that has `MODELS` and, for the
session id S, the status `status_for(S)`. What its models answer:

- `echo`: what `echo_of` says, which is all of the request, each part in an event of its own.
- `error`: the text `so far`, then the error `it went wrong`; the plugin lives on.
- `crash`: it takes its instance down without an answer.
- `endless`: the text `started`, then it never comes back.

The session has had its `init` with an empty configuration. Time is real, or virtual: no test
sleeps.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import pytest
import trio
import trio.testing

from sigil_actors.core.calls import HealthStatus, ToolDefinition
from sigil_actors.core.provider_calls import (
    ChatEvent,
    ChatOptions,
    ChatRequest,
    Done,
    Message,
    ModelCapabilities,
    ModelInfo,
    ProviderStatus,
    Role,
    TextDelta,
    TokenUsage,
    ToolCall,
)
from sigil_actors.errors import PluginCallError, PluginCrashedError
from sigil_actors.ports.tier import TierSession

OpenProvider = Callable[[], AbstractAsyncContextManager[TierSession]]

MODELS = (
    ModelInfo(
        id="echo",
        name="Echo",
        provider="contract",
        capabilities=ModelCapabilities(
            supports_tools=True,
            supports_vision=True,
            supports_streaming=True,
            supports_thinking=True,
            max_context_tokens=200_000,
            max_output_tokens=8000,
        ),
    ),
    *(ModelInfo(id=name) for name in ("error", "crash", "endless")),
)

CHAT = ChatRequest(
    model="echo",
    messages=[
        Message(
            role=role,
            content=f"Ünïcode of the {role} \U0001f600",
            id="m1",
            session_id="talk",
            tool_call_id="t1",
            tool_name="add",
            created_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
            metadata={"a": "1"},
        )
        for role in Role
    ],
    tools=[ToolDefinition("add", "adds two numbers", {"type": "object"})],
    system_prompt="Be brief",
    options=ChatOptions(temperature=0.5, max_tokens=100, stop_sequences=["END"], stream=True),
)


def status_for(session_id: str) -> ProviderStatus:
    """Return how the contract's plugin says that it is."""
    return ProviderStatus(
        available=True,
        provider="contract",
        message=session_id,
        failure_count=1 << 40,
        last_failure_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        cooldown_until=None,
    )


def echo_of(request: ChatRequest, session_id: str) -> tuple[ChatEvent, ...]:
    """Return what the model `echo` answers."""
    options = request.options or ChatOptions(stream=False)
    said = [
        session_id,
        request.system_prompt,
        *(
            f"{message.role}|{message.content}|{message.id}|{message.session_id}"
            f"|{message.tool_call_id}|{message.tool_name}|{_moment(message.created_at)}"
            f"|{json.dumps(dict(message.metadata), sort_keys=True)}"
            for message in request.messages
        ),
        f"{options.temperature:g}|{options.max_tokens}|{','.join(options.stop_sequences)}"
        f"|{options.stream}",
    ]
    return (
        *map(TextDelta, said),
        *(
            ToolCall(id=tool.description, name=tool.name, arguments=json.dumps(tool.input_schema))
            for tool in request.tools
        ),
        TokenUsage(input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4),
        Done(),
    )


class ProviderSessionContract:
    """The tests. The fixture `open_provider` comes from the class that inherits."""

    async def test_models_are_told_whole_and_in_order(self, open_provider: OpenProvider) -> None:
        async with open_provider() as session:
            assert await session.list_models(session_id="token") == MODELS

    async def test_a_status_is_told_whole(self, open_provider: OpenProvider) -> None:
        async with open_provider() as session:
            assert await session.provider_status(session_id="token") == status_for("token")

    @pytest.mark.parametrize(
        "request_",
        [CHAT, ChatRequest(model="echo", messages=[Message(role=Role.USER, content="hello")])],
        ids=["everything", "little"],
    )
    async def test_a_chat_arrives_whole_and_its_answer_too(
        self, open_provider: OpenProvider, request_: ChatRequest
    ) -> None:
        async with open_provider() as session:
            for _ in range(2):
                assert await _answer(session, request_) == echo_of(request_, "token")

    async def test_an_error_comes_after_what_was_said_before_it(
        self, open_provider: OpenProvider
    ) -> None:
        async with open_provider() as session:
            async with session.chat(_asking("error"), session_id="token") as events:
                assert await anext(events) == TextDelta("so far")
                with pytest.raises(PluginCallError, match="it went wrong"):
                    await anext(events)
            assert (await session.health()).status is HealthStatus.HEALTHY

    async def test_a_chat_left_early_is_cancelled_and_the_next_works(
        self, open_provider: OpenProvider
    ) -> None:
        async with open_provider() as session:
            for _ in range(3):
                async with session.chat(_asking("endless"), session_id="token") as events:
                    assert await anext(events) == TextDelta("started")
            assert await _answer(session, CHAT)

    async def test_a_cancelled_chat_stops_and_the_session_goes_on(
        self, open_provider: OpenProvider
    ) -> None:
        async with open_provider() as session:
            async with session.chat(_asking("endless"), session_id="token") as events:
                await anext(events)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_take, events)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    nursery.cancel_scope.cancel()
            assert await _answer(session, CHAT)

    async def test_an_error_of_the_body_leaves_it_bare(self, open_provider: OpenProvider) -> None:
        async with open_provider() as session:
            with pytest.raises(ZeroDivisionError):
                async with session.chat(CHAT, session_id="token") as events:
                    async for _ in events:
                        raise ZeroDivisionError

    async def test_a_crash_is_told_to_its_caller_and_to_whoever_comes_later(
        self, open_provider: OpenProvider
    ) -> None:
        async with open_provider() as session:
            with pytest.raises(PluginCrashedError):
                await _answer(session, _asking("crash"))
            assert (await session.wait_ended()).reason
            with pytest.raises(PluginCrashedError):
                await _answer(session, CHAT)
            with pytest.raises(PluginCrashedError):
                await session.list_models(session_id="token")


def _moment(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).isoformat(timespec="microseconds")


def _asking(model: str) -> ChatRequest:
    return ChatRequest(model=model, messages=[Message(role=Role.USER, content="hello")])


async def _answer(session: TierSession, request: ChatRequest) -> tuple[ChatEvent, ...]:
    async with session.chat(request, session_id="token") as events:
        return tuple([event async for event in events])


async def _take(events: AsyncIterator[ChatEvent]) -> None:
    await anext(events)
