"""The messages of `plugin.v1.Provider`: protobuf to core values and back."""

from collections.abc import Mapping
from typing import Final

from sigil_actors._proto.common.v1 import common_pb2
from sigil_actors._proto.plugin.v1 import provider_pb2
from sigil_actors.core.provider_calls import (
    MODELS_MAX,
    ChatEvent,
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
from sigil_actors.core.text import escape_text
from sigil_actors.tiers.remote.messages import (
    TooLargeError,
    read_moment,
    write_moment,
    write_tool,
    writing,
)

_ROLES: Final[Mapping[Role, common_pb2.Role]] = {
    Role.USER: common_pb2.ROLE_USER,
    Role.ASSISTANT: common_pb2.ROLE_ASSISTANT,
    Role.SYSTEM: common_pb2.ROLE_SYSTEM,
    Role.TOOL: common_pb2.ROLE_TOOL,
}


class ChatFailedError(Exception):
    """A chat's answer is an error, in the plugin's words, escaped."""


def read_models(message: provider_pb2.ListModelsResponse) -> tuple[ModelInfo, ...]:
    """Read a ListModelsResponse."""
    if len(message.models) > MODELS_MAX:
        raise TooLargeError("models", f"{MODELS_MAX}")
    return tuple(map(_read_model, message.models))


def write_chat(request: ChatRequest) -> provider_pb2.ChatRequest:
    """Return a ChatRequest."""
    chat = provider_pb2.ChatRequest()
    with writing():
        chat.model = request.model
        chat.system_prompt = request.system_prompt
        for message in request.messages:
            _write_message(chat.messages.add(), message)
        for tool in request.tools:
            write_tool(chat.tools.add(), tool)
        options = request.options
        if options is not None:
            chat.options.SetInParent()
            chat.options.temperature = options.temperature
            chat.options.max_tokens = options.max_tokens
            chat.options.stop_sequences.extend(options.stop_sequences)
            chat.options.stream = options.stream
    return chat


def read_event(message: provider_pb2.ChatEvent) -> ChatEvent | None:
    """Read a ChatEvent; None for one that says nothing, or what a later contract has it say.

    Raises:
        ChatFailedError: it is an error.
    """
    match message.WhichOneof("event"):
        case "text_delta":
            return TextDelta(message.text_delta.text)
        case "tool_call":
            call = message.tool_call
            return ToolCall(id=call.id, name=call.name, arguments=call.arguments)
        case "usage":
            usage = message.usage
            return TokenUsage(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cache_read_tokens=usage.cache_read_tokens,
                cache_write_tokens=usage.cache_write_tokens,
            )
        case "done":
            return Done() if message.done else None
        case "error":
            raise ChatFailedError(escape_text(message.error))
        case _:
            return None


def read_status(message: provider_pb2.StatusResponse) -> ProviderStatus:
    """Read a StatusResponse."""
    return ProviderStatus(
        available=message.available,
        provider=message.provider,
        message=message.message,
        failure_count=message.failure_count,
        last_failure_at=read_moment(message, "last_failure_at"),
        cooldown_until=read_moment(message, "cooldown_until"),
    )


def _read_model(message: provider_pb2.ModelInfo) -> ModelInfo:
    able = message.capabilities
    return ModelInfo(
        id=message.id,
        name=message.name,
        provider=message.provider,
        capabilities=ModelCapabilities(
            supports_tools=able.supports_tools,
            supports_vision=able.supports_vision,
            supports_streaming=able.supports_streaming,
            supports_thinking=able.supports_thinking,
            max_context_tokens=able.max_context_tokens,
            max_output_tokens=able.max_output_tokens,
        ),
    )


def _write_message(message: common_pb2.Message, value: Message) -> None:
    message.role = _ROLES[value.role]
    message.id = value.id
    message.session_id = value.session_id
    message.content = value.content
    message.tool_call_id = value.tool_call_id
    message.tool_name = value.tool_name
    message.metadata.update(value.metadata)
    write_moment(message.created_at, value.created_at)
