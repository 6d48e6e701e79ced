"""For the authors of plugins in Python: serve a plugin, call its host.

A program that calls `serve` runs under this project's host and under any go-plugin host. The names
are loaded on first use, since a plugin is started afresh for each host: one without a channel
doesn't wait for what channels need.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigil_actors.sdk.caller import current_session as current_session
    from sigil_actors.sdk.channels import Channel as Channel
    from sigil_actors.sdk.channels import ChannelError as ChannelError
    from sigil_actors.sdk.channels import InboundMessage as InboundMessage
    from sigil_actors.sdk.channels import MediaAttachment as MediaAttachment
    from sigil_actors.sdk.channels import SendRequest as SendRequest
    from sigil_actors.sdk.channels import UserIdentity as UserIdentity
    from sigil_actors.sdk.errors import HostCallError as HostCallError
    from sigil_actors.sdk.errors import HostDeniedError as HostDeniedError
    from sigil_actors.sdk.errors import HostUnreachableError as HostUnreachableError
    from sigil_actors.sdk.errors import NotLaunchedError as NotLaunchedError
    from sigil_actors.sdk.errors import ToolError as ToolError
    from sigil_actors.sdk.host import Host as Host
    from sigil_actors.sdk.launch import read_launch as read_launch
    from sigil_actors.sdk.lifecycle import ConfigurationError as ConfigurationError
    from sigil_actors.sdk.lifecycle import Lifecycle as Lifecycle
    from sigil_actors.sdk.providers import ChatRequest as ChatRequest
    from sigil_actors.sdk.providers import ModelInfo as ModelInfo
    from sigil_actors.sdk.providers import Provider as Provider
    from sigil_actors.sdk.providers import ProviderError as ProviderError
    from sigil_actors.sdk.providers import TokenUsage as TokenUsage
    from sigil_actors.sdk.providers import ToolCall as ToolCall
    from sigil_actors.sdk.serving import Plugin as Plugin
    from sigil_actors.sdk.serving import serve as serve
    from sigil_actors.sdk.serving import serve_async as serve_async
    from sigil_actors.sdk.tools import Tools as Tools

_HOMES = {
    "current_session": "caller",
    "Channel": "channels",
    "ChannelError": "channels",
    "InboundMessage": "channels",
    "MediaAttachment": "channels",
    "SendRequest": "channels",
    "UserIdentity": "channels",
    "HostCallError": "errors",
    "HostDeniedError": "errors",
    "HostUnreachableError": "errors",
    "NotLaunchedError": "errors",
    "ToolError": "errors",
    "Host": "host",
    "read_launch": "launch",
    "ConfigurationError": "lifecycle",
    "Lifecycle": "lifecycle",
    "ChatRequest": "providers",
    "ModelInfo": "providers",
    "Provider": "providers",
    "ProviderError": "providers",
    "TokenUsage": "providers",
    "ToolCall": "providers",
    "Plugin": "serving",
    "serve": "serving",
    "serve_async": "serving",
    "Tools": "tools",
}

__all__ = tuple(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name on first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
