"""What is said between the runtime and a provider plugin: models, chats, and how it is.

The words are those of `plugin.v1.Provider` and `common.v1`. What comes from a plugin is hostile
text, bounded here, to be escaped by whoever shows it. The functions return what is wrong with a
value in a few words, and an empty text where nothing is.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final, TypeAlias

import attrs

from sigil_actors.core.call_bounds import (
    count_problem,
    first_problem,
    metadata_problem,
    number_problem,
    text_problem,
    time_problem,
)
from sigil_actors.core.calls import ToolDefinition
from sigil_actors.core.execution import read_only_texts, texts

CHAT_CHARACTERS_MAX: Final = 4 * 1024 * 1024
"""Of all texts of one request: what a gRPC server takes in a message unless told otherwise."""

CHAT_MESSAGES_MAX: Final = 10_000
CHAT_TOOLS_MAX: Final = 1024
"""More than the tools of a few plugins; no model chooses well among so many."""

STOP_SEQUENCES_MAX: Final = 64
"""Providers take between 4 and 16."""

DELTA_CHARACTERS_MAX: Final = 1024 * 1024
"""Of one piece of an answer, or of one tool call's arguments; a whole answer is far shorter."""

MODELS_MAX: Final = 1024
"""Of one provider; one that resells those of all others has about 500."""

STATUS_CHARACTERS_MAX: Final = 2000
"""Of what a provider says of itself: a paragraph."""

_COUNT_BITS = 32
"""What the contract keeps token counts and options in."""


@attrs.frozen(kw_only=True)
class ModelCapabilities:
    """What a model can do, as its provider says."""

    supports_tools: bool = False
    supports_vision: bool = False
    supports_streaming: bool = False
    supports_thinking: bool = False
    max_context_tokens: int = 0
    """0 where it isn't known."""
    max_output_tokens: int = 0
    """0 where it isn't known."""


@attrs.frozen(kw_only=True)
class ModelInfo:
    """A model that a provider has."""

    id: str
    """What a chat names it by."""
    name: str = ""
    provider: str = ""
    capabilities: ModelCapabilities = ModelCapabilities()


class Role(StrEnum):
    """Who wrote a message of a chat."""

    USER = "user"
    ASSISTANT = "assistant"
    SYSTEM = "system"
    TOOL = "tool"


@attrs.frozen(kw_only=True)
class Message:
    """One message of a chat."""

    role: Role = attrs.field(converter=Role)
    content: str
    id: str = ""
    session_id: str = ""
    """The conversation that it is part of, as the application calls it."""
    tool_call_id: str = ""
    """For the role `tool`: the call that this is the result of."""
    tool_name: str = ""
    created_at: datetime | None = None
    """With a zone."""
    metadata: Mapping[str, str] = attrs.field(factory=dict, converter=read_only_texts)


@attrs.frozen(kw_only=True)
class ChatOptions:
    """How a model is to answer. The contract can't tell 0 from what wasn't said."""

    temperature: float = 0.0
    max_tokens: int = 0
    """0 leaves it to the provider."""
    stop_sequences: tuple[str, ...] = attrs.field(default=(), converter=texts)
    stream: bool = True
    """Whether the answer is wanted in pieces, as they come."""


def _messages(messages: Iterable[Message]) -> tuple[Message, ...]:
    return tuple(messages)


def _tools(tools: Iterable[ToolDefinition]) -> tuple[ToolDefinition, ...]:
    return tuple(tools)


@attrs.frozen(kw_only=True)
class ChatRequest:
    """A chat that a model is to go on with."""

    model: str
    messages: tuple[Message, ...] = attrs.field(converter=_messages)
    tools: tuple[ToolDefinition, ...] = attrs.field(default=(), converter=_tools)
    """What the model may ask to have called. It is the application that calls, or doesn't."""
    system_prompt: str = ""
    options: ChatOptions | None = None
    """None leaves everything to the provider."""


@attrs.frozen
class TextDelta:
    """The next piece of the answer."""

    text: str


@attrs.frozen(kw_only=True)
class ToolCall:
    """The model asks to have a tool called."""

    id: str
    name: str
    arguments: str
    """JSON text, as the model wrote it: it may be none, and fit no schema."""


@attrs.frozen(kw_only=True)
class TokenUsage:
    """What an answer has cost so far, as the provider counts: the contract's `Usage`."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@attrs.frozen
class Done:
    """The answer is complete; nothing follows. An answer that ends without it may be cut short."""


ChatEvent: TypeAlias = TextDelta | ToolCall | TokenUsage | Done
"""What a chat answers. An error event is a `PluginCallError` in the plugin's words instead."""


@attrs.frozen(kw_only=True)
class ProviderStatus:
    """How a provider is, as it says itself."""

    available: bool
    provider: str = ""
    message: str = ""
    failure_count: int = 0
    last_failure_at: datetime | None = None
    """With a zone."""
    cooldown_until: datetime | None = None
    """With a zone."""


def chat_problem(request: ChatRequest) -> str:
    """Return what is wrong with a chat that is to be asked for."""
    return first_problem(_chat_problems(request))


def event_problem(event: ChatEvent) -> str:
    """Return what is wrong with a piece of an answer."""
    match event:
        case TextDelta(text):
            return text_problem("its text", text, limit=DELTA_CHARACTERS_MAX)
        case ToolCall(id=call_id, name=name, arguments=arguments):
            return first_problem(
                (
                    text_problem("a tool call's id", call_id),
                    text_problem("a tool call's name", name),
                    text_problem("a tool call's arguments", arguments, limit=DELTA_CHARACTERS_MAX),
                )
            )
        case TokenUsage() | Done():
            return ""


def models_problem(models: Sequence[ModelInfo]) -> str:
    """Return what is wrong with a provider's models."""
    return count_problem("models", len(models), limit=MODELS_MAX) or first_problem(
        text_problem("a model's id, name or provider", text)
        for model in models
        for text in (model.id, model.name, model.provider)
    )


def status_problem(status: ProviderStatus) -> str:
    """Return what is wrong with what a provider says of itself."""
    return first_problem(
        (
            text_problem("its name", status.provider),
            text_problem("its message", status.message, limit=STATUS_CHARACTERS_MAX),
            time_problem("the time of its last failure", status.last_failure_at),
            time_problem("the end of its cooldown", status.cooldown_until),
        )
    )


def _chat_problems(request: ChatRequest) -> Iterable[str]:
    yield text_problem("the model's id", request.model)
    yield count_problem("messages", len(request.messages), limit=CHAT_MESSAGES_MAX)
    yield count_problem("tools", len(request.tools), limit=CHAT_TOOLS_MAX)
    yield text_problem("the system prompt", request.system_prompt, limit=CHAT_CHARACTERS_MAX)
    characters = len(request.system_prompt)
    for message in request.messages:
        yield text_problem("a message's content", message.content, limit=CHAT_CHARACTERS_MAX)
        for text in (message.id, message.session_id, message.tool_call_id, message.tool_name):
            yield text_problem("an id or name of a message", text)
        yield time_problem("a message's time", message.created_at)
        yield metadata_problem(message.metadata)
        characters += len(message.content)
    for tool in request.tools:
        yield text_problem("a tool's name", tool.name)
        yield text_problem("a tool's description", tool.description, limit=CHAT_CHARACTERS_MAX)
        characters += len(tool.description)
    if characters > CHAT_CHARACTERS_MAX:
        yield f"it has {characters} characters, over {CHAT_CHARACTERS_MAX}"
    if request.options is not None:
        yield from _option_problems(request.options)


def _option_problems(options: ChatOptions) -> Iterable[str]:
    if not math.isfinite(options.temperature):
        yield "the temperature isn't a number"
    yield number_problem("max_tokens", options.max_tokens, bits=_COUNT_BITS)
    yield count_problem("stop sequences", len(options.stop_sequences), limit=STOP_SEQUENCES_MAX)
    for text in options.stop_sequences:
        yield text_problem("a stop sequence", text)
