"""By which rule the two values at one path of an authority are compared.

Owns the rules, the path that each is for, and the reading of recorded values. Knows nothing of how
a record is made, nor of how many differences anybody wants to see.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

from sigil_actors.core.authority_coverage import (
    PathCover,
    PatternCover,
    SecretCover,
    TargetCover,
    beyond,
)
from sigil_actors.core.execution import ContainerNetwork
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.restart import RestartType

RECORD_FORMAT: Final = 2
"""Changes when a record of before can't be compared with one of now; such plugins are held."""

ENTRIES_MAX: Final = 512
"""Entries of one list or object that are compared: twice those of a manifest's, since what may be
read is held against two lists. A longer one is no manifest's, so it can't be compared."""

TIER: Final = "execution.tier"
WRITE: Final = "execution.sandbox.filesystem.write_allow"
READ: Final = "execution.sandbox.filesystem.read_allow"

# The rules: each yields what the new value allows and the old one doesn't, and raises ValueError or
# InvalidCapabilityError for a value that it can't read.

Rule: TypeAlias = Callable[[JsonValue, JsonValue], Iterator[str]]


def _format(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for value in (old, new):
        if type(value) is not int or value != RECORD_FORMAT:
            yield "was recorded in a way that can't be compared"
            return


def _patterns_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for pattern in beyond(PatternCover(), texts_of(old), texts_of(new)):
        yield f"adds {pattern}"


def _patterns_dropped(old: JsonValue, new: JsonValue) -> Iterator[str]:
    # Also where no grant is left that the deny would cut: a later version may bring it back.
    for pattern in beyond(PatternCover(), texts_of(new), texts_of(old)):
        yield f"no longer denies {pattern}"


def _paths_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for path in beyond(PathCover(), texts_of(old), texts_of(new)):
        yield f"adds {path}"


def _paths_dropped(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for path in beyond(PathCover(), texts_of(new), texts_of(old)):
        yield f"no longer hides {path}"


def _targets_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for target in beyond(TargetCover(), texts_of(old), texts_of(new)):
        yield f"adds {target}"


def _secrets_dropped(old: JsonValue, new: JsonValue) -> Iterator[str]:
    if isinstance(old, str) or isinstance(new, str):
        if old != new:
            yield "marks other keys as secret, and too many to compare"
        return
    for key in beyond(SecretCover(), texts_of(new), texts_of(old)):
        yield f"no longer marks {key} as secret"


def _variables_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    held = _digests_by_name(old)
    for name, digest in _digests_by_name(new).items():
        if name not in held:
            yield f"adds the variable {name}"
        elif held[name] != digest:
            yield f"changes the variable {name}"


def _limit_raised(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = _limit(old), _limit(new)
    if before is None:
        return
    if after is None:
        yield f"has no bound any more; it was {before}"
    elif not after <= before:  # and not `after > before`, which is False for what is no number
        yield f"rises from {before} to {after}"


def _limit_lowered(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = _limit(old), _limit(new)
    if before is None or after is None:
        raise _UnreadableError("no number")
    if not after >= before:  # and not `after < before`, which is False for what is no number
        yield f"falls from {before} to {after}"


def _turned_on(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = _flag(old), _flag(new)
    if after and not before:
        yield "is turned on"


def _turned_off(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = _flag(old), _flag(new)
    if before and not after:
        yield "is turned off"


def _tier_changed(old: JsonValue, new: JsonValue) -> Iterator[str]:
    # No order among them: each bounds something that another doesn't. A Wasm guest has no file and
    # no socket but lives in the host's own process; a process has limits on processes and time that
    # a container lacks; a container has a kernel and a root of its own. So none is provably
    # stronger than another, and a person looks at every change.
    before, after = _text(old), _text(new)
    if before != after:
        yield f"changes from {before} to {after}"


def _word_changed(old: JsonValue, new: JsonValue) -> Iterator[str]:
    # A type decides who calls the plugin, and for what. An instance for each call takes the
    # memory, the fuel and a thread as many times as there are calls; one for all keeps what one
    # caller said for the next. So neither is the safer one.
    before, after = _text(old), _text(new)
    if before != after:
        yield f"changes from {before} to {after}"


_RESTART_TYPES = (RestartType.TEMPORARY, RestartType.TRANSIENT, RestartType.PERMANENT)
"""From less to more."""


def _restarts_more(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = RestartType(_text(old)), RestartType(_text(new))
    if _RESTART_TYPES.index(after) > _RESTART_TYPES.index(before):
        yield f"changes from {before} to {after}"


_NETWORKS = (ContainerNetwork.NONE, ContainerNetwork.RESTRICTED, ContainerNetwork.HOST)
"""From less to more."""


def _network_opened(old: JsonValue, new: JsonValue) -> Iterator[str]:
    before, after = ContainerNetwork(_text(old)), ContainerNetwork(_text(new))
    if _NETWORKS.index(after) > _NETWORKS.index(before):
        yield f"opens from {before} to {after}"


def _changed(old: JsonValue, new: JsonValue) -> Iterator[str]:
    if _text(old) != _text(new):
        yield "change, and only their tier knows what they mean"


# Readers of recorded values. A record comes from a file, so nothing about its types is certain.


class _UnreadableError(ValueError):
    """A recorded value is of another kind than its rule compares."""


def _text(value: JsonValue) -> str:
    if not isinstance(value, str):
        raise _UnreadableError("no text")
    return value


def texts_of(value: JsonValue) -> Sequence[str]:
    """Return a recorded list of texts.

    Raises:
        ValueError: it is none, or has more than `ENTRIES_MAX`.
    """
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _UnreadableError("no list")
    if len(value) > ENTRIES_MAX:
        raise _UnreadableError("too long")
    return [_text(one) for one in value]


def _digests_by_name(value: JsonValue) -> Mapping[str, str]:
    if not isinstance(value, Mapping) or len(value) > ENTRIES_MAX:
        raise _UnreadableError("no object, or too long")
    return {name: _text(one) for name, one in value.items()}


def _flag(value: JsonValue) -> bool:
    if not isinstance(value, bool):
        raise _UnreadableError("neither true nor false")
    return value


def _limit(value: JsonValue) -> int | float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _UnreadableError("no number")
    return value


ALWAYS: Final = (
    "format",
    "type",
    "config_schema",
    "capabilities",
    "deny_capabilities",
    "storage.kv",
    TIER,
    "lifecycle.graceful_shutdown_timeout",
    "lifecycle.health_interval",
    "lifecycle.restart.type",
    "lifecycle.restart.max_restarts",
    "lifecycle.restart.period",
    "lifecycle.restart.backoff",
    "lifecycle.restart.backoff_max",
)
"""What every record has; one without it is none, and everything is wider than none."""

NOTHING: Final[JsonObject] = {
    "execution.env": {},
    WRITE: [],
    READ: [],
    "execution.sandbox.network.allow": [],
    "execution.network": str(ContainerNetwork.NONE),
}
"""What a tier that lacks the key has of it."""

RULES: Final[Mapping[str, Rule]] = {
    "format": _format,
    "type": _word_changed,
    "config_schema": _secrets_dropped,
    "capabilities": _patterns_added,
    "deny_capabilities": _patterns_dropped,
    "storage.kv": _turned_on,
    TIER: _tier_changed,
    "execution.env": _variables_added,
    "execution.start_timeout": _limit_raised,
    WRITE: _paths_added,
    READ: _paths_added,
    "execution.sandbox.filesystem.read_deny": _paths_dropped,
    "execution.sandbox.network.allow": _targets_added,
    "execution.sandbox.network.proxy": _turned_off,
    "execution.sandbox.limits.memory": _limit_raised,
    "execution.sandbox.limits.pids": _limit_raised,
    "execution.sandbox.limits.open_files": _limit_raised,
    "execution.sandbox.limits.cpu": _limit_raised,
    "execution.wasm.instance": _word_changed,
    "execution.wasm.fuel": _limit_raised,
    "execution.wasm.timeout": _limit_raised,
    "execution.wasm.memory": _limit_raised,
    "execution.memory_limit": _limit_raised,
    "execution.network": _network_opened,
    "execution.options": _changed,
    "lifecycle.graceful_shutdown_timeout": _limit_raised,
    "lifecycle.health_interval": _limit_raised,
    "lifecycle.restart.type": _restarts_more,
    "lifecycle.restart.max_restarts": _limit_raised,
    "lifecycle.restart.period": _limit_lowered,
    "lifecycle.restart.backoff": _limit_lowered,
    "lifecycle.restart.backoff_max": _limit_lowered,
}
