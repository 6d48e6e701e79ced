"""Every error that this package raises on purpose: whose fault it is, where, and what to do.

One root, `SigilError`. Callers match on the type and read the attributes, never the text. The text
is for
people: it says what happened and ends with what to do. Bugs of our own are `AssertionError` and are
not caught.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, ClassVar


class Fault(StrEnum):
    """Who has to change something so that the error goes away."""

    CALLER = "caller"
    MANIFEST_AUTHOR = "manifest author"
    OPERATOR = "operator"
    PLUGIN = "plugin"


class SigilError(Exception):
    """The root of the family. `fault` says who can mend it; `remedy` what they can do."""

    fault: ClassVar[Fault] = Fault.OPERATOR

    def __init__(self, what: str, *, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(_sentence(what, remedy))


def _sentence(what: str, remedy: str) -> str:
    if not remedy:
        return what
    return f"{what}{'' if what.endswith(('.', '!', '?')) else '.'} {remedy}"


class InvalidCapabilityError(SigilError):
    """A capability or pattern breaks the grammar, or is over its bounds.

    `text` is what was given.
    """

    fault = Fault.CALLER

    def __init__(self, text: str, what: str, *, remedy: str = "") -> None:
        self.text = text
        shown = text if len(text) <= _SHOWN_MAX else text[:_SHOWN_MAX] + "…"
        super().__init__(f"capability {shown!r}: {what}", remedy=remedy)


_SHOWN_MAX = 80  # characters of a stranger's text that an error repeats; enough to find it by


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is wrong with a manifest."""

    path: str
    """Where in the document: `execution.tier`, `capabilities[2]`; empty for the whole."""
    line: int
    """The line in the file, from 1; 0 where there is no text (a manifest made in code)."""
    what: str
    remedy: str

    def render(self, file: str) -> str:
        """Return `FILE:LINE: PATH: what is wrong.

        What to do.`; parts that are missing are left out.
        """
        place = f"{file}:{self.line}" if self.line else file
        return ": ".join(
            part for part in (place, self.path, _sentence(self.what, self.remedy)) if part
        )


class ManifestError(SigilError):
    """A text can't become a `Manifest`.

    `problems` holds every reason found, in the order of the file.
    """

    fault = Fault.MANIFEST_AUTHOR

    def __init__(self, problems: Sequence[Problem], *, file: str = "plugin.yaml") -> None:
        self.problems = tuple(problems)
        self.file = file
        super().__init__("\n".join(problem.render(file) for problem in self.problems))


class InvalidTransitionError(SigilError):
    """A plugin instance was told to enter a state that can't follow its present one.

    It stays where it was.
    """

    fault = Fault.CALLER

    def __init__(self, plugin: str, source: str, target: str) -> None:
        self.plugin = plugin
        self.source = source
        self.target = target
        super().__init__(
            f"plugin {plugin!r} can't go from {source} to {target}",
            remedy="The table in sigil_actors.core.lifecycle lists the allowed steps",
        )


class CapabilityDeniedError(SigilError):
    """The enforcer said no.

    `reason` is a `DenyReason`; `decision` the whole `Decision`, once it was recorded.
    """

    fault = Fault.OPERATOR

    def __init__(
        self,
        *,
        plugin: str,
        capability: str,
        reason: str,
        explanation: str = "",
        decision: Any = None,
    ) -> None:
        self.plugin = plugin
        self.capability = capability
        self.reason = reason
        self.explanation = explanation
        self.decision = decision
        super().__init__(
            f"capability {capability!r} denied for plugin {plugin!r}: {reason}", remedy=explanation
        )


class AuditUnavailableError(SigilError):
    """The audit entry couldn't be stored, so nothing was allowed and nothing ran."""


class ForeignAuditLogError(AuditUnavailableError):
    """What lies where the audit log should be is something else."""


class AuditIntegrityError(SigilError):
    """The audit log isn't what was written: an entry was edited, is missing, or was moved.

    `seq` names it.
    """

    def __init__(
        self, what: str, *, seq: int | None = None, kind: str = "", remedy: str = ""
    ) -> None:
        self.seq = seq
        self.kind = kind
        super().__init__(what, remedy=remedy)


class PluginError(SigilError):
    """Something about one plugin, which `plugin` names."""

    fault = Fault.PLUGIN

    def __init__(self, plugin: str, what: str, *, remedy: str = "") -> None:
        self.plugin = plugin
        super().__init__(f"plugin {plugin!r} {what}", remedy=remedy)


class PluginNotFoundError(PluginError):
    """No plugin of that name is known. `near` holds the names that look like it."""

    fault = Fault.CALLER

    def __init__(self, plugin: str, *, near: Sequence[str] = (), known: int = 0) -> None:
        self.near = tuple(near)
        remedy = (
            f"Did you mean {' or '.join(map(repr, self.near))}?"
            if self.near
            else f"{known} plugin{' is' if known == 1 else 's are'} known; "
            "sigil-actors ps, or runtime.list(), names them"
        )
        super().__init__(plugin, "is not known", remedy=remedy)


class ToolNotFoundError(PluginError):
    """The plugin runs, but has no tool of that name.

    `near` holds the names of the tools that it has.
    """

    fault = Fault.CALLER

    def __init__(self, plugin: str, tool: str, *, near: Sequence[str] = ()) -> None:
        self.tool = tool
        self.near = tuple(near)
        has = ", ".join(map(repr, self.near)) or "none"
        super().__init__(plugin, f"has no tool {tool!r}", remedy=f"Its tools: {has}")


class InvalidArgumentsError(PluginError):
    """The arguments of a call don't fit the tool's input schema; nothing was called."""

    fault = Fault.CALLER

    def __init__(self, plugin: str, tool: str, problems: Sequence[str]) -> None:
        self.tool = tool
        self.problems = tuple(problems)
        super().__init__(
            plugin,
            f"got arguments that don't fit the schema of {tool!r}: {'; '.join(problems)}",
            remedy=f"sigil-actors describe {plugin}, or session.describe(), shows the schema",
        )


class InvalidRequestError(PluginError):
    """What a plugin was to be asked breaks the contract's bounds; nothing was called.

    `problem` says what is wrong.
    """

    fault = Fault.CALLER

    def __init__(self, plugin: str, problem: str) -> None:
        self.problem = problem
        super().__init__(
            plugin,
            f"can't be asked that: {problem}",
            remedy="The bounds are in sigil_actors.core: channel_calls and provider_calls",
        )


class PluginUnavailableError(PluginError):
    """The plugin is known but takes no calls now.

    `reason` is a word: draining, stopped, quarantined, …
    """

    fault = Fault.OPERATOR

    def __init__(
        self, plugin: str, reason: str, *, detail: str = "", retry_after_s: float | None = None
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.retry_after_s = retry_after_s
        what = f"is unavailable ({reason}){': ' + detail if detail else ''}"
        remedy = (
            f"Try again in {retry_after_s:.1f} s"
            if retry_after_s is not None
            else _UNAVAILABLE_REMEDIES.get(
                reason, f"sigil-actors ps {plugin}, or runtime.get(), tells its state"
            )
        )
        super().__init__(plugin, what, remedy=remedy)


_UNAVAILABLE_REMEDIES = {
    "quarantined": "Mend or replace the plugin, then: sigil-actors start, or runtime.start()",
    "stopped": "Start it: sigil-actors start, or runtime.start()",
    "ended": "Its lifecycle.restart.type keeps it down; start it, or put a new version in place",
    "draining": "It takes no new calls; start it again once it has stopped",
    "starting": "Try again in a moment, or wait: runtime.wait_until_running()",
    "waiting": "It starts once what it depends on runs",
    "held": "Look at what it asks for, then approve it: sigil-actors approve, or runtime.approve()",
    "reloading": "Try again in a moment; a new version takes over",
    "runtime stopping": "The whole runtime is going down",
}


class PluginStartError(PluginError):
    """The plugin couldn't be started.

    The remedy says what the operator or the author can change.
    """


class PluginRefusedError(PluginStartError):
    """The plugin can't run here as it is. Starting it again would change nothing, so it isn't."""


class SandboxRequestError(PluginRefusedError):
    """The manifest asks for what no sandbox may give, or for two things that exclude one another.

    `key` is the entry of the manifest.
    """

    fault = Fault.MANIFEST_AUTHOR

    def __init__(self, plugin: str, key: str, what: str, *, remedy: str) -> None:
        self.key = key
        super().__init__(plugin, f"asks for too much in {key}: {what}", remedy=remedy)


class PluginHeldError(PluginStartError):
    """This version asks for more than the one before, and waits to be approved; it hasn't run.

    `differences` holds what it asks for, a line each. What ran before goes on running.
    """

    fault = Fault.OPERATOR

    def __init__(
        self, plugin: str, *, version: str, snapshot_sha256: str, differences: Sequence[str]
    ) -> None:
        self.version = version
        self.snapshot_sha256 = snapshot_sha256
        self.differences = tuple(differences)
        super().__init__(
            plugin,
            f"is held: its version {version} asks for more than the one before:"
            f" {'; '.join(self.differences)}",
            remedy=f"If that is right: sigil-actors approve {plugin}, or runtime.approve()",
        )


class HandshakeError(PluginStartError):
    """The plugin started, but what it answered isn't a handshake that this host takes."""


class PluginCrashedError(PluginError):
    """The instance that served the call is gone.

    `last_words` are its last lines of log, escaped.
    """

    def __init__(
        self,
        plugin: str,
        what: str,
        *,
        exit_status: int | None = None,
        last_words: Sequence[str] = (),
        remedy: str = "",
    ) -> None:
        self.exit_status = exit_status
        self.last_words = tuple(last_words)
        said = f"; its last words: {' | '.join(self.last_words)}" if self.last_words else ""
        super().__init__(
            plugin,
            what + said,
            remedy=remedy or "The supervisor starts a new instance; the call may be tried again",
        )


class PluginCallError(PluginError):
    """The plugin answered the call with an error, or the call could not be made.

    `reason` is what it said.
    """

    def __init__(self, plugin: str, reason: str, *, remedy: str = "") -> None:
        self.reason = reason
        super().__init__(plugin, f"failed the call: {reason}", remedy=remedy)


class GuestTrapError(PluginError):
    """A Wasm guest trapped: its own code did what it must not. `trap` is wasmtime's name for it."""

    def __init__(self, plugin: str, trap: str, *, detail: str = "") -> None:
        self.trap = trap
        self.detail = detail
        super().__init__(
            plugin,
            f"trapped: {trap}{' (' + detail + ')' if detail else ''}",
            remedy="The guest's code is at fault; a fresh instance takes over",
        )


class LimitExceededError(PluginError):
    """The plugin ran into a bound.

    `bound` names it, `value` is where it lies, `key` is what to change.
    """

    def __init__(self, plugin: str, *, bound: str, value: str, key: str) -> None:
        self.bound = bound
        self.value = value
        self.key = key
        super().__init__(
            plugin,
            f"reached its bound on {bound} ({value})",
            remedy=f"If that is too little for honest work, raise {key}" if key else "",
        )


class SandboxUnavailableError(SigilError):
    """This machine can't make the sandbox that the plugin needs, so the plugin was not started."""


class SandboxBrokenError(SandboxUnavailableError):
    """Something got out of the sandbox when it was tried, so no plugin was started in it.

    `failures` names the attacks that weren't held.
    """

    def __init__(self, failures: Sequence[str]) -> None:
        self.failures = tuple(failures)
        super().__init__(
            f"the sandbox was tried and doesn't hold: {'; '.join(failures)}",
            remedy="Look for what differs on this machine: `sigil-actors doctor` tries it too",
        )


class HostFunctionMissingError(SigilError):
    """A host call was allowed, but the embedding application has no function for it."""

    def __init__(self, capability: str) -> None:
        self.capability = capability
        super().__init__(
            f"no host function for {capability!r}",
            remedy="Register one in open_runtime(host_functions=...)",
        )


class HostFunctionFailedError(SigilError):
    """A host function raised.

    `error_type` is the name of the exception's type; its text stays with the host.
    """

    def __init__(self, capability: str, error_type: str) -> None:
        self.capability = capability
        self.error_type = error_type
        super().__init__(
            f"the host function for {capability!r} failed with {error_type}",
            remedy="The host's log has the rest",
        )


class KvUnavailableError(SigilError):
    """The store of plugins' keys and values can't be read or written."""


class ApprovalsUnavailableError(SigilError):
    """The record of what a plugin was allowed can't be read or written, so no version is started.

    A record that is damaged isn't taken for an empty one, with which any version might run.
    """


class StateFolderError(SigilError):
    """The state folder can't be used."""


class StateFolderHeldError(StateFolderError):
    """Another runtime uses the state folder. `holder` is its process, as far as that is known."""

    def __init__(self, folder: str, *, holder: str) -> None:
        self.folder = folder
        self.holder = holder
        super().__init__(
            f"the state folder {folder} is used by another runtime (process {holder})",
            remedy="Stop that one, or name another state folder",
        )


class SettingsError(SigilError):
    """A setting has a value that it can't have."""
