"""May this plugin do that, here, for this user? The decision, as a function of four pattern sets.

Owns the order of the questions and the reasons. Knows nothing of who registered what, nor of the
log: a decision is a value, and recording it is the enforcer's.
"""

import re
from enum import StrEnum
from typing import Final

import attrs

from sigil_actors.core.capability import CapabilityParts, CapabilitySet, split_capability
from sigil_actors.core.text import is_text
from sigil_actors.errors import InvalidCapabilityError

MEMO_SIZE: Final = 4096
"""Capabilities that one policy remembers; then it starts afresh, so that nobody can make it grow.

A gateway asks for some dozens, and what isn't remembered costs microseconds.
"""

MEMO_LENGTH_MAX: Final = 256
"""Characters of a capability that is remembered: a full memo of the longest is a few megabytes."""

_PLUGIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class DenyReason(StrEnum):
    """Why a check was denied; `OK` where it wasn't."""

    OK = "ok"
    PLUGIN_NOT_REGISTERED = "plugin_not_registered"
    PLUGIN_ALLOW_MISSING = "plugin_allow_missing"
    """No pattern of the plugin's `capabilities` matches."""
    PLUGIN_DENY_MATCH = "plugin_deny_match"
    """A pattern of its `deny_capabilities` matches."""
    WORKSPACE_ALLOW_MISSING = "workspace_allow_missing"
    USER_PERMISSION_MISSING = "user_permission_missing"
    INVALID_REQUEST = "invalid_request"
    """The capability or the plugin's name is malformed or over the bounds, or the check failed."""


@attrs.frozen
class CheckRequest:
    """Who wants to do what. The embedding gateway vouches for all of it but the capability."""

    plugin: str
    capability: str
    workspace_id: str
    workspace_allow: CapabilitySet
    """What the workspace lets any plugin do; an empty set is nothing."""
    user_permissions: CapabilitySet
    """What the user may do; an empty set is nothing."""
    user_id: str = ""
    session_id: str = ""
    generation: int | None = None
    """Which instance of the plugin asks; None for the newest."""
    actor: str = ""
    """Who stands in the log as asking; empty for the user."""


@attrs.frozen
class Matched:
    """The pattern that decided, set by set; None where none matched or the set wasn't asked."""

    plugin_allow: str | None = None
    plugin_deny: str | None = None
    workspace_allow: str | None = None
    user_permissions: str | None = None


@attrs.frozen
class Verdict:
    """What was decided about a capability, and by which patterns."""

    reason: DenyReason
    matched: Matched

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.reason is DenyReason.OK


@attrs.frozen
class Decision:
    """What was decided about a request, and where that is recorded."""

    allowed: bool
    reason: DenyReason
    request: CheckRequest
    matched: Matched
    seq: int | None
    """The number of its audit entry; None where it isn't audited."""


INVALID_REQUEST: Final = Verdict(DenyReason.INVALID_REQUEST, Matched())
NOT_REGISTERED: Final = Verdict(DenyReason.PLUGIN_NOT_REGISTERED, Matched())
_NOTHING_ALLOWED: Final = Verdict(DenyReason.PLUGIN_ALLOW_MISSING, Matched())


@attrs.define(eq=False)
class Policy:
    """Four sets put together, with a memory of what was asked before. For one task."""

    _plugin_allow: CapabilitySet
    _plugin_deny: CapabilitySet
    _workspace_allow: CapabilitySet
    _user_permissions: CapabilitySet
    _memo: dict[str, Verdict] = attrs.field(factory=dict, init=False, repr=False)
    _verdicts: dict[tuple[str | None, ...], Verdict] = attrs.field(
        factory=dict, init=False, repr=False
    )

    def decide(self, capability: str) -> Verdict:
        """Decide; never raises. What is malformed, over the bounds or no text is denied."""
        # Exactly a str: a subclass could bring a hash and an equality of its own, and have another
        # capability's verdict.
        if type(capability) is str:
            # A subscript, since asking `get` costs an eighth of a decision made before more.
            try:
                return self._memo[capability]
            except KeyError:
                pass
        return self._decide_anew(capability)

    def _decide_anew(self, capability: object) -> Verdict:
        if not is_text(capability):
            return INVALID_REQUEST
        try:
            parts = split_capability(capability)
        except InvalidCapabilityError:
            return INVALID_REQUEST
        if parts is None:
            return INVALID_REQUEST
        verdict = self._decide_parts(parts)
        text = parts[0]
        if len(text) <= MEMO_LENGTH_MAX:
            if len(self._memo) >= MEMO_SIZE:
                self._memo.clear()
            self._memo[text] = verdict
        return verdict

    def _decide_parts(self, parts: CapabilityParts) -> Verdict:
        allow = self._plugin_allow.matching_parts(parts)
        if allow is None:
            return _NOTHING_ALLOWED
        deny = self._plugin_deny.matching_parts(parts)
        if deny is not None:
            return self._verdict(DenyReason.PLUGIN_DENY_MATCH, allow, deny, None, None)
        workspace = self._workspace_allow.matching_parts(parts)
        if workspace is None:
            return self._verdict(DenyReason.WORKSPACE_ALLOW_MISSING, allow, None, None, None)
        user = self._user_permissions.matching_parts(parts)
        if user is None:
            return self._verdict(DenyReason.USER_PERMISSION_MISSING, allow, None, workspace, None)
        return self._verdict(DenyReason.OK, allow, None, workspace, user)

    def _verdict(self, reason: DenyReason, *patterns: str | None) -> Verdict:
        """Return a verdict, the same object for the same patterns: they also tell the reason."""
        known = self._verdicts.get(patterns)
        if known is None:
            if len(self._verdicts) >= MEMO_SIZE:
                self._verdicts.clear()
            known = self._verdicts[patterns] = Verdict(reason, Matched(*patterns))
        return known


def is_plugin_name(text: object) -> bool:
    """Tell whether a plugin can have that name."""
    return is_text(text) and _PLUGIN_NAME.fullmatch(text) is not None


def decide(
    request: CheckRequest, plugin_allow: CapabilitySet | None, plugin_deny: CapabilitySet | None
) -> Verdict:
    """Decide about a whole request once. None for the plugin's sets: nobody registered it."""
    if not is_plugin_name(request.plugin):
        return INVALID_REQUEST
    if plugin_allow is None or plugin_deny is None:
        return NOT_REGISTERED
    return Policy(
        plugin_allow, plugin_deny, request.workspace_allow, request.user_permissions
    ).decide(request.capability)
