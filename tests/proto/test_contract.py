"""Names and numbers on the wire, written down a second time, independently of the `.proto` files.

Other programs rely on them: whoever changes a line here breaks plugins that already exist.
"""

import importlib
from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import (
    Descriptor,
    EnumDescriptor,
    FieldDescriptor,
    FileDescriptor,
    MethodDescriptor,
)

FILES = (
    "common.v1.common",
    "grpc.health.v1.health",
    "plugin.broker",
    "plugin.controller",
    "plugin.stdio",
    "plugin.v1.channel",
    "plugin.v1.lifecycle",
    "plugin.v1.provider",
    "plugin.v1.tool",
    "sigil.host.v1.host",
)

CONTRACT = """
grpc.health.v1.Health/Check grpc.health.v1.HealthCheckRequest -> grpc.health.v1.HealthCheckResponse
grpc.health.v1.Health/Watch \
grpc.health.v1.HealthCheckRequest -> stream grpc.health.v1.HealthCheckResponse
grpc.health.v1.HealthCheckRequest 1 string service
grpc.health.v1.HealthCheckResponse 1 grpc.health.v1.HealthCheckResponse.ServingStatus status
grpc.health.v1.HealthCheckResponse.ServingStatus 0 UNKNOWN
grpc.health.v1.HealthCheckResponse.ServingStatus 1 SERVING
grpc.health.v1.HealthCheckResponse.ServingStatus 2 NOT_SERVING
grpc.health.v1.HealthCheckResponse.ServingStatus 3 SERVICE_UNKNOWN

plugin.GRPCController/Shutdown plugin.Empty -> plugin.Empty
plugin.Empty

plugin.GRPCStdio/StreamStdio google.protobuf.Empty -> stream plugin.StdioData
plugin.StdioData 1 plugin.StdioData.Channel channel
plugin.StdioData 2 bytes data
plugin.StdioData.Channel 0 INVALID
plugin.StdioData.Channel 1 STDOUT
plugin.StdioData.Channel 2 STDERR

plugin.GRPCBroker/StartStream stream plugin.ConnInfo -> stream plugin.ConnInfo
plugin.ConnInfo 1 uint32 service_id
plugin.ConnInfo 2 string network
plugin.ConnInfo 3 string address
plugin.ConnInfo 4 plugin.ConnInfo.Knock knock
plugin.ConnInfo.Knock 1 bool knock
plugin.ConnInfo.Knock 2 bool ack
plugin.ConnInfo.Knock 3 string error

plugin.v1.PluginLifecycle/Init plugin.v1.InitRequest -> plugin.v1.InitResponse
plugin.v1.PluginLifecycle/Health plugin.v1.HealthRequest -> plugin.v1.HealthResponse
plugin.v1.PluginLifecycle/Shutdown plugin.v1.ShutdownRequest -> plugin.v1.ShutdownResponse
plugin.v1.InitRequest 1 google.protobuf.Struct config
plugin.v1.InitResponse 1 bool ok
plugin.v1.InitResponse 2 string error
plugin.v1.HealthRequest
plugin.v1.HealthResponse 1 plugin.v1.HealthStatus status
plugin.v1.HealthResponse 2 string message
plugin.v1.HealthStatus 0 HEALTH_STATUS_UNSPECIFIED
plugin.v1.HealthStatus 1 HEALTH_STATUS_HEALTHY
plugin.v1.HealthStatus 2 HEALTH_STATUS_DEGRADED
plugin.v1.HealthStatus 3 HEALTH_STATUS_UNHEALTHY
plugin.v1.ShutdownRequest 1 int32 timeout_seconds
plugin.v1.ShutdownResponse 1 bool clean

plugin.v1.Channel/Start plugin.v1.StartRequest -> stream plugin.v1.InboundMessage
plugin.v1.Channel/Send plugin.v1.SendRequest -> plugin.v1.SendResponse
plugin.v1.Channel/UpdatePresence plugin.v1.PresenceRequest -> plugin.v1.PresenceResponse
plugin.v1.Channel/GetIdentity plugin.v1.GetIdentityRequest -> common.v1.UserIdentity
plugin.v1.StartRequest
plugin.v1.InboundMessage 1 string message_id
plugin.v1.InboundMessage 2 string channel_id
plugin.v1.InboundMessage 3 common.v1.UserIdentity sender
plugin.v1.InboundMessage 4 string content
plugin.v1.InboundMessage 5 string thread_id
plugin.v1.InboundMessage 6 repeated plugin.v1.MediaAttachment media
plugin.v1.InboundMessage 7 google.protobuf.Timestamp timestamp
plugin.v1.InboundMessage 8 map<string, string> metadata
plugin.v1.MediaAttachment 1 string url
plugin.v1.MediaAttachment 2 string mime_type
plugin.v1.MediaAttachment 3 string filename
plugin.v1.MediaAttachment 4 int64 size_bytes
plugin.v1.SendRequest 1 string channel_id
plugin.v1.SendRequest 2 string content
plugin.v1.SendRequest 3 string thread_id
plugin.v1.SendRequest 4 repeated plugin.v1.MediaAttachment media
plugin.v1.SendRequest 5 bool typing_indicator
plugin.v1.SendRequest 6 string reply_to_message_id
plugin.v1.SendResponse 1 bool ok
plugin.v1.SendResponse 2 string platform_message_id
plugin.v1.SendResponse 3 string error
plugin.v1.PresenceRequest 1 string channel_id
plugin.v1.PresenceRequest 2 plugin.v1.PresenceStatus status
plugin.v1.PresenceStatus 0 PRESENCE_STATUS_UNSPECIFIED
plugin.v1.PresenceStatus 1 PRESENCE_STATUS_ONLINE
plugin.v1.PresenceStatus 2 PRESENCE_STATUS_TYPING
plugin.v1.PresenceStatus 3 PRESENCE_STATUS_OFFLINE
plugin.v1.PresenceResponse 1 bool ok
plugin.v1.GetIdentityRequest 1 string platform_user_id

plugin.v1.Tool/Describe plugin.v1.DescribeRequest -> plugin.v1.DescribeResponse
plugin.v1.Tool/Execute plugin.v1.ExecuteRequest -> stream plugin.v1.ExecuteChunk
plugin.v1.DescribeRequest
plugin.v1.DescribeResponse 1 repeated common.v1.ToolDefinition tools
plugin.v1.ExecuteRequest 1 string tool_name
plugin.v1.ExecuteRequest 2 string arguments
plugin.v1.ExecuteRequest 3 string session_id
plugin.v1.ExecuteRequest 4 int32 timeout_seconds
plugin.v1.ExecuteChunk 1 string text oneof chunk
plugin.v1.ExecuteChunk 2 string error oneof chunk
plugin.v1.ExecuteChunk 3 bool done oneof chunk

plugin.v1.Provider/ListModels plugin.v1.ListModelsRequest -> plugin.v1.ListModelsResponse
plugin.v1.Provider/Chat plugin.v1.ChatRequest -> stream plugin.v1.ChatEvent
plugin.v1.Provider/Status plugin.v1.StatusRequest -> plugin.v1.StatusResponse
plugin.v1.ListModelsRequest
plugin.v1.ListModelsResponse 1 repeated plugin.v1.ModelInfo models
plugin.v1.ModelInfo 1 string id
plugin.v1.ModelInfo 2 string name
plugin.v1.ModelInfo 3 string provider
plugin.v1.ModelInfo 4 common.v1.ModelCapabilities capabilities
plugin.v1.ChatRequest 1 string model
plugin.v1.ChatRequest 2 repeated common.v1.Message messages
plugin.v1.ChatRequest 3 repeated common.v1.ToolDefinition tools
plugin.v1.ChatRequest 4 string system_prompt
plugin.v1.ChatRequest 5 plugin.v1.ChatOptions options
plugin.v1.ChatOptions 1 float temperature
plugin.v1.ChatOptions 2 int32 max_tokens
plugin.v1.ChatOptions 3 repeated string stop_sequences
plugin.v1.ChatOptions 4 bool stream
plugin.v1.ChatEvent 1 plugin.v1.TextDelta text_delta oneof event
plugin.v1.ChatEvent 2 common.v1.ToolCall tool_call oneof event
plugin.v1.ChatEvent 3 common.v1.Usage usage oneof event
plugin.v1.ChatEvent 4 bool done oneof event
plugin.v1.ChatEvent 5 string error oneof event
plugin.v1.TextDelta 1 string text
plugin.v1.StatusRequest
plugin.v1.StatusResponse 1 bool available
plugin.v1.StatusResponse 2 string provider
plugin.v1.StatusResponse 3 string message
plugin.v1.StatusResponse 4 int64 failure_count
plugin.v1.StatusResponse 5 google.protobuf.Timestamp last_failure_at
plugin.v1.StatusResponse 6 google.protobuf.Timestamp cooldown_until

common.v1.Message 1 string id
common.v1.Message 2 string session_id
common.v1.Message 3 common.v1.Role role
common.v1.Message 4 string content
common.v1.Message 5 string tool_call_id
common.v1.Message 6 string tool_name
common.v1.Message 7 google.protobuf.Timestamp created_at
common.v1.Message 8 map<string, string> metadata
common.v1.Role 0 ROLE_UNSPECIFIED
common.v1.Role 1 ROLE_USER
common.v1.Role 2 ROLE_ASSISTANT
common.v1.Role 3 ROLE_SYSTEM
common.v1.Role 4 ROLE_TOOL
common.v1.ToolDefinition 1 string name
common.v1.ToolDefinition 2 string description
common.v1.ToolDefinition 3 google.protobuf.Struct input_schema
common.v1.ToolCall 1 string id
common.v1.ToolCall 2 string name
common.v1.ToolCall 3 string arguments
common.v1.UserIdentity 1 string user_id
common.v1.UserIdentity 2 string platform
common.v1.UserIdentity 3 string platform_user_id
common.v1.UserIdentity 4 string display_name
common.v1.ModelCapabilities 1 bool supports_tools
common.v1.ModelCapabilities 2 bool supports_vision
common.v1.ModelCapabilities 3 bool supports_streaming
common.v1.ModelCapabilities 4 bool supports_thinking
common.v1.ModelCapabilities 5 int32 max_context_tokens
common.v1.ModelCapabilities 6 int32 max_output_tokens
common.v1.Usage 1 int32 input_tokens
common.v1.Usage 2 int32 output_tokens
common.v1.Usage 3 int32 cache_read_tokens
common.v1.Usage 4 int32 cache_write_tokens

sigil.host.v1.Host/Call sigil.host.v1.CallRequest -> sigil.host.v1.CallResponse
sigil.host.v1.Host/Check sigil.host.v1.CheckRequest -> sigil.host.v1.CheckResponse
sigil.host.v1.CallRequest 1 string capability
sigil.host.v1.CallRequest 2 bytes payload
sigil.host.v1.CallRequest 3 string session_id
sigil.host.v1.CallResponse 1 bytes payload
sigil.host.v1.CheckRequest 1 string capability
sigil.host.v1.CheckRequest 2 string session_id
sigil.host.v1.CheckResponse 1 bool allowed
sigil.host.v1.CheckResponse 2 string reason
"""

SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
}


def type_of(field: FieldDescriptor) -> str:
    message, enum = field.message_type, field.enum_type
    if message is not None and message.GetOptions().map_entry:
        key, value = message.fields_by_name["key"], message.fields_by_name["value"]
        return f"map<{type_of(key)}, {type_of(value)}>"
    named = message or enum
    name = SCALARS[field.type] if named is None else str(named.full_name)
    return f"repeated {name}" if field.is_repeated else name


def lines_of_message(message: Descriptor) -> Iterator[str]:
    if not message.fields:
        yield message.full_name
    for field in message.fields:
        oneof = f" oneof {field.containing_oneof.name}" if field.containing_oneof else ""
        yield f"{message.full_name} {field.number} {type_of(field)} {field.name}{oneof}"
    for enum in message.enum_types:
        yield from lines_of_enum(enum)
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from lines_of_message(nested)


def lines_of_enum(enum: EnumDescriptor) -> Iterator[str]:
    for value in enum.values:
        yield f"{enum.full_name} {value.number} {value.name}"


def line_of_method(method: MethodDescriptor) -> str:
    request = "stream " * method.client_streaming + method.input_type.full_name
    response = "stream " * method.server_streaming + method.output_type.full_name
    return f"{method.containing_service.full_name}/{method.name} {request} -> {response}"


def lines_of_file(file: FileDescriptor) -> Iterator[str]:
    for service in file.services_by_name.values():
        for method in service.methods:
            yield line_of_method(method)
    for enum in file.enum_types_by_name.values():
        yield from lines_of_enum(enum)
    for message in file.message_types_by_name.values():
        yield from lines_of_message(message)


def generated(file: str) -> FileDescriptor:
    descriptor = importlib.import_module(f"sigil_actors._proto.{file}_pb2").DESCRIPTOR
    assert isinstance(descriptor, FileDescriptor)
    return descriptor


def test_every_name_and_number_is_the_contracts() -> None:
    wanted = {line for line in CONTRACT.splitlines() if line}
    present = {line for file in FILES for line in lines_of_file(generated(file))}
    assert sorted(present - wanted) == [], "generated, but not in the contract"
    assert sorted(wanted - present) == [], "in the contract, but not generated"


@pytest.mark.parametrize("file", FILES)
def test_every_method_of_a_service_has_a_stub_and_a_servicer(file: str) -> None:
    for service in generated(file).services_by_name.values():
        stubs = importlib.import_module(f"sigil_actors._proto.{file}_pb2_grpc")
        servicer = getattr(stubs, f"{service.name}Servicer")
        assert getattr(stubs, f"{service.name}Stub")
        for method in service.methods:
            assert callable(getattr(servicer, method.name))
