"""Which exit code each error gets: the only place that says so."""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Final


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    """It did what it was asked for."""
    FAILED = 1
    """It was asked for something sensible, and that failed."""
    USAGE = 2
    """The command line can't be understood."""
    INVALID_INPUT = 3
    """What was given is wrong in itself: a manifest, arguments, a configuration, a pattern."""
    NOT_FOUND = 4
    """A plugin, a tool, a path or a log isn't there."""
    DENIED = 5
    """The enforcer said no."""
    NO_SUPERVISOR = 6
    """A supervisor is needed, and none can be reached, or it is stopping."""
    INTEGRITY_BROKEN = 7
    """The audit log isn't what was written."""
    NO_SANDBOX = 8
    """This machine can't make the sandbox that a plugin needs."""
    UNHEALTHY = 9
    """`doctor` found something that is needed and doesn't work."""


INTERRUPTED: Final = 128
"""Plus the number of the signal that ended a command: 130 for Ctrl-C, as shells have it."""

CODES: Final[Mapping[str, ExitCode]] = {
    "SigilError": ExitCode.FAILED,
    # the core
    "InvalidCapabilityError": ExitCode.INVALID_INPUT,
    "ManifestError": ExitCode.INVALID_INPUT,
    "InvalidTransitionError": ExitCode.FAILED,
    "InvalidSchemaError": ExitCode.INVALID_INPUT,
    # the enforcer and its log
    "CapabilityDeniedError": ExitCode.DENIED,
    "AuditUnavailableError": ExitCode.FAILED,
    "ForeignAuditLogError": ExitCode.INVALID_INPUT,
    "ForeignSchemaError": ExitCode.INVALID_INPUT,
    "AuditIntegrityError": ExitCode.INTEGRITY_BROKEN,
    # plugins
    "PluginError": ExitCode.FAILED,
    "PluginNotFoundError": ExitCode.NOT_FOUND,
    "ToolNotFoundError": ExitCode.NOT_FOUND,
    "InvalidArgumentsError": ExitCode.INVALID_INPUT,
    "InvalidRequestError": ExitCode.INVALID_INPUT,
    "PluginUnavailableError": ExitCode.FAILED,
    "PluginStartError": ExitCode.FAILED,
    "PluginRefusedError": ExitCode.FAILED,
    "SandboxRequestError": ExitCode.INVALID_INPUT,
    "PluginHeldError": ExitCode.FAILED,
    "HandshakeError": ExitCode.FAILED,
    "PluginCrashedError": ExitCode.FAILED,
    "PluginCallError": ExitCode.FAILED,
    "PayloadError": ExitCode.FAILED,
    "GuestTrapError": ExitCode.FAILED,
    "LimitExceededError": ExitCode.FAILED,
    "SandboxUnavailableError": ExitCode.NO_SANDBOX,
    "SandboxBrokenError": ExitCode.NO_SANDBOX,
    "HostFunctionMissingError": ExitCode.FAILED,
    "HostFunctionFailedError": ExitCode.FAILED,
    # the host
    "ActorDownError": ExitCode.FAILED,
    "MailboxFullError": ExitCode.FAILED,
    "RestartIntensityError": ExitCode.FAILED,
    "SupervisorDownError": ExitCode.FAILED,
    "ChildStartError": ExitCode.FAILED,
    "ChildStartTimeoutError": ExitCode.FAILED,
    "ChildExistsError": ExitCode.FAILED,
    "ChildNotFoundError": ExitCode.FAILED,
    "KvUnavailableError": ExitCode.FAILED,
    "ApprovalsUnavailableError": ExitCode.FAILED,
    "SettingsError": ExitCode.INVALID_INPUT,
    "StateFolderError": ExitCode.FAILED,
    "StateFolderHeldError": ExitCode.FAILED,
    "ControlSocketError": ExitCode.FAILED,
    "ControlProtocolError": ExitCode.FAILED,
    "SupervisorUnreachableError": ExitCode.NO_SUPERVISOR,
    "SupervisorStoppingError": ExitCode.NO_SUPERVISOR,
    "ReportedError": ExitCode.FAILED,  # never by itself: what it reports has a type of its own
    # the command line
    "UsageError": ExitCode.USAGE,
    "ConfigError": ExitCode.INVALID_INPUT,
    "InvalidInputError": ExitCode.INVALID_INPUT,
    "PathNotFoundError": ExitCode.NOT_FOUND,
    "NothingHeldError": ExitCode.NOT_FOUND,
    "DemoFailedError": ExitCode.FAILED,
}
"""By the name of the error's type, so that no module is loaded for it and a report can be looked up
like the error itself. A test holds it against all subclasses of `SigilError`."""


def exit_code(kinds: Sequence[str]) -> ExitCode:
    """Return the code for an error, given the names of its type and of those above it."""
    return next((CODES[kind] for kind in kinds if kind in CODES), ExitCode.FAILED)
