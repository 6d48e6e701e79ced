"""Providers through the runtime: models, chats and how they are; and what an instance uses."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditFilter,
    CapabilityDeniedError,
    ChatEvent,
    ChatOptions,
    Done,
    InvalidRequestError,
    Manifest,
    Message,
    ModelInfo,
    PluginCallError,
    PluginCrashedError,
    PluginType,
    PluginUnavailableError,
    ProviderStatus,
    Role,
    Session,
    TextDelta,
    TokenUsage,
    ToolCall,
    ToolDefinition,
    Usage,
)
from sigil_actors.control.runtime_json import status_json
from sigil_actors.core.provider_calls import (
    CHAT_CHARACTERS_MAX,
    DELTA_CHARACTERS_MAX,
    STATUS_CHARACTERS_MAX,
    ChatRequest,
)
from sigil_actors.testing import FakePlugin, FakeProvider, ScriptCrash
from tests.runtime.world import World, manifest, open_world

NAME = "anthropic"
HELLO = Message(role=Role.USER, content="hello")


def provider_manifest(*capabilities: str) -> Manifest:
    allowed = capabilities or ("provider.*",)
    return attrs.evolve(manifest(NAME, capabilities=allowed), type=PluginType.PROVIDER)


def provider_world(provider: FakeProvider | None = None) -> AbstractAsyncContextManager[World]:
    plugin = FakePlugin(tools={}, provider=provider or FakeProvider())
    return open_world(provider_manifest(), plugins={NAME: plugin})


def answering(*events: ChatEvent, fault: Exception | None = None) -> FakeProvider:
    async def chat(*_rest: object) -> AsyncGenerator[ChatEvent]:
        for event in events:
            await trio.lowlevel.checkpoint()
            yield event
        if fault is not None:
            raise fault

    return FakeProvider(chat=chat)


async def answers(session: Session, messages: Sequence[Message] = (HELLO,)) -> list[ChatEvent]:
    async with session.chat(NAME, model="m", messages=messages) as events:
        return [event async for event in events]


async def test_an_answer_comes_in_pieces_and_ends_with_done() -> None:
    said = (
        TextDelta("Hel"),
        TextDelta("lo"),
        ToolCall(id="t1", name="echo", arguments="{}"),
        TokenUsage(input_tokens=3, output_tokens=2),
        Done(),
    )
    async with provider_world(answering(*said)) as world:
        assert await answers(world.session()) == list(said)
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert (outcome.capability, outcome.result) == ("provider.chat", "ok")
    assert (outcome.details["chunks"], outcome.details["characters"]) == (5, len("Hello{}"))


async def test_a_chat_reaches_the_plugin_as_it_was_asked_for() -> None:
    options = ChatOptions(temperature=0.5, max_tokens=100, stop_sequences=["END"])
    tool = ToolDefinition("echo", "says it again", {})
    async with provider_world() as world:
        async with world.session().chat(
            NAME,
            model="m",
            messages=[HELLO],
            tools=[tool],
            system_prompt="Be brief",
            options=options,
        ) as events:
            assert [event async for event in events] == [TextDelta("hello"), Done()]
        (ask,) = world.tier.asks
    assert ask.request == ChatRequest(
        model="m", messages=[HELLO], tools=[tool], system_prompt="Be brief", options=options
    )


async def test_what_follows_done_is_nobodys_to_hear() -> None:
    async with provider_world(answering(Done(), TextDelta("and another thing"))) as world:
        assert await answers(world.session()) == [Done()]


async def test_an_answer_without_done_ends_without_it() -> None:
    async with provider_world(answering(TextDelta("cut sh"))) as world:
        assert await answers(world.session()) == [TextDelta("cut sh")]


async def test_leaving_a_chat_at_its_end_is_no_cancel_and_leaving_before_is_one() -> None:
    async with provider_world(answering(TextDelta("a"), Done())) as world:
        for last in (TextDelta("a"), Done()):
            async with world.session().chat(NAME, model="m", messages=[HELLO]) as events:
                while await anext(events) != last:
                    pass
    outcomes = await world.store.query(AuditFilter(action="outcome"))
    assert [one.result for one in outcomes] == ["cancelled", "ok"]


@pytest.mark.parametrize(
    ("fault", "kind", "result"),
    [
        (PluginCallError(NAME, "overloaded"), PluginCallError, "error"),
        (ScriptCrash("out of memory"), PluginCrashedError, "crashed"),
    ],
)
async def test_an_error_comes_after_what_was_said_before_it(
    autojump_clock: MockClock, fault: Exception, kind: type[Exception], result: str
) -> None:
    async with provider_world(answering(TextDelta("so far"), fault=fault)) as world:
        async with world.session().chat(NAME, model="m", messages=[HELLO]) as events:
            assert await anext(events) == TextDelta("so far")
            with pytest.raises(kind):
                await anext(events)
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == result


async def test_an_event_out_of_bounds_ends_the_chat_as_the_plugins_error() -> None:
    huge = TextDelta("x" * (DELTA_CHARACTERS_MAX + 1))
    async with provider_world(answering(TextDelta("a"), huge)) as world:
        with pytest.raises(PluginCallError, match="breaks the contract"):
            await answers(world.session())
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert (outcome.result, outcome.details["chunks"]) == ("error", 1)


async def test_a_stop_cuts_a_chat_off_after_its_grace(autojump_clock: MockClock) -> None:
    async def chat(*_rest: object) -> AsyncGenerator[ChatEvent]:
        yield TextDelta("thinking")
        await trio.sleep_forever()

    async with provider_world(FakeProvider(chat=chat)) as world, trio.open_nursery() as nursery:
        async with world.session().chat(NAME, model="m", messages=[HELLO]) as events:
            await anext(events)
            nursery.start_soon(world.runtime.stop, NAME)
            await wait_all_tasks_blocked()
            began = trio.current_time()
            with pytest.raises(PluginUnavailableError, match="stopped"):
                await anext(events)
            assert trio.current_time() - began == pytest.approx(5)


async def test_models_and_status_are_told() -> None:
    models = (ModelInfo(id="m", name="Model", provider="anthropic"),)
    status = ProviderStatus(available=False, message="no key", failure_count=2)
    async with provider_world(FakeProvider(models=models, status=status)) as world:
        assert await world.session().models(NAME) == models
        assert await world.session().provider_status(NAME) == status
    checks = await world.store.query(AuditFilter(action="capability_check"))
    assert [one.capability for one in checks] == ["provider.models", "provider.status"]


@pytest.mark.parametrize(
    "provider",
    [
        FakeProvider(models=(ModelInfo(id="x" * 2000),)),
        FakeProvider(
            status=ProviderStatus(available=True, message="x" * (STATUS_CHARACTERS_MAX + 1))
        ),
    ],
)
async def test_models_or_a_status_out_of_bounds_are_the_plugins_fault(
    provider: FakeProvider,
) -> None:
    async with provider_world(provider) as world:
        with pytest.raises(PluginCallError, match="breaks the contract"):
            await world.session().models(NAME)
            await world.session().provider_status(NAME)


@pytest.mark.parametrize(
    "wrong",
    [
        {"model": "m" * 2000},
        {"messages": [Message(role=Role.USER, content="x" * (CHAT_CHARACTERS_MAX + 1))]},
        {"messages": [HELLO] * 10_001},
        {"options": ChatOptions(temperature=float("nan"))},
    ],
    ids=["model", "content", "messages", "temperature"],
)
async def test_a_chat_out_of_bounds_isnt_asked_for(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"model": "m", "messages": [HELLO], **wrong}
    async with provider_world() as world:
        with pytest.raises(InvalidRequestError):
            async with world.session().chat(NAME, **arguments):
                pass
        assert world.tier.asks == []


async def test_what_isnt_allowed_never_reaches_the_plugin() -> None:
    plugin = FakePlugin(tools={}, provider=FakeProvider())
    async with open_world(provider_manifest("tool.*"), plugins={NAME: plugin}) as world:
        session = world.session()
        with pytest.raises(CapabilityDeniedError, match=r"provider\.chat"):
            await answers(session)
        with pytest.raises(CapabilityDeniedError, match=r"provider\.models"):
            await session.models(NAME)
        with pytest.raises(CapabilityDeniedError, match=r"provider\.status"):
            await session.provider_status(NAME)
        assert world.tier.asks == []


async def test_a_plugin_of_another_type_is_refused_by_name() -> None:
    async with open_world(manifest(NAME, capabilities=("*",))) as world:
        with pytest.raises(PluginCallError, match="it is a tool, not a provider"):
            await answers(world.session())
        with pytest.raises(PluginCallError, match="it is a tool, not a provider"):
            await world.session().models(NAME)


# What it uses


async def test_a_status_tells_what_the_instance_uses_while_one_runs() -> None:
    usage = Usage(memory_bytes=1 << 20, cpu_s=0.5, pids=3)
    async with open_world(plugins={"echo-tool": FakePlugin(usage=usage)}) as world:
        status = world.runtime.get("echo-tool")
        assert status.usage == usage
        assert status_json(status)["usage"] == {
            "memory_bytes": 1 << 20,
            "cpu_s": 0.5,
            "pids": 3,
        }
        await world.runtime.stop("echo-tool")
        assert world.runtime.get("echo-tool").usage is None


async def test_where_the_tier_cant_tell_nothing_is_said() -> None:
    async with open_world() as world:
        status = world.runtime.get("echo-tool")
        assert status.usage is None
        assert status_json(status)["usage"] is None
