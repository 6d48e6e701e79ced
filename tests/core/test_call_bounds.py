"""The bounds of what is said to channels and providers, and by them."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.call_bounds import (
    ID_CHARACTERS_MAX,
    METADATA_CHARACTERS_MAX,
    METADATA_ENTRIES_MAX,
    metadata_problem,
    number_problem,
    text_problem,
)
from sigil_actors.core.calls import ToolDefinition
from sigil_actors.core.channel_calls import (
    CONTENT_CHARACTERS_MAX,
    MEDIA_MAX,
    InboundMessage,
    MediaAttachment,
    SendRequest,
    SendResult,
    UserIdentity,
    identity_problem,
    inbound_problem,
    send_problem,
    sent_problem,
)
from sigil_actors.core.provider_calls import (
    CHAT_CHARACTERS_MAX,
    CHAT_MESSAGES_MAX,
    CHAT_TOOLS_MAX,
    DELTA_CHARACTERS_MAX,
    MODELS_MAX,
    STATUS_CHARACTERS_MAX,
    STOP_SEQUENCES_MAX,
    ChatOptions,
    ChatRequest,
    Done,
    Message,
    ModelInfo,
    ProviderStatus,
    Role,
    TextDelta,
    TokenUsage,
    ToolCall,
    chat_problem,
    event_problem,
    models_problem,
    status_problem,
)


def changed(sound: Any, **changes: Any) -> Any:
    return attrs.evolve(sound, **changes)


NAIVE = datetime(2026, 1, 1)
LONG_ID = "x" * (ID_CHARACTERS_MAX + 1)

MEDIA = MediaAttachment(url="https://example.org/a.png", mime_type="image/png", size_bytes=1)
INBOUND = InboundMessage(
    message_id="m1",
    channel_id="c1",
    sender=UserIdentity(display_name="Bób \U0001f600"),
    content="x" * CONTENT_CHARACTERS_MAX,
    media=[MEDIA] * MEDIA_MAX,
    timestamp=datetime.now(UTC),
    metadata={"k": "v"},
)
SEND = SendRequest(channel_id="c1", content="hello", media=[MEDIA])
MESSAGE = Message(role=Role.USER, content="hello", created_at=datetime.now(UTC))
TOOL = ToolDefinition("echo", "says it again", {})
CHAT = ChatRequest(
    model="m", messages=[MESSAGE], tools=[TOOL], options=ChatOptions(stop_sequences=["END"])
)
STATUS = ProviderStatus(available=True, message="fine", last_failure_at=datetime.now(UTC))


@pytest.mark.parametrize(
    ("problem", "sound"),
    [
        (inbound_problem, INBOUND),
        (send_problem, SEND),
        (sent_problem, SendResult(platform_message_id="1")),
        (identity_problem, UserIdentity(display_name="x" * ID_CHARACTERS_MAX)),
        (chat_problem, CHAT),
        (chat_problem, changed(CHAT, options=None)),
        (event_problem, TextDelta("x" * DELTA_CHARACTERS_MAX)),
        (event_problem, ToolCall(id="1", name="echo", arguments="{}")),
        (event_problem, TokenUsage(input_tokens=1)),
        (event_problem, Done()),
        (models_problem, [ModelInfo(id="m")] * MODELS_MAX),
        (status_problem, STATUS),
    ],
)
def test_what_is_within_the_bounds_is_no_problem(problem: Callable[[Any], str], sound: Any) -> None:
    assert problem(sound) == ""


@pytest.mark.parametrize(
    ("problem", "unsound"),
    [
        *(
            (inbound_problem, changed(INBOUND, **{name: value}))
            for name, value in {
                "message_id": LONG_ID,
                "channel_id": LONG_ID,
                "thread_id": LONG_ID,
                "content": "x" * (CONTENT_CHARACTERS_MAX + 1),
                "timestamp": NAIVE,
                "sender": UserIdentity(display_name=LONG_ID),
                "metadata": {"k": "\ud800"},
                "media": [MEDIA] * (MEDIA_MAX + 1),
            }.items()
        ),
        *(
            (send_problem, changed(SEND, **{name: value}))
            for name, value in {
                "channel_id": LONG_ID,
                "thread_id": LONG_ID,
                "reply_to_message_id": LONG_ID,
                "content": "x" * (CONTENT_CHARACTERS_MAX + 1),
                "media": [changed(MEDIA, size_bytes=1 << 63)],
            }.items()
        ),
        *(
            (send_problem, changed(SEND, media=[changed(MEDIA, **{name: value})]))
            for name, value in {
                "url": "x" * 10_000,
                "mime_type": LONG_ID,
                "filename": LONG_ID,
            }.items()
        ),
        (sent_problem, SendResult(platform_message_id=LONG_ID)),
        *(
            (identity_problem, UserIdentity(**{field.name: LONG_ID}))
            for field in attrs.fields(UserIdentity)
        ),
        *(
            (chat_problem, changed(CHAT, **{name: value}))
            for name, value in {
                "model": LONG_ID,
                "messages": [MESSAGE] * (CHAT_MESSAGES_MAX + 1),
                "tools": [TOOL] * (CHAT_TOOLS_MAX + 1),
                "system_prompt": "x" * (CHAT_CHARACTERS_MAX + 1),
            }.items()
        ),
        *(
            (chat_problem, changed(CHAT, messages=[changed(MESSAGE, **{name: value})]))
            for name, value in {
                "id": LONG_ID,
                "session_id": LONG_ID,
                "tool_call_id": LONG_ID,
                "tool_name": LONG_ID,
                "content": "half a pair \udc00",
                "created_at": NAIVE,
                "metadata": {"k": "v" * METADATA_CHARACTERS_MAX},
            }.items()
        ),
        *(
            (chat_problem, changed(CHAT, options=changed(ChatOptions(), **{name: value})))
            for name, value in {
                "temperature": float("inf"),
                "max_tokens": 1 << 31,
                "stop_sequences": ["x"] * (STOP_SEQUENCES_MAX + 1),
            }.items()
        ),
        (chat_problem, changed(CHAT, options=ChatOptions(stop_sequences=[LONG_ID]))),
        (chat_problem, changed(CHAT, tools=[ToolDefinition(LONG_ID, "", {})])),
        (chat_problem, changed(CHAT, tools=[ToolDefinition("a", "\ud800", {})])),
        (event_problem, TextDelta("x" * (DELTA_CHARACTERS_MAX + 1))),
        *(
            (event_problem, ToolCall(**{"id": "1", "name": "a", "arguments": "{}", name: value}))
            for name, value in {
                "id": LONG_ID,
                "name": LONG_ID,
                "arguments": "x" * (DELTA_CHARACTERS_MAX + 1),
            }.items()
        ),
        (models_problem, [ModelInfo(id="m")] * (MODELS_MAX + 1)),
        (models_problem, [ModelInfo(id="m", provider=LONG_ID)]),
        (status_problem, changed(STATUS, provider=LONG_ID)),
        (status_problem, changed(STATUS, message="x" * (STATUS_CHARACTERS_MAX + 1))),
        (status_problem, changed(STATUS, last_failure_at=NAIVE)),
        (status_problem, changed(STATUS, cooldown_until=NAIVE)),
    ],
)
def test_what_is_over_a_bound_is_named(problem: Callable[[Any], str], unsound: Any) -> None:
    said = problem(unsound)
    assert said
    assert len(said) < 200
    assert said.isprintable()


def test_many_texts_are_bounded_together() -> None:
    half = Message(role=Role.USER, content="x" * (CHAT_CHARACTERS_MAX // 2))
    assert chat_problem(changed(CHAT, messages=[half, half])) != ""
    assert metadata_problem({str(n): "" for n in range(METADATA_ENTRIES_MAX)}) == ""
    assert metadata_problem({str(n): "" for n in range(METADATA_ENTRIES_MAX + 1)}) != ""


@given(text=st.text(alphabet=st.characters(codec=None, categories=None), max_size=30))
def test_a_text_without_a_problem_can_be_encoded(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        assert text_problem("it", text) != ""
    else:
        assert text_problem("it", text) == ""


@given(number=st.integers(-(1 << 40), 1 << 40))
def test_a_number_without_a_problem_fits(number: int) -> None:
    try:
        number.to_bytes(4, "big", signed=True)
    except OverflowError:
        assert number_problem("it", number, bits=32) != ""
    else:
        assert number_problem("it", number, bits=32) == ""
