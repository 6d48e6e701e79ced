"""Says why a check is allowed or denied, set by set, and what would change the answer.

Owns the words. The decision itself is `core.policy`'s: an explanation is made around it, so that
the two can't disagree.
"""

from enum import StrEnum
from itertools import islice, takewhile
from typing import Final, assert_never

import attrs

from sigil_actors.core.capability import (
    LENGTH_MAX,
    STAR,
    CapabilitySet,
    check_capability,
    split_capability,
)
from sigil_actors.core.policy import CheckRequest, DenyReason, Verdict, decide, is_plugin_name
from sigil_actors.core.text import escape_text, is_text
from sigil_actors.errors import InvalidCapabilityError

NEAREST_PATTERNS_MAX: Final = 256
"""Patterns of a set that are looked at for the nearest one: every denial pays for it."""

NEAREST_LENGTH_MAX: Final = 128
"""Characters of each that are compared. With the above, some milliseconds at the very worst."""

_NEAR_MIN = 3  # characters that two names share at least before one is shown as near to the other
_ESCAPE_LENGTH_MAX = 10  # characters that one becomes when it is escaped


class SetName(StrEnum):
    """The four sets, in the order in which they are asked."""

    PLUGIN_ALLOW = "plugin_allow"
    PLUGIN_DENY = "plugin_deny"
    WORKSPACE_ALLOW = "workspace_allow"
    USER_PERMISSIONS = "user_permissions"


@attrs.frozen
class SetExplanation:
    """What one set says about the capability."""

    name: SetName
    consulted: bool
    """Whether the decision got as far as this set. The fields below are told in any case."""
    matched: str | None
    """The pattern that matches; None where none does."""
    nearest: str | None
    """Where none does and one should: the pattern with the longest beginning in common."""


@attrs.frozen
class Explanation:
    """A verdict and what each set said."""

    request: CheckRequest
    verdict: Verdict
    plugin_allow: SetExplanation
    plugin_deny: SetExplanation
    workspace_allow: SetExplanation
    user_permissions: SetExplanation
    remedy: str
    """One sentence: who can change the answer and with which YAML. Empty where it is allowed."""

    @property
    def sets(self) -> tuple[SetExplanation, ...]:
        """Return the four sets in the order in which they are asked."""
        return (self.plugin_allow, self.plugin_deny, self.workspace_allow, self.user_permissions)

    def text(self) -> str:
        """Return it for people, some lines long; whatever a stranger wrote is escaped."""
        request = self.request
        answer = "allowed" if self.verdict.allowed else f"denied ({self.verdict.reason})"
        lines = [
            f"{_quoted(request.capability)} for plugin {_quoted(request.plugin)}"
            f" in workspace {_quoted(request.workspace_id)}: {answer}",
            *(f"  {one.name:<16}  {_what_it_says(one)}" for one in self.sets),
        ]
        if self.remedy:
            lines.append(self.remedy)
        return "\n".join(lines)


def explain(
    request: CheckRequest, plugin_allow: CapabilitySet | None, plugin_deny: CapabilitySet | None
) -> Explanation:
    """Decide about a request and say why. None for the plugin's sets: nobody registered it."""
    verdict = decide(request, plugin_allow, plugin_deny)
    asked = _SETS_ASKED[verdict.reason]

    def of(name: SetName, place: int, patterns: CapabilitySet | None) -> SetExplanation:
        return _explain_set(name, patterns, request.capability, consulted=place < asked)

    return Explanation(
        request=request,
        verdict=verdict,
        plugin_allow=of(SetName.PLUGIN_ALLOW, 0, plugin_allow),
        plugin_deny=of(SetName.PLUGIN_DENY, 1, plugin_deny),
        workspace_allow=of(SetName.WORKSPACE_ALLOW, 2, request.workspace_allow),
        user_permissions=of(SetName.USER_PERMISSIONS, 3, request.user_permissions),
        remedy=_remedy(request, verdict),
    )


# How many of the sets were asked before that was the answer.
_SETS_ASKED: Final = {
    DenyReason.INVALID_REQUEST: 0,
    DenyReason.PLUGIN_NOT_REGISTERED: 0,
    DenyReason.PLUGIN_ALLOW_MISSING: 1,
    DenyReason.PLUGIN_DENY_MATCH: 2,
    DenyReason.WORKSPACE_ALLOW_MISSING: 3,
    DenyReason.USER_PERMISSION_MISSING: 4,
    DenyReason.OK: 4,
}


def _explain_set(
    name: SetName, patterns: CapabilitySet | None, capability: str, *, consulted: bool
) -> SetExplanation:
    if patterns is None or not _is_capability(capability):
        return SetExplanation(name, consulted, None, None)
    matched = patterns.matching(capability)
    near = None
    if matched is None and name is not SetName.PLUGIN_DENY:
        near = _nearest(capability, patterns)
    return SetExplanation(name, consulted, matched, near)


def _is_capability(text: object) -> bool:
    try:
        return is_text(text) and split_capability(text) is not None
    except InvalidCapabilityError:
        return False


def _nearest(capability: str, patterns: CapabilitySet) -> str | None:
    def shared(pattern: str) -> int:
        pairs = zip(capability[:NEAREST_LENGTH_MAX], pattern, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    best = max(islice(patterns, NEAREST_PATTERNS_MAX), key=shared, default="")
    return best if shared(best) >= _NEAR_MIN else None


def _remedy(request: CheckRequest, verdict: Verdict) -> str:  # noqa: PLR0911 - one a reason
    match verdict.reason:
        case DenyReason.OK:
            return ""
        case DenyReason.INVALID_REQUEST:
            return _remedy_for_an_invalid_request(request)
        case DenyReason.PLUGIN_NOT_REGISTERED:
            return "Load the plugin, or mend the name that is asked for"
        case DenyReason.PLUGIN_ALLOW_MISSING:
            return f"The manifest's author can ask for it: {_yaml('capabilities', request)}"
        case DenyReason.PLUGIN_DENY_MATCH:
            return (
                f"The manifest's author can take {_quoted(verdict.matched.plugin_deny)}"
                " out of deny_capabilities, which wins over every grant"
            )
        case DenyReason.WORKSPACE_ALLOW_MISSING:
            return f"The workspace's owner can allow it: {_yaml('workspace_allow', request)}"
        case DenyReason.USER_PERMISSION_MISSING:
            return f"The user's administrator can allow it: {_yaml('user_permissions', request)}"
        case never:
            assert_never(never)


def _remedy_for_an_invalid_request(request: CheckRequest) -> str:
    if not is_plugin_name(request.plugin):
        return "Ask for a plugin by its name: a-z 0-9 . _ - and 64 characters at most"
    try:
        check_capability(request.capability)
    except (InvalidCapabilityError, TypeError) as error:
        return f"Nothing can allow it as it is written: {error}"
    raise AssertionError(request)


def _yaml(key: str, request: CheckRequest) -> str:
    """Return the line of YAML that adds the capability, whatever characters it has."""
    # Always quoted, since `true` and `1.0` are capabilities. Our escapes are those of YAML.
    text = escape_text(request.capability, limit=LENGTH_MAX * _ESCAPE_LENGTH_MAX)
    line = f'{key}: ["{text.replace(chr(34), chr(92) + chr(34))}"]'
    if STAR in text:
        line += " (as a pattern its star stands for more)"
    return line


def _what_it_says(one: SetExplanation) -> str:
    said = f"{_quoted(one.matched)} matches" if one.matched is not None else "no pattern matches"
    if one.nearest is not None:
        said += f"; the nearest is {_quoted(one.nearest)}"
    return said if one.consulted else f"{said} (not asked)"


def _quoted(text: object) -> str:
    return f"'{escape_text(text)}'" if is_text(text) else f"({type(text).__name__})"
