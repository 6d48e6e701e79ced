"""What is remembered of a plugin's versions: the authority that ran last, and what was approved.

Owns whether a version is held until a person says yes. Knows nothing of where the record is kept.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import attrs

from sigil_actors.core.authority import Widening, widenings
from sigil_actors.core.json_value import JsonObject, JsonValue

APPROVED_MAX: Final = 16
"""Approvals kept, the newest, until one of them is accepted: enough for a few that didn't start."""

VERSION_TEXT_MAX: Final = 256
"""Characters of a version; a manifest's is shorter."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_KEYS: Final = frozenset({"accepted", "accepted_version", "accepted_sha256", "approved"})


class ApprovalsFormatError(ValueError):
    """A record isn't what `approvals_to_json` returns, or a hash is none. `what` says why not."""

    def __init__(self, what: str) -> None:
        self.what = what
        super().__init__(what)


@attrs.frozen(kw_only=True)
class PluginApprovals:
    """The record of one plugin. An empty one is that of a plugin that never ran."""

    accepted: JsonObject | None = None
    """The authority of the version that ran last; None: none has run."""
    accepted_version: str = ""
    accepted_sha256: str = ""
    """The hash of its snapshot; empty where it had no folder."""
    approved: tuple[str, ...] = ()
    """Hashes of snapshots that a person approved, newest last, at most `APPROVED_MAX`."""


def held_for(
    approvals: PluginApprovals, authority: JsonObject, snapshot_sha256: str
) -> tuple[Widening, ...]:
    """Return what a version is held for; empty: it may run.

    It may where no version has run before, where it isn't wider than the one that ran last, and
    where its very snapshot was approved. That its snapshot ran last is no reason: the authority
    given might come from elsewhere.

    Args:
        approvals: The plugin's record.
        authority: What `authority_of` returns for the manifest that is *in* the snapshot: an
            approval binds the snapshot's hash, and through it that manifest only.
        snapshot_sha256: The snapshot's hash.
    """
    if approvals.accepted is None or snapshot_sha256 in approvals.approved:
        return ()
    return widenings(approvals.accepted, authority)


def with_accepted(
    approvals: PluginApprovals, authority: JsonObject, version: str, snapshot_sha256: str
) -> PluginApprovals:
    """Return the record after that version has begun to run, narrower or wider than before.

    Approvals stay: a person looked at exactly those files, and going back to them asks nobody anew.
    `without_approvals` takes them back.

    Raises:
        ApprovalsFormatError: `snapshot_sha256` is neither empty nor 64 lower-case hex digits, or
            the version is too long.
    """
    if snapshot_sha256:
        _check_sha256(snapshot_sha256)
    return attrs.evolve(
        approvals,
        accepted=authority,
        accepted_version=_version(version),
        accepted_sha256=snapshot_sha256,
    )


def without_approvals(approvals: PluginApprovals) -> PluginApprovals:
    """Return the record after every approval has been taken back; what ran last stays accepted."""
    return attrs.evolve(approvals, approved=())


def with_approved(approvals: PluginApprovals, snapshot_sha256: str) -> PluginApprovals:
    """Return the record after a person has approved that snapshot.

    Raises:
        ApprovalsFormatError: it is no hash: 64 lower-case hex digits. An empty one, which stands
            for "no folder", would approve whatever comes.
    """
    _check_sha256(snapshot_sha256)
    others = tuple(one for one in approvals.approved if one != snapshot_sha256)
    return attrs.evolve(approvals, approved=(*others, snapshot_sha256)[-APPROVED_MAX:])


def approvals_to_json(approvals: PluginApprovals) -> JsonObject:
    """Return the record as plain JSON values."""
    return {
        "accepted": approvals.accepted,
        "accepted_version": approvals.accepted_version,
        "accepted_sha256": approvals.accepted_sha256,
        "approved": list(approvals.approved),
    }


def approvals_from_json(value: JsonValue) -> PluginApprovals:
    """Return the record that `approvals_to_json` made `value` of.

    Whether `accepted` makes sense is the comparison's to say: what it can't read, it calls wider.

    Raises:
        ApprovalsFormatError: it is anything else. A record that can't be read is never taken for an
            empty one, which would let any version run.
    """
    if not isinstance(value, Mapping) or value.keys() != _KEYS:
        raise ApprovalsFormatError(f"is no object with just the keys {', '.join(sorted(_KEYS))}")
    accepted = value["accepted"]
    if not (accepted is None or isinstance(accepted, Mapping)):
        raise ApprovalsFormatError("has something at accepted that is no object")
    version = _version(value["accepted_version"])
    sha256 = value["accepted_sha256"]
    if sha256 != "":
        _check_sha256(sha256)
    if accepted is None and (version or sha256):
        raise ApprovalsFormatError("names an accepted version, but not what it may do")
    return PluginApprovals(
        accepted=accepted,
        accepted_version=version,
        accepted_sha256=_check_sha256(sha256) if sha256 else "",
        approved=_approved(value["approved"]),
    )


def _approved(value: JsonValue) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ApprovalsFormatError("has something at approved that is no list")
    hashes = tuple(map(_check_sha256, value))
    if len(hashes) > APPROVED_MAX or len(set(hashes)) != len(hashes):
        raise ApprovalsFormatError(f"has more than {APPROVED_MAX} approvals, or one twice")
    return hashes


def _version(value: JsonValue) -> str:
    if not isinstance(value, str) or len(value) > VERSION_TEXT_MAX:
        raise ApprovalsFormatError(f"has no version of at most {VERSION_TEXT_MAX} characters")
    return value


def _check_sha256(value: JsonValue) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise ApprovalsFormatError("has a hash that isn't 64 lower-case hexadecimal digits")
    return value
