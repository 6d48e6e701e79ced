"""Channels through the runtime: listening, sending, presence, identity, over swaps and ends."""

import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sigil_actors import (
    AuditFilter,
    AuditUnavailableError,
    CapabilityDeniedError,
    CapabilitySet,
    HostCall,
    InvalidRequestError,
    Manifest,
    MemoryAuditStore,
    PluginCallError,
    PluginCrashedError,
    PluginNotFoundError,
    PluginType,
    PluginUnavailableError,
    RuntimeSettings,
)
from sigil_actors.core.calls import ExecuteRequest
from sigil_actors.core.channel_calls import (
    CONTENT_CHARACTERS_MAX,
    InboundMessage,
    MediaAttachment,
    PresenceStatus,
    SendRequest,
    SendResult,
    UserIdentity,
)
from sigil_actors.ports.host_functions import HostFunctions
from sigil_actors.testing import FakeChannel, FakePlugin, ScriptCrash
from sigil_actors.testing.fake_services import ListenScript, Presence
from sigil_actors.testing.faults import Fail
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from tests.runtime.world import World, alice, manifest, open_world

NAME = "telegram"
EVERY_METHOD = ["listen", "send", "update_presence", "identity"]


def channel_manifest(*capabilities: str) -> Manifest:
    allowed = capabilities or ("channel.*",)
    return attrs.evolve(manifest(NAME, capabilities=allowed), type=PluginType.CHANNEL)


def message(content: str, number: int = 1) -> InboundMessage:
    bob = UserIdentity(platform="telegram", platform_user_id="4711", display_name="Bob")
    return InboundMessage(message_id=f"m{number}", channel_id="c1", sender=bob, content=content)


def hearing(*contents: str, then: ListenScript | None = None) -> ListenScript:
    """A channel that hears these messages, and then nothing for ever, or what follows."""

    async def listen(session_id: str, host: HostFunctions) -> AsyncGenerator[InboundMessage]:
        for number, content in enumerate(contents):
            yield message(content, number)
        if then is None:
            await trio.sleep_forever()
        else:
            async for following in then(session_id, host):
                yield following

    return listen


async def silence(_session_id: str, _host: HostFunctions) -> AsyncGenerator[InboundMessage]:
    nothing: tuple[InboundMessage, ...] = ()
    for one in nothing:
        yield one


async def crash(session_id: str, host: HostFunctions) -> AsyncGenerator[InboundMessage]:
    async for one in silence(session_id, host):
        yield one
    raise ScriptCrash("as scripted")


def plugins(listen: ListenScript | None = None, **changes: Any) -> dict[str, FakePlugin]:
    channel = FakeChannel() if listen is None else FakeChannel(listen=listen)
    return {NAME: attrs.evolve(FakePlugin(tools={}, channel=channel), **changes)}


def channel_world(
    listen: ListenScript | None = None, **changes: Any
) -> AbstractAsyncContextManager[World]:
    return open_world(channel_manifest(), plugins=plugins(listen, **changes))


async def try_method(world: World, method: str, plugin: str = NAME) -> None:
    session = world.session()
    match method:
        case "listen":
            async with session.listen(plugin):
                pass
        case "send":
            await session.send(plugin, channel_id="c1", content="hello")
        case "update_presence":
            await session.update_presence(plugin, channel_id="c1", status=PresenceStatus.TYPING)
        case _:
            await session.identity(plugin, "4711")


async def test_a_listener_gets_the_messages_in_order() -> None:
    async with channel_world(hearing("one", "two", then=silence)) as world:
        async with world.session().listen(NAME) as messages:
            assert [one.content async for one in messages] == ["one", "two"]


async def test_a_message_is_sent_and_its_id_told() -> None:
    async with channel_world() as world:
        photo = MediaAttachment(url="https://example.org/1.png", mime_type="image/png")
        sent = await world.session().send(
            NAME, channel_id="c1", content="hello", media=[photo], reply_to_message_id="m1"
        )
        assert sent == SendResult(platform_message_id="sent")
        (ask,) = world.tier.asks
    assert ask.request == SendRequest(
        channel_id="c1", content="hello", media=(photo,), reply_to_message_id="m1"
    )


async def test_presence_and_identity_reach_the_plugin() -> None:
    bob = UserIdentity(platform_user_id="4711", display_name="Bob")

    async def who(_user: str, *_rest: object) -> UserIdentity:
        return bob

    async with channel_world(channel=FakeChannel(identity=who)) as world:
        session = world.session()
        await session.update_presence(NAME, channel_id="c1", status=PresenceStatus.TYPING)
        assert await session.identity(NAME, "4711") == bob
        assert [ask.request for ask in world.tier.asks] == [
            Presence(channel_id="c1", status=PresenceStatus.TYPING),
            "4711",
        ]


async def test_every_method_is_recorded_before_the_plugin_is_reached_and_after_with_its_end() -> (
    None
):
    async with channel_world() as world:
        for method in EVERY_METHOD:
            await try_method(world, method)
        asked = [ask.capability for ask in world.tier.asks]
    checks = await world.store.query(AuditFilter(action="capability_check"))
    outcomes = await world.store.query(AuditFilter(action="outcome"))
    assert [one.capability for one in checks] == asked == [one.capability for one in outcomes]
    assert asked == ["channel.listen", "channel.send", "channel.presence", "channel.identity"]
    # A listening that is left has no end of its own.
    assert [one.result for one in outcomes] == ["cancelled", "ok", "ok", "ok"]
    for check, outcome in zip(checks, outcomes, strict=True):
        assert check.seq < outcome.seq


async def test_the_outcome_of_a_listening_counts_its_messages() -> None:
    async with channel_world(hearing("one", "three", then=silence)) as world:
        async with world.session().listen(NAME) as messages:
            assert [one async for one in messages]
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert (outcome.result, outcome.details["chunks"]) == ("ok", 2)
    assert outcome.details["characters"] == len("onethree")
    assert "dropped" not in outcome.details


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_what_isnt_allowed_never_reaches_the_plugin(method: str) -> None:
    async with open_world(channel_manifest("tool.*"), plugins=plugins()) as world:
        with pytest.raises(CapabilityDeniedError, match="channel"):
            await try_method(world, method)
        assert world.tier.asks == []
        assert world.runtime.get(NAME).in_flight == 0


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_what_cant_be_recorded_never_reaches_the_plugin(
    autojump_clock: MockClock, method: str
) -> None:
    store = FaultyAuditStore(MemoryAuditStore(), fail_appends=range(3, 100))
    async with open_world(channel_manifest(), plugins=plugins(), audit_store=store) as world:
        with pytest.raises(AuditUnavailableError):
            await try_method(world, method)
        assert world.tier.asks == []


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_a_plugin_of_another_type_is_refused_by_name(method: str) -> None:
    async with open_world(manifest(capabilities=("*",))) as world:
        with pytest.raises(PluginCallError, match="it is a tool, not a channel"):
            await try_method(world, method, "echo-tool")
        with pytest.raises(PluginNotFoundError):
            await try_method(world, method, "nobody")


@pytest.mark.parametrize("method", EVERY_METHOD)
async def test_a_tier_without_channels_says_so(method: str) -> None:
    async with open_world(channel_manifest(), plugins={NAME: FakePlugin(tools={})}) as world:
        with pytest.raises(PluginCallError, match="not supported"):
            await try_method(world, method)


async def test_the_plugin_asks_its_host_for_the_listener() -> None:
    asked: list[str] = []

    async def listen(session_id: str, host: HostFunctions) -> AsyncGenerator[InboundMessage]:
        yield message((await host.call("who", b"", session_id)).decode())

    async def who(call: HostCall) -> bytes:
        assert call.session is not None
        asked.append(call.session.caller.user_id)
        return b"heard"

    async with open_world(
        channel_manifest("channel.*", "who"), plugins=plugins(listen), host_functions={"who": who}
    ) as world:
        async with world.session().listen(NAME) as messages:
            assert [one.content async for one in messages] == ["heard"]
    assert asked == ["alice"]


# What is too much


@pytest.mark.parametrize(
    "wrong",
    [
        {"content": "x" * (CONTENT_CHARACTERS_MAX + 1)},
        {"content": "half a pair: \ud800"},
        {"channel_id": "x" * 2000},
        {"media": [MediaAttachment(url="https://example.org")] * 65},
        {"media": [MediaAttachment(url="x" * 10_000)]},
    ],
    ids=["content", "encoding", "channel", "attachments", "url"],
)
async def test_a_message_out_of_bounds_isnt_sent(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"channel_id": "c1", "content": "hello", **wrong}
    async with channel_world() as world:
        with pytest.raises(InvalidRequestError):
            await world.session().send(NAME, **arguments)
        with pytest.raises(InvalidRequestError, match="user"):
            await world.session().identity(NAME, "x" * 2000)
        with pytest.raises(InvalidRequestError, match="channel"):
            await world.session().update_presence(
                NAME, channel_id="\udcff", status=PresenceStatus.ONLINE
            )
        assert world.tier.asks == []
    assert await world.store.query(AuditFilter(action="capability_check")) == ()


async def test_strangers_cant_end_a_listening_by_a_message_out_of_bounds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    huge = "x" * (CONTENT_CHARACTERS_MAX + 1)
    heard = hearing("one", huge, huge, huge, "two", then=silence)
    async with channel_world(heard) as world:
        async with world.session().listen(NAME) as messages:
            assert [one.content async for one in messages] == ["one", "two"]
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert (outcome.details["chunks"], outcome.details["dropped"]) == (2, 3)
    assert caplog.text.count("a message was dropped") == 1


async def test_an_answer_out_of_bounds_is_the_plugins_fault() -> None:
    async def send(_request: SendRequest, *_rest: object) -> SendResult:
        return SendResult(platform_message_id="x" * 2000)

    async with channel_world(channel=FakeChannel(send=send)) as world:
        with pytest.raises(PluginCallError, match="breaks the contract"):
            await world.session().send(NAME, channel_id="c1", content="hello")
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "error"


async def test_what_nobody_waits_for_stays_with_the_plugin() -> None:
    handed_out = 0

    async def listen(_session_id: str, _host: HostFunctions) -> AsyncGenerator[InboundMessage]:
        nonlocal handed_out
        while True:
            await trio.lowlevel.checkpoint()
            handed_out += 1
            yield message("again")

    async with channel_world(listen) as world:
        async with world.session().listen(NAME) as messages:
            await wait_all_tasks_blocked()
            assert handed_out == 1
            for _ in range(5):
                await anext(messages)
                await wait_all_tasks_blocked()
            assert handed_out == 6


# Ends


async def test_a_plugin_that_refuses_to_send_says_why() -> None:
    async def send(_request: SendRequest, *_rest: object) -> SendResult:
        raise PluginCallError(NAME, "blocked by the user")

    async with channel_world(channel=FakeChannel(send=send)) as world:
        with pytest.raises(PluginCallError, match="blocked by the user"):
            await world.session().send(NAME, channel_id="c1", content="hello")
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert (outcome.result, outcome.details["chunks"]) == ("error", 0)


async def test_a_crash_is_told_after_what_was_heard_before_it(autojump_clock: MockClock) -> None:
    async with channel_world(hearing("one", then=crash)) as world:
        async with world.session().listen(NAME) as messages:
            assert (await anext(messages)).content == "one"
            for _ in range(2):
                with pytest.raises(PluginCrashedError, match="as scripted"):
                    await anext(messages)
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "crashed"


async def test_an_error_of_the_block_leaves_it_bare_and_nothing_behind() -> None:
    async with channel_world(hearing("one")) as world:
        with pytest.raises(ZeroDivisionError):
            async with world.session().listen(NAME) as messages:
                async for _ in messages:
                    raise ZeroDivisionError
        assert world.runtime.get(NAME).in_flight == 0
        assert world.tier.open_sessions[0].calls_inside == 0


async def test_messages_may_be_taken_by_any_task() -> None:
    heard: list[str] = []
    async with channel_world(hearing("one", "two", "three", then=silence)) as world:
        async with world.session().listen(NAME) as messages, trio.open_nursery() as nursery:

            async def take() -> None:
                async for one in messages:
                    heard.append(one.content)  # noqa: PERF401 - two tasks fill it

            nursery.start_soon(take)
            nursery.start_soon(take)
    assert sorted(heard) == ["one", "three", "two"]


@pytest.mark.parametrize("how", ["drain", "stop"])
async def test_a_drain_doesnt_wait_for_a_listener(autojump_clock: MockClock, how: str) -> None:
    async with channel_world(hearing("one")) as world:
        async with world.session().listen(NAME) as messages:
            began = trio.current_time()
            await getattr(world.runtime, how)(NAME)
            assert trio.current_time() - began < 0.1
            # What was received by then is still handed on.
            assert (await anext(messages)).content == "one"
            with pytest.raises(PluginUnavailableError, match="stopped"):
                await anext(messages)
    (outcome,) = await world.store.query(AuditFilter(action="outcome"))
    assert outcome.result == "stopped"


async def test_a_drain_waits_for_what_is_being_sent(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def send(_request: SendRequest, *_rest: object) -> SendResult:
        await trio.sleep(7)
        return SendResult()

    caplog.set_level(logging.INFO)
    async with channel_world(channel=FakeChannel(send=send)) as world:
        session = world.session()
        async with session.listen(NAME), trio.open_nursery() as nursery:
            nursery.start_soon(lambda: session.send(NAME, channel_id="c1", content="hello"))
            await wait_all_tasks_blocked()
            began = trio.current_time()
            await world.runtime.drain(NAME)
            assert trio.current_time() - began == pytest.approx(7)
    assert "1 call may finish" in caplog.text


async def test_a_stop_cuts_off_what_is_being_sent_after_its_grace(
    autojump_clock: MockClock,
) -> None:
    async def send(*_rest: object) -> SendResult:
        await trio.sleep_forever()
        raise AssertionError

    async with channel_world(channel=FakeChannel(send=send)) as world:
        async with trio.open_nursery() as nursery:

            async def try_to_send() -> None:
                with pytest.raises(PluginUnavailableError, match="stopped"):
                    await world.session().send(NAME, channel_id="c1", content="hello")
                assert trio.current_time() - began == pytest.approx(5)

            began = trio.current_time()
            nursery.start_soon(try_to_send)
            await wait_all_tasks_blocked()
            await world.runtime.stop(NAME)


async def test_leaving_the_runtime_doesnt_wait_for_a_listener(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        async with channel_world() as world:

            async def listen() -> None:
                with pytest.raises(PluginUnavailableError):
                    async with world.session().listen(NAME) as messages:
                        await anext(messages)

            nursery.start_soon(listen)
            await wait_all_tasks_blocked()
            began = trio.current_time()
        assert trio.current_time() - began < 0.1


# Swaps


async def test_a_listening_goes_on_with_the_version_that_takes_over(
    autojump_clock: MockClock,
) -> None:
    async with channel_world(hearing("old")) as world, trio.open_nursery() as nursery:
        world.tier.set_plugin(NAME, plugins(hearing("new", then=silence), start_s=2)[NAME])
        async with world.session().listen(NAME) as messages:
            assert (await anext(messages)).content == "old"
            nursery.start_soon(world.runtime.reload, NAME)
            assert [one.content async for one in messages] == ["new"]
            assert trio.current_time() == pytest.approx(2)
    asks = [(ask.capability, ask.generation) for ask in world.tier.asks]
    assert asks == [("channel.listen", 1), ("channel.listen", 2)]
    checks = await world.store.query(AuditFilter(capability="channel.listen", result="allowed"))
    assert len(checks) == 2
    outcomes = await world.store.query(AuditFilter(action="outcome"))
    assert [one.result for one in outcomes] == ["stopped", "ok"]


async def test_a_message_that_was_received_before_a_swap_comes_before_the_new_ones(
    autojump_clock: MockClock,
) -> None:
    async with channel_world(hearing("old")) as world:
        world.tier.set_plugin(NAME, plugins(hearing("new", then=silence))[NAME])
        async with world.session().listen(NAME) as messages:
            await world.runtime.reload(NAME)
            assert [one.content async for one in messages] == ["old", "new"]


async def test_where_the_new_version_fails_a_listening_goes_on_with_the_old(
    autojump_clock: MockClock,
) -> None:
    async with channel_world(hearing("heard"), start_s=1) as world:
        failing = plugins(hearing("new"), on_start={2: Fail("no such module")}, start_s=1)[NAME]
        world.tier.set_plugin(NAME, failing)
        async with world.session().listen(NAME) as messages, trio.open_nursery() as nursery:
            assert (await anext(messages)).content == "heard"

            async def reload() -> None:
                with pytest.raises(Exception, match="no such module"):
                    await world.runtime.reload(NAME)

            nursery.start_soon(reload)
            assert (await anext(messages)).content == "new"
            assert world.runtime.get(NAME).generation == 3


async def test_a_new_version_that_never_comes_ends_a_listening_in_time(
    autojump_clock: MockClock,
) -> None:
    settings = RuntimeSettings(swap_wait_s=4, start_timeout_s=50)
    async with (
        open_world(channel_manifest(), plugins=plugins(), settings=settings) as world,
        trio.open_nursery() as nursery,
    ):
        world.tier.set_plugin(NAME, plugins(start_s=20)[NAME])
        async with world.session().listen(NAME) as messages:
            nursery.start_soon(world.runtime.reload, NAME)
            with pytest.raises(PluginUnavailableError, match="reloading"):
                await anext(messages)
            assert trio.current_time() == pytest.approx(4)


async def test_a_new_version_that_may_not_be_listened_to_ends_a_listening(
    autojump_clock: MockClock,
) -> None:
    async with channel_world() as world:
        async with world.session().listen(NAME) as messages:
            actor = world.runtime._plugins.get(NAME)
            narrower = attrs.evolve(actor.definition, manifest=channel_manifest("channel.send"))
            await actor.reload(narrower)
            with pytest.raises(CapabilityDeniedError, match=r"channel\.listen"):
                await anext(messages)


async def test_a_listening_that_begins_within_a_drain_is_refused_at_once(
    autojump_clock: MockClock,
) -> None:
    """A drain lets in what its calls go on to call; a listening would outstay it."""

    errors: list[str] = []

    async def listen_again(call: HostCall) -> bytes:
        assert call.session is not None
        try:
            async with call.session.listen(NAME):
                pass
        except PluginUnavailableError as error:
            errors.append(error.reason)
        return b""

    async def tool(request: ExecuteRequest, host: HostFunctions) -> AsyncGenerator[str]:
        await trio.sleep(1)
        await host.call("again", b"", request.session_id)
        yield "done"

    channel = FakePlugin(tools={"again": tool}, channel=FakeChannel())
    async with open_world(
        channel_manifest("channel.*", "again", "tool.*"),
        plugins={NAME: channel},
        host_functions={"again": listen_again},
    ) as world:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(world.session().execute_text, NAME, "again")
            await wait_all_tasks_blocked()
            await world.runtime.drain(NAME)
    assert errors == ["draining"]
    asked = await world.store.query(AuditFilter(capability="channel.listen"))
    assert asked == ()


async def test_a_user_without_permission_hears_nothing() -> None:
    async with channel_world(hearing("one")) as world:
        session = alice(world.runtime, user=CapabilitySet("channel.send"))
        with pytest.raises(CapabilityDeniedError, match="user_permission_missing"):
            async with session.listen(NAME):
                pass
