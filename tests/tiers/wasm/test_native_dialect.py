"""The dialect's messages: what is read of them, and that only its own errors come out."""

import base64
import json
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.calls import ExecuteRequest, Health, HealthStatus, ToolDefinition
from sigil_actors.tiers.wasm import native_dialect as dialect

READERS = [
    dialect.read_init_answer,
    dialect.read_health,
    dialect.read_shutdown_answer,
    dialect.read_tools,
    dialect.read_chunk,
    dialect.read_call,
    dialect.read_check,
]
FIELDS = (
    "ok", "error", "status", "message", "clean", "tools", "text", "done", "capability", "payload",
    "sessionId", "session_id", "name", "description", "inputSchema", "input_schema",
)  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4)
    ),
    max_leaves=8,
)
messages = st.one_of(
    st.binary(),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(FIELDS), json_values).map(
        lambda value: json.dumps(value).encode()
    ),
)


@pytest.mark.parametrize("read", READERS)
@given(data=messages)
def test_any_bytes_are_read_or_refused(read, data: bytes) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    try:
        read(data)
    except (dialect.MalformedMessageError, dialect.TooManyToolsError) as error:
        assert str(error).isprintable()  # noqa: PT017 - most examples raise nothing


@given(payload=st.binary())
def test_bytes_come_in_both_alphabets_with_or_without_padding(payload: bytes) -> None:
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for text in (encode(payload).decode(), encode(payload).decode().rstrip("=")):
            assert dialect.read_call(json.dumps({"payload": text}).encode()).payload == payload


def test_an_empty_message_has_its_defaults() -> None:
    assert dialect.read_init_answer(b"") == dialect.InitAnswer(ok=False, error="")
    assert dialect.read_shutdown_answer(b"") is False
    assert dialect.read_tools(b"") == ()
    assert dialect.read_chunk(b"") == dialect.Chunk()
    assert dialect.read_call(b'{"payload":null}') == dialect.CallAsked("", b"", "")


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (1, HealthStatus.HEALTHY),
        ("HEALTH_STATUS_HEALTHY", HealthStatus.HEALTHY),
        (2, HealthStatus.DEGRADED),
        ("HEALTH_STATUS_UNHEALTHY", HealthStatus.UNHEALTHY),
        (0, HealthStatus.DEGRADED),
        (None, HealthStatus.DEGRADED),
        (True, HealthStatus.DEGRADED),
        ([1], HealthStatus.DEGRADED),
        ("nonsense", HealthStatus.DEGRADED),
    ],
)
def test_health_is_a_word_or_a_number(status: object, health: HealthStatus) -> None:
    assert dialect.read_health(json.dumps({"status": status}).encode()).status is health


def test_what_a_plugin_says_of_its_health_is_escaped() -> None:
    told = dialect.read_health(b'{"status":2,"message":"\\u001b[2J"}')
    assert told == Health(HealthStatus.DEGRADED, r"\x1b[2J")


@pytest.mark.parametrize("key", ["inputSchema", "input_schema"])
def test_tools_are_read_in_both_spellings(key: str) -> None:
    data = json.dumps({"tools": [{"name": "t", "description": "d", key: {"type": "object"}}]})
    assert dialect.read_tools(data.encode()) == (ToolDefinition("t", "d", {"type": "object"}),)


def test_a_list_of_tools_is_bounded() -> None:
    tools = [{"name": f"t{number}"} for number in range(257)]
    with pytest.raises(dialect.TooManyToolsError):
        dialect.read_tools(json.dumps({"tools": tools}).encode())
    assert len(dialect.read_tools(json.dumps({"tools": tools[1:]}).encode())) == 256


@pytest.mark.parametrize(
    "tools", ["x", [5], [{}], [{"name": ""}], [{"name": "t", "inputSchema": 5}]]
)
def test_tools_that_are_none_are_refused(tools: object) -> None:
    with pytest.raises(dialect.MalformedMessageError):
        dialect.read_tools(json.dumps({"tools": tools}).encode())


def test_requests_are_written_as_protobuf_writes_them() -> None:
    request = ExecuteRequest(tool_name="t", arguments='{"a":"é"}', session_id="s")
    assert json.loads(dialect.write_execute(request)) == {
        "toolName": "t", "arguments": '{"a":"é"}', "sessionId": "s", "timeoutSeconds": 0,
    }  # fmt: skip
    frozen = MappingProxyType({"a": (1, MappingProxyType({"b": None}))})
    assert json.loads(dialect.write_init(frozen)) == {"config": {"a": [1, {"b": None}]}}
    assert json.loads(dialect.write_shutdown(5)) == {"timeoutSeconds": 5}
    assert json.loads(dialect.write_call_answer(b"\0\xff")) == {"payload": "AP8="}
