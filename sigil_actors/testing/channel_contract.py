# ruff: noqa: D102, S101 - the name of a test is its sentence, and tests assert
# ruff: noqa: PT012, SIM117 - which block is left by which error is what is tested
"""What a session must do with a channel plugin, as tests; for tiers that have channels.

    class TestMyTiersChannels(ChannelSessionContract):
        @pytest.fixture
        def open_channel(self):
            return open_my_echo_channel

Each call of `open_channel` opens a session with a channel plugin that behaves like this:

- Listened to, it hears `FIRST` at once, with the listening's session id as the metadata `session`,
  and from then on what it is told to send, as a message with the sent one's id as its id, the same
  content, channel, thread and attachments, and the metadata `session`, `typing` (`true` or `false`)
  and `reply_to`. What it is told to send while nobody listens is lost.
- What it sends gets the id `sent CONTENT`. Told to send `refuse`, it answers with the error
  `it went wrong`; told to send `crash`, it takes its instance down.
- It shows any presence. A user of the id U is `identity_of(U, session id)`.

The session has had its `init` with an empty configuration. Time is real, or virtual: no test
sleeps.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import attrs
import pytest
import trio
import trio.testing

from sigil_actors.core.calls import HealthStatus
from sigil_actors.core.channel_calls import (
    InboundMessage,
    MediaAttachment,
    PresenceStatus,
    SendRequest,
    UserIdentity,
)
from sigil_actors.errors import PluginCallError, PluginCrashedError
from sigil_actors.ports.tier import TierSession

OpenChannel = Callable[[], AbstractAsyncContextManager[TierSession]]

FIRST = InboundMessage(
    message_id="m1",
    channel_id="c1",
    sender=UserIdentity(
        user_id="u1", platform="contract", platform_user_id="4711", display_name="Bób \U0001f600"
    ),
    content="Ünïcode \x00 \U0001f600\n",
    thread_id="t1",
    media=[
        MediaAttachment(
            url="https://example.org/1.png", mime_type="image/png", filename="1", size_bytes=1 << 40
        )
    ],
    timestamp=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    metadata={"a": "1"},
)

SENT = SendRequest(
    channel_id="c2",
    content="hello",
    thread_id="t2",
    media=FIRST.media,
    typing_indicator=True,
    reply_to_message_id="m0",
)


def identity_of(platform_user_id: str, session_id: str) -> UserIdentity:
    """Return who the contract's plugin says that somebody is."""
    return UserIdentity(
        user_id=session_id,
        platform="contract",
        platform_user_id=platform_user_id,
        display_name=f"user {platform_user_id}",
    )


class ChannelSessionContract:
    """The tests. The fixture `open_channel` comes from the class that inherits."""

    async def test_a_message_arrives_whole_with_the_callers_token_beside(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            async with session.listen(session_id="token") as messages:
                heard = await anext(messages)
        assert heard == attrs.evolve(FIRST, metadata={"a": "1", "session": "token"})

    async def test_what_is_sent_arrives_whole_in_order_while_somebody_listens(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            async with session.listen(session_id="token") as messages:
                await anext(messages)
                result = await session.send(SENT, session_id="another")
                assert result.platform_message_id == "sent hello"
                for number in range(20):
                    await session.send(_message(f"{number}"), session_id="another")
                heard = await anext(messages)
                assert [(await anext(messages)).content for _ in range(20)] == list(
                    map(str, range(20))
                )
        assert (heard.message_id, heard.channel_id, heard.thread_id, heard.content) == (
            "sent hello",
            "c2",
            "t2",
            "hello",
        )
        assert heard.media == SENT.media
        assert heard.metadata == {"session": "another", "typing": "true", "reply_to": "m0"}

    async def test_a_large_message_arrives_whole(self, open_channel: OpenChannel) -> None:
        async with open_channel() as session:
            async with session.listen(session_id="token") as messages:
                await anext(messages)
                await session.send(_message("x" * 200_000), session_id="token")
                assert (await anext(messages)).content == "x" * 200_000

    async def test_a_message_that_isnt_sent_is_an_error_and_the_session_goes_on(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            with pytest.raises(PluginCallError, match="it went wrong"):
                await session.send(_message("refuse"), session_id="token")
            assert (await session.send(SENT, session_id="token")).platform_message_id

    @pytest.mark.parametrize("status", list(PresenceStatus))
    async def test_a_presence_is_shown(
        self, open_channel: OpenChannel, status: PresenceStatus
    ) -> None:
        async with open_channel() as session:
            await session.update_presence("c1", status, session_id="token")

    async def test_it_tells_who_somebody_is(self, open_channel: OpenChannel) -> None:
        async with open_channel() as session:
            told = await session.get_identity("4711", session_id="token")
        assert told == identity_of("4711", "token")

    async def test_a_listening_left_early_is_over_and_the_next_works(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            for _ in range(3):
                async with session.listen(session_id="token") as messages:
                    assert (await anext(messages)).message_id == "m1"
            assert (await session.health()).status is HealthStatus.HEALTHY

    async def test_a_cancelled_wait_for_a_message_leaves_the_session_usable(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            async with session.listen(session_id="token") as messages:
                await anext(messages)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_take, messages)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    nursery.cancel_scope.cancel()
            assert (await session.health()).status is HealthStatus.HEALTHY

    async def test_an_error_of_the_body_leaves_it_bare(self, open_channel: OpenChannel) -> None:
        async with open_channel() as session:
            with pytest.raises(ZeroDivisionError):
                async with session.listen(session_id="token") as messages:
                    async for _ in messages:
                        raise ZeroDivisionError

    async def test_a_crash_is_told_to_whoever_listens_sends_or_comes_later(
        self, open_channel: OpenChannel
    ) -> None:
        async with open_channel() as session:
            async with session.listen(session_id="token") as messages:
                await anext(messages)
                with pytest.raises(PluginCrashedError):
                    await session.send(_message("crash"), session_id="token")
                with pytest.raises(PluginCrashedError):
                    await anext(messages)
            assert (await session.wait_ended()).reason
            with pytest.raises(PluginCrashedError):
                await session.send(SENT, session_id="token")
            with pytest.raises(PluginCrashedError):
                async with session.listen(session_id="token") as messages:
                    await anext(messages)

    async def test_leaving_the_session_ends_the_listening_in_it(
        self, open_channel: OpenChannel
    ) -> None:
        async with trio.open_nursery() as nursery:
            async with open_channel() as session:
                started = trio.Event()

                async def listen() -> None:
                    with pytest.raises(PluginCrashedError):
                        async with session.listen(session_id="token") as messages:
                            async for _ in messages:
                                started.set()

                nursery.start_soon(listen)
                await started.wait()
                await trio.testing.wait_all_tasks_blocked()


def _message(content: str) -> SendRequest:
    return SendRequest(channel_id="c1", content=content)


async def _take(messages: AsyncIterator[InboundMessage]) -> None:
    await anext(messages)
