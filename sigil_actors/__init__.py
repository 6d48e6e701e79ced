"""A supervised, sandboxed, audited process boundary for the plugins of AI and chat gateways.

The public names are loaded on first use: importing the package loads neither grpc nor wasmtime.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sigil_actors.assembly import open_runtime as open_runtime
    from sigil_actors.audit.memory import MemoryAuditStore as MemoryAuditStore
    from sigil_actors.audit.sqlite import SqliteAuditStore as SqliteAuditStore
    from sigil_actors.audit.verify import VerifyReport as VerifyReport
    from sigil_actors.audit.verify import verify_log as verify_log
    from sigil_actors.core.audit_entry import AuditEntry as AuditEntry
    from sigil_actors.core.audit_entry import AuditFilter as AuditFilter
    from sigil_actors.core.calls import ToolDefinition as ToolDefinition
    from sigil_actors.core.calls import Usage as Usage
    from sigil_actors.core.capability import CapabilitySet as CapabilitySet
    from sigil_actors.core.capability import match_capability as match_capability
    from sigil_actors.core.channel_calls import InboundMessage as InboundMessage
    from sigil_actors.core.channel_calls import MediaAttachment as MediaAttachment
    from sigil_actors.core.channel_calls import PresenceStatus as PresenceStatus
    from sigil_actors.core.channel_calls import SendResult as SendResult
    from sigil_actors.core.channel_calls import UserIdentity as UserIdentity
    from sigil_actors.core.execution import ContainerExecution as ContainerExecution
    from sigil_actors.core.execution import ExecutionTier as ExecutionTier
    from sigil_actors.core.execution import FilesystemPolicy as FilesystemPolicy
    from sigil_actors.core.execution import NetworkPolicy as NetworkPolicy
    from sigil_actors.core.execution import PluginType as PluginType
    from sigil_actors.core.execution import ProcessExecution as ProcessExecution
    from sigil_actors.core.execution import SandboxPolicy as SandboxPolicy
    from sigil_actors.core.execution import WasmExecution as WasmExecution
    from sigil_actors.core.explanation import Explanation as Explanation
    from sigil_actors.core.lifecycle import PluginInstance as PluginInstance
    from sigil_actors.core.lifecycle import PluginState as PluginState
    from sigil_actors.core.lifecycle import valid_transition as valid_transition
    from sigil_actors.core.manifest import Manifest as Manifest
    from sigil_actors.core.manifest_yaml import parse_manifest as parse_manifest
    from sigil_actors.core.policy import CheckRequest as CheckRequest
    from sigil_actors.core.policy import Decision as Decision
    from sigil_actors.core.policy import DenyReason as DenyReason
    from sigil_actors.core.provider_calls import ChatEvent as ChatEvent
    from sigil_actors.core.provider_calls import ChatOptions as ChatOptions
    from sigil_actors.core.provider_calls import Done as Done
    from sigil_actors.core.provider_calls import Message as Message
    from sigil_actors.core.provider_calls import ModelInfo as ModelInfo
    from sigil_actors.core.provider_calls import ProviderStatus as ProviderStatus
    from sigil_actors.core.provider_calls import Role as Role
    from sigil_actors.core.provider_calls import TextDelta as TextDelta
    from sigil_actors.core.provider_calls import TokenUsage as TokenUsage
    from sigil_actors.core.provider_calls import ToolCall as ToolCall
    from sigil_actors.errors import AuditUnavailableError as AuditUnavailableError
    from sigil_actors.errors import CapabilityDeniedError as CapabilityDeniedError
    from sigil_actors.errors import GuestTrapError as GuestTrapError
    from sigil_actors.errors import HandshakeError as HandshakeError
    from sigil_actors.errors import InvalidArgumentsError as InvalidArgumentsError
    from sigil_actors.errors import InvalidCapabilityError as InvalidCapabilityError
    from sigil_actors.errors import InvalidRequestError as InvalidRequestError
    from sigil_actors.errors import InvalidTransitionError as InvalidTransitionError
    from sigil_actors.errors import LimitExceededError as LimitExceededError
    from sigil_actors.errors import ManifestError as ManifestError
    from sigil_actors.errors import PluginCallError as PluginCallError
    from sigil_actors.errors import PluginCrashedError as PluginCrashedError
    from sigil_actors.errors import PluginHeldError as PluginHeldError
    from sigil_actors.errors import PluginNotFoundError as PluginNotFoundError
    from sigil_actors.errors import PluginRefusedError as PluginRefusedError
    from sigil_actors.errors import PluginStartError as PluginStartError
    from sigil_actors.errors import PluginUnavailableError as PluginUnavailableError
    from sigil_actors.errors import Problem as Problem
    from sigil_actors.errors import SandboxUnavailableError as SandboxUnavailableError
    from sigil_actors.errors import SigilError as SigilError
    from sigil_actors.errors import ToolNotFoundError as ToolNotFoundError
    from sigil_actors.ports.audit_store import AuditStore as AuditStore
    from sigil_actors.runtime.enforcer import Enforcer as Enforcer
    from sigil_actors.runtime.enforcer import open_enforcer as open_enforcer
    from sigil_actors.runtime.events import EventKind as EventKind
    from sigil_actors.runtime.events import EventStream as EventStream
    from sigil_actors.runtime.events import RuntimeEvent as RuntimeEvent
    from sigil_actors.runtime.host_calls import HostCall as HostCall
    from sigil_actors.runtime.rescan import RescanResult as RescanResult
    from sigil_actors.runtime.rescan import RescanWord as RescanWord
    from sigil_actors.runtime.runtime import Runtime as Runtime
    from sigil_actors.runtime.session import Session as Session
    from sigil_actors.runtime.settings import BackgroundSession as BackgroundSession
    from sigil_actors.runtime.settings import RuntimeSettings as RuntimeSettings
    from sigil_actors.runtime.settings import UidRange as UidRange
    from sigil_actors.runtime.status import HeldVersion as HeldVersion
    from sigil_actors.runtime.status import PluginStatus as PluginStatus
    from sigil_actors.runtime.tree import TreeNode as TreeNode

_HOMES = {
    "open_runtime": "sigil_actors.assembly",
    "MemoryAuditStore": "sigil_actors.audit.memory",
    "SqliteAuditStore": "sigil_actors.audit.sqlite",
    "VerifyReport": "sigil_actors.audit.verify",
    "verify_log": "sigil_actors.audit.verify",
    "AuditEntry": "sigil_actors.core.audit_entry",
    "AuditFilter": "sigil_actors.core.audit_entry",
    "ToolDefinition": "sigil_actors.core.calls",
    "Usage": "sigil_actors.core.calls",
    "CapabilitySet": "sigil_actors.core.capability",
    "match_capability": "sigil_actors.core.capability",
    "InboundMessage": "sigil_actors.core.channel_calls",
    "MediaAttachment": "sigil_actors.core.channel_calls",
    "PresenceStatus": "sigil_actors.core.channel_calls",
    "SendResult": "sigil_actors.core.channel_calls",
    "UserIdentity": "sigil_actors.core.channel_calls",
    "ContainerExecution": "sigil_actors.core.execution",
    "ExecutionTier": "sigil_actors.core.execution",
    "FilesystemPolicy": "sigil_actors.core.execution",
    "NetworkPolicy": "sigil_actors.core.execution",
    "PluginType": "sigil_actors.core.execution",
    "ProcessExecution": "sigil_actors.core.execution",
    "SandboxPolicy": "sigil_actors.core.execution",
    "WasmExecution": "sigil_actors.core.execution",
    "Explanation": "sigil_actors.core.explanation",
    "PluginInstance": "sigil_actors.core.lifecycle",
    "PluginState": "sigil_actors.core.lifecycle",
    "valid_transition": "sigil_actors.core.lifecycle",
    "Manifest": "sigil_actors.core.manifest",
    "parse_manifest": "sigil_actors.core.manifest_yaml",
    "CheckRequest": "sigil_actors.core.policy",
    "Decision": "sigil_actors.core.policy",
    "DenyReason": "sigil_actors.core.policy",
    "ChatEvent": "sigil_actors.core.provider_calls",
    "ChatOptions": "sigil_actors.core.provider_calls",
    "Done": "sigil_actors.core.provider_calls",
    "Message": "sigil_actors.core.provider_calls",
    "ModelInfo": "sigil_actors.core.provider_calls",
    "ProviderStatus": "sigil_actors.core.provider_calls",
    "Role": "sigil_actors.core.provider_calls",
    "TextDelta": "sigil_actors.core.provider_calls",
    "TokenUsage": "sigil_actors.core.provider_calls",
    "ToolCall": "sigil_actors.core.provider_calls",
    "AuditUnavailableError": "sigil_actors.errors",
    "CapabilityDeniedError": "sigil_actors.errors",
    "GuestTrapError": "sigil_actors.errors",
    "HandshakeError": "sigil_actors.errors",
    "InvalidArgumentsError": "sigil_actors.errors",
    "InvalidCapabilityError": "sigil_actors.errors",
    "InvalidRequestError": "sigil_actors.errors",
    "InvalidTransitionError": "sigil_actors.errors",
    "LimitExceededError": "sigil_actors.errors",
    "ManifestError": "sigil_actors.errors",
    "PluginCallError": "sigil_actors.errors",
    "PluginCrashedError": "sigil_actors.errors",
    "PluginHeldError": "sigil_actors.errors",
    "PluginNotFoundError": "sigil_actors.errors",
    "PluginRefusedError": "sigil_actors.errors",
    "PluginStartError": "sigil_actors.errors",
    "PluginUnavailableError": "sigil_actors.errors",
    "Problem": "sigil_actors.errors",
    "SandboxUnavailableError": "sigil_actors.errors",
    "SigilError": "sigil_actors.errors",
    "ToolNotFoundError": "sigil_actors.errors",
    "AuditStore": "sigil_actors.ports.audit_store",
    "Enforcer": "sigil_actors.runtime.enforcer",
    "open_enforcer": "sigil_actors.runtime.enforcer",
    "EventKind": "sigil_actors.runtime.events",
    "EventStream": "sigil_actors.runtime.events",
    "RuntimeEvent": "sigil_actors.runtime.events",
    "HostCall": "sigil_actors.runtime.host_calls",
    "RescanResult": "sigil_actors.runtime.rescan",
    "RescanWord": "sigil_actors.runtime.rescan",
    "Runtime": "sigil_actors.runtime.runtime",
    "Session": "sigil_actors.runtime.session",
    "BackgroundSession": "sigil_actors.runtime.settings",
    "RuntimeSettings": "sigil_actors.runtime.settings",
    "UidRange": "sigil_actors.runtime.settings",
    "HeldVersion": "sigil_actors.runtime.status",
    "PluginStatus": "sigil_actors.runtime.status",
    "TreeNode": "sigil_actors.runtime.tree",
}
"""Where each public name is defined; a test holds it against the imports above."""

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Load a public name on its first use."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the public names, loaded or not."""
    return sorted({*globals(), *__all__})
