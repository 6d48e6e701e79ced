"""What can go wrong for the author of a plugin."""

from typing import ClassVar

from sigil_actors.errors import Fault, SigilError


class NotLaunchedError(SigilError):
    """The program was started by hand, or by a host of other plugins."""

    fault: ClassVar[Fault] = Fault.CALLER

    def __init__(self, cookie_key: str, *, is_set: bool) -> None:
        super().__init__(
            f"this is a plugin: its host starts it, with the right {cookie_key} in the environment"
            if not is_set
            else f"the host that started this plugin has another {cookie_key}: "
            "it is for plugins of another application",
            remedy="Put it into a plugins folder with a plugin.yaml, and call it by "
            "`sigil-actors call`",
        )


class ToolError(SigilError):
    """Raised by a tool: its text is what the caller gets as the answer of the call."""

    fault: ClassVar[Fault] = Fault.PLUGIN


class HostCallError(SigilError):
    """The host didn't do what it was asked for. `capability` is what that was."""

    fault: ClassVar[Fault] = Fault.OPERATOR

    def __init__(self, capability: str, what: str, *, remedy: str = "") -> None:
        self.capability = capability
        super().__init__(f"{capability}: {what}", remedy=remedy)


class HostDeniedError(HostCallError):
    """The plugin may not do that, or not for this caller. `reason` is the host's."""

    def __init__(self, capability: str, reason: str) -> None:
        self.reason = reason
        super().__init__(
            capability,
            f"denied: {reason}",
            remedy="Name it under `capabilities` in plugin.yaml, and have whoever runs the host "
            "allow it",
        )


class HostUnreachableError(HostCallError):
    """The host has no functions for plugins, or its connection is gone."""
