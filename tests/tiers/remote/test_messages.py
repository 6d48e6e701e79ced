"""Values survive the wire as they are, and a hostile message becomes an error within bounds."""

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from types import MappingProxyType
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import channel_pb2, lifecycle_pb2, provider_pb2, tool_pb2
from sigil_actors.core.call_bounds import METADATA_ENTRIES_MAX
from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus, ToolDefinition
from sigil_actors.core.channel_calls import (
    MEDIA_MAX,
    MediaAttachment,
    PresenceStatus,
    SendRequest,
)
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.provider_calls import (
    MODELS_MAX,
    ChatOptions,
    ChatRequest,
    Done,
    Message,
    Role,
    TextDelta,
    TokenUsage,
    ToolCall,
)
from sigil_actors.tiers.remote import channel_messages, messages, provider_messages
from sigil_actors.tiers.remote.messages import (
    DESCRIPTION_BYTES_MAX,
    INT32_MAX,
    TOOLS_MAX,
    VALUES_MAX,
    Chunk,
    InitAnswer,
    MalformedMessageError,
    TooLargeError,
    UnwritableError,
)
from sigil_actors.tiers.remote.provider_messages import ChatFailedError

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 53), 1 << 53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)


@given(json_objects, st.text(min_size=1), st.text())
def test_a_tool_arrives_with_its_schema_as_it_was(
    schema: JsonObject, name: str, description: str
) -> None:
    answer = tool_pb2.DescribeResponse()
    with messages.writing():
        messages.write_tool(answer.tools.add(), ToolDefinition(name, description, schema))
    arrived = tool_pb2.DescribeResponse.FromString(answer.SerializeToString())
    (tool,) = messages.read_tools(arrived)
    assert tool == ToolDefinition(name, description, schema)


def test_a_configuration_may_be_made_of_any_mappings_and_sequences() -> None:
    config = MappingProxyType({"a": MappingProxyType({"b": (1, [None, True, 0.5])}), "e": {}})
    request = messages.write_init(config)
    answer = tool_pb2.DescribeResponse()
    answer.tools.add(name="x").input_schema.MergeFrom(
        common_pb2.ToolDefinition.FromString(
            common_pb2.ToolDefinition(input_schema=request.config).SerializeToString()
        ).input_schema
    )
    (tool,) = messages.read_tools(answer)
    assert tool.input_schema == {"a": {"b": [1, [None, True, 0.5]]}, "e": {}}
    assert messages.write_init({}).HasField("config")


@pytest.mark.parametrize(
    "config",
    [
        {"n": (1 << 53) + 1},
        {"n": math.nan},
        {"n": math.inf},
        {"t": "\ud800"},
        {"\ud800": 1},
        {"o": object()},
        {1: "x"},
    ],
)
def test_a_configuration_that_would_arrive_as_something_else_is_refused(
    config: JsonObject,
) -> None:
    with pytest.raises(UnwritableError):
        messages.write_init(config)


def test_a_configuration_that_holds_itself_is_refused() -> None:
    config: dict[str, object] = {}
    config["self"] = config
    with pytest.raises(UnwritableError):
        messages.write_init(config)  # type: ignore[arg-type]


def test_answers_of_the_lifecycle_are_read_and_escaped() -> None:
    assert messages.read_init_answer(lifecycle_pb2.InitResponse(ok=True)) == InitAnswer(True, "")
    assert messages.read_init_answer(lifecycle_pb2.InitResponse(error="a\x1b[2J")) == InitAnswer(
        False, "a\\x1b[2J"
    )
    for number, status in enumerate(HealthStatus, start=1):
        answer = lifecycle_pb2.HealthResponse(status=number, message="a\n")  # type: ignore[arg-type]
        assert messages.read_health(answer) == Health(status, "a\\x0a")


def test_a_plugin_that_does_not_say_how_it_is_is_degraded() -> None:
    for number in (0, 17):
        answer = lifecycle_pb2.HealthResponse(status=number)  # type: ignore[arg-type]
        said = messages.read_health(answer)
        assert said == Health(HealthStatus.DEGRADED, "it didn't say how it is")


def test_times_that_are_too_long_for_the_contract_become_its_longest() -> None:
    assert messages.write_shutdown(1e12).timeout_seconds == INT32_MAX
    assert messages.write_shutdown(0.1).timeout_seconds == 1
    request = ExecuteRequest(tool_name="t", arguments="{}", session_id="s", timeout_seconds=1 << 40)
    assert messages.write_execute(request).timeout_seconds == INT32_MAX


def test_a_request_with_half_a_character_is_refused() -> None:
    with pytest.raises(UnwritableError):
        messages.write_execute(ExecuteRequest(tool_name="t", arguments='"\ud800"', session_id="s"))


def test_a_chunk_is_text_an_error_or_the_end() -> None:
    assert messages.read_chunk(tool_pb2.ExecuteChunk(text="a\x1b")) == Chunk("a\x1b")
    assert messages.read_chunk(tool_pb2.ExecuteChunk(error="a\x1b")) == Chunk(error="a\\x1b")
    assert messages.read_chunk(tool_pb2.ExecuteChunk(error="")) == Chunk(error="")
    assert messages.read_chunk(tool_pb2.ExecuteChunk(done=True)) == Chunk(done=True)
    assert messages.read_chunk(tool_pb2.ExecuteChunk()) == Chunk()


def test_a_description_is_bounded_in_tools_bytes_and_values() -> None:
    answer = tool_pb2.DescribeResponse()
    for number in range(TOOLS_MAX):
        answer.tools.add(name=f"{number}")
    assert len(messages.read_tools(answer)) == TOOLS_MAX
    answer.tools.add(name="one more")
    with pytest.raises(TooLargeError, match="tools"):
        messages.read_tools(answer)

    long = common_pb2.ToolDefinition(name="x", description="x" * DESCRIPTION_BYTES_MAX)
    with pytest.raises(TooLargeError, match="bytes"):
        messages.read_tools(tool_pb2.DescribeResponse(tools=[long]))

    wide = tool_pb2.DescribeResponse()
    for name in "ab":  # neither is over the bound by itself
        schema = wide.tools.add(name=name).input_schema
        # An empty value is two bytes on the wire: a megabyte holds half a million.
        schema.fields["x"].list_value.MergeFromString(b"\x0a\x00" * (VALUES_MAX // 2))
    with pytest.raises(TooLargeError, match="values"):
        messages.read_tools(wide)


def test_a_tool_without_a_name_or_with_no_number_is_malformed() -> None:
    nameless = tool_pb2.DescribeResponse(tools=[common_pb2.ToolDefinition()])
    with pytest.raises(MalformedMessageError, match="no name"):
        messages.read_tools(nameless)
    answer = tool_pb2.DescribeResponse()
    answer.tools.add(name="x").input_schema.fields["n"].number_value = math.inf
    with pytest.raises(MalformedMessageError, match="number"):
        messages.read_tools(answer)


@given(st.binary(max_size=200))
def test_no_bytes_whatever_make_a_reader_raise_anything_but_its_own_errors(data: bytes) -> None:
    readers: tuple[tuple[Any, Callable[[Any], object]], ...] = (
        (tool_pb2.DescribeResponse, messages.read_tools),
        (tool_pb2.ExecuteChunk, messages.read_chunk),
        (lifecycle_pb2.HealthResponse, messages.read_health),
        (channel_pb2.InboundMessage, channel_messages.read_inbound),
        (common_pb2.UserIdentity, channel_messages.read_identity),
        (provider_pb2.ListModelsResponse, provider_messages.read_models),
        (provider_pb2.ChatEvent, provider_messages.read_event),
        (provider_pb2.StatusResponse, provider_messages.read_status),
    )
    for kind, read in readers:
        message = kind()
        try:
            message.MergeFromString(data)
        except DecodeError:
            continue
        try:
            read(message)
        except (MalformedMessageError, TooLargeError, ChatFailedError):
            continue


def test_a_message_with_too_many_parts_is_refused_before_they_are_read() -> None:
    message = channel_pb2.InboundMessage(
        metadata={f"{number}": "" for number in range(METADATA_ENTRIES_MAX + 1)}
    )
    with pytest.raises(MalformedMessageError, match="metadata"):
        channel_messages.read_inbound(message)
    message = channel_pb2.InboundMessage(media=[channel_pb2.MediaAttachment()] * (MEDIA_MAX + 1))
    with pytest.raises(MalformedMessageError, match="attachments"):
        channel_messages.read_inbound(message)
    models = provider_pb2.ListModelsResponse(models=[provider_pb2.ModelInfo()] * (MODELS_MAX + 1))
    with pytest.raises(TooLargeError, match="models"):
        provider_messages.read_models(models)


@pytest.mark.parametrize(("seconds", "nanos"), [(1 << 62, 0), (-(1 << 62), 0), (0, 1 << 30)])
def test_a_moment_that_there_is_none_of_is_malformed(seconds: int, nanos: int) -> None:
    message = channel_pb2.InboundMessage()
    message.timestamp.seconds = seconds
    message.timestamp.nanos = nanos
    with pytest.raises(MalformedMessageError, match="timestamp"):
        channel_messages.read_inbound(message)


def test_what_is_sent_is_written_whole() -> None:
    request = SendRequest(
        channel_id="c",
        content="x",
        thread_id="t",
        media=[MediaAttachment(url="u", mime_type="m", filename="f", size_bytes=1 << 40)],
        typing_indicator=True,
        reply_to_message_id="r",
    )
    message = channel_messages.write_send(request)
    assert (message.channel_id, message.content, message.thread_id) == ("c", "x", "t")
    assert (message.typing_indicator, message.reply_to_message_id) == (True, "r")
    (media,) = message.media
    assert (media.url, media.mime_type, media.filename, media.size_bytes) == (
        "u",
        "m",
        "f",
        1 << 40,
    )
    for status in PresenceStatus:
        said = channel_messages.write_presence("c", status).status
        assert channel_pb2.PresenceStatus.Name(said) == f"PRESENCE_STATUS_{status.name}"


def test_a_chat_is_written_whole_with_moments_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=2)))
    message = Message(role=Role.TOOL, content="x", created_at=moment, metadata={"a": "b"})
    chat = provider_messages.write_chat(
        ChatRequest(
            model="m",
            messages=[message],
            tools=[ToolDefinition("t", "d", {"type": "object"})],
            options=ChatOptions(temperature=0.5, max_tokens=3, stop_sequences=["s"]),
        )
    )
    (written,) = chat.messages
    assert common_pb2.Role.Name(written.role) == "ROLE_TOOL"
    assert written.created_at.ToDatetime(tzinfo=UTC) == moment
    assert dict(written.metadata) == {"a": "b"}
    assert chat.options.stream is True
    assert not provider_messages.write_chat(ChatRequest(model="m", messages=[])).HasField("options")


def test_a_chat_that_does_not_fit_is_refused() -> None:
    for options in (ChatOptions(max_tokens=1 << 40), ChatOptions(stop_sequences=["\ud800"])):
        with pytest.raises(UnwritableError):
            provider_messages.write_chat(ChatRequest(model="m", messages=[], options=options))


def test_events_of_a_chat_are_read() -> None:
    event = provider_pb2.ChatEvent
    read = provider_messages.read_event
    assert read(event(text_delta=provider_pb2.TextDelta(text="x"))) == TextDelta("x")
    assert read(event(tool_call=common_pb2.ToolCall(id="1", name="n", arguments="{"))) == ToolCall(
        id="1", name="n", arguments="{"
    )
    assert read(event(usage=common_pb2.Usage(input_tokens=7))) == TokenUsage(input_tokens=7)
    assert read(event(done=True)) == Done()
    assert read(event(done=False)) is None
    assert read(event()) is None
    with pytest.raises(ChatFailedError, match="it went wrong"):
        read(event(error="it went wrong"))
