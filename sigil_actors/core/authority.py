"""What a version of a plugin may do at most, as plain values, and where another one may do more.

Owns the record of a manifest's authority and the comparison of two of them. The record outlives the
manifest it was made from, so it is JSON, keyed by the manifest's own paths. Knows nothing of who
approves what.

The comparison is by meaning and errs towards wider: what it can't decide, doesn't know or can't
read is wider. Not compared is what changes with any version (the code: command, module, image,
sha256), what a plugin is called for beyond its capabilities (type, configuration, dependencies),
and the host's patience with it (start_timeout, lifecycle), which grants it nothing.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias, assert_never

import attrs

from sigil_actors.core.capability import CapabilitySet
from sigil_actors.core.execution import (
    ContainerExecution,
    ContainerNetwork,
    Execution,
    ProcessExecution,
    RegisteredExecution,
    WasmExecution,
)
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.network_target import NetworkTarget, parse_network_target
from sigil_actors.core.text import escape_text
from sigil_actors.errors import InvalidCapabilityError

RECORD_FORMAT: Final = 1
"""Changes when a record of before can't be compared with one of now; such plugins are held."""

WIDENINGS_MAX: Final = 64
"""Differences that are listed: more than a person reads before saying no."""

WHAT_MAX: Final = 300
"""Characters of one difference; the longest honest path or pattern is shorter."""


@attrs.frozen
class Widening:
    """One thing that a new version may do and the old one may not."""

    path: str
    """The manifest's: `execution.sandbox.network.allow`. Empty: not about one place."""
    what: str
    """Holds the manifest's own words as they stand; `text` is for showing."""

    def text(self) -> str:
        """Return it for people: one line, every character visible."""
        return escape_text(f"{self.path}: {self.what}" if self.path else self.what)


def authority_of(manifest: Manifest) -> JsonObject:
    """Return what `manifest` allows at most, by path; values of variables only as their SHA-256."""
    return {
        "format": RECORD_FORMAT,
        "capabilities": list(manifest.capabilities),
        "deny_capabilities": list(manifest.deny_capabilities),
        "storage.kv": manifest.storage.kv,
        "execution.tier": str(manifest.execution.tier),
        **_authority_of_execution(manifest.execution),
    }


def _authority_of_execution(execution: Execution) -> JsonObject:
    match execution:
        case ProcessExecution():
            sandbox = execution.sandbox
            return {
                "execution.env": _digests(execution.env),
                _WRITE: list(sandbox.filesystem.write_allow),
                _READ: list(sandbox.filesystem.read_allow),
                "execution.sandbox.filesystem.read_deny": list(sandbox.filesystem.read_deny),
                "execution.sandbox.network.allow": list(sandbox.network.allow),
                "execution.sandbox.network.proxy": sandbox.network.proxy,
                "execution.sandbox.limits.memory": sandbox.limits.memory,
                "execution.sandbox.limits.pids": sandbox.limits.pids,
                "execution.sandbox.limits.open_files": sandbox.limits.open_files,
                "execution.sandbox.limits.cpu": sandbox.limits.cpu,
            }
        case WasmExecution():
            return {
                "execution.wasm.fuel": execution.wasm.fuel,
                "execution.wasm.timeout": execution.wasm.timeout,
                "execution.wasm.memory": execution.wasm.memory,
            }
        case ContainerExecution():
            return {
                "execution.env": _digests(execution.env),
                "execution.memory_limit": execution.memory_limit,
                "execution.network": str(execution.network),
            }
        case RegisteredExecution():
            # Only that tier knows what they mean, and which of them are secret.
            options = json.dumps(_plain(execution.options), sort_keys=True)
            return {"execution.options": _digest(options)}
        case _ as never:
            assert_never(never)


def _digests(env: Mapping[str, str]) -> JsonObject:
    return {name: _digest(value) for name, value in env.items()}


def _digest(text: str) -> str:
    # Half of a surrogate pair is no valid text, but must not keep a record from being made.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(value: JsonValue) -> JsonValue:
    """Return `value` in the types that json writes; a manifest's are read-only ones."""
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(inner) for inner in value]
    return value


def widenings(old: JsonObject, new: JsonObject) -> tuple[Widening, ...]:
    """Return where the authority `new` goes beyond `old`; empty only where it provably doesn't.

    Both are what `authority_of` returned, also after a round through JSON. At most `WIDENINGS_MAX`
    are listed, and one more that says that there are others.
    """
    found: list[Widening] = []
    for path in sorted({*_ALWAYS, *old, *new}):
        for what in _compare(path, old, new):
            if len(found) == WIDENINGS_MAX:
                return (*found, Widening("", "and there is more"))
            found.append(Widening(path[:WHAT_MAX], what[:WHAT_MAX]))
    return tuple(found)


def _compare(path: str, old: JsonObject, new: JsonObject) -> Sequence[str]:
    rule = _RULES.get(path)
    if rule is None:
        return ("is something that can't be compared",)
    if (path in old) != (path in new):
        if path in _ALWAYS or old.get(_TIER) == new.get(_TIER):
            return ("stands in one of the two versions only, so it can't be compared",)
        # The change of the tier is wider already. What it adds is shown besides; a limit that only
        # one of the two tiers has says nothing.
        if path in old or path not in _NOTHING:
            return ()
    try:
        return tuple(rule(_old_value(path, old), new.get(path)))
    except (ValueError, InvalidCapabilityError):
        return ("can't be compared",)


def _old_value(path: str, old: JsonObject) -> JsonValue:
    value = old.get(path, _NOTHING.get(path))
    if path == _READ:
        # What may be written may be read as well.
        return [*_texts(value), *_texts(old.get(_WRITE, ()))]
    return value


# The rules: each yields what the new value allows and the old one doesn't, and raises ValueError or
# InvalidCapabilityError for a value that it can't read.

_Rule: TypeAlias = Callable[[JsonValue, JsonValue], Iterator[str]]


def _format(old: JsonValue, new: JsonValue) -> Iterator[str]:
    for value in (old, new):
        if type(value) is not int or value != RECORD_FORMAT:
            yield "was recorded in a way that can't be compared"
            return


def _patterns_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    held = CapabilitySet(*_texts(old))
    for pattern in _texts(new):
        if not held.covers(pattern):
            yield f"adds {pattern}"


def _patterns_dropped(old: JsonValue, new: JsonValue) -> Iterator[str]:
    # Also where no grant is left that the deny would cut: a later version may bring it back.
    kept = CapabilitySet(*_texts(new))
    for pattern in _texts(old):
        if not kept.covers(pattern):
            yield f"no longer denies {pattern}"


def _paths_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    held = [_normal(path) for path in _texts(old)]
    for path in _texts(new):
        if not _is_below_one(held, _normal(path)):
            yield f"adds {path}"


def _paths_dropped(old: JsonValue, new: JsonValue) -> Iterator[str]:
    kept = [_normal(path) for path in _texts(new)]
    for path in _texts(old):
        if not _is_below_one(kept, _normal(path)):
            yield f"no longer hides {path}"


def _is_below_one(trees: Sequence[str], path: str) -> bool:
    return any(_path_covers(tree, path) for tree in trees)


def _path_covers(ours: str, path: str) -> bool:
    """Tell whether `path` is `ours` or lies below it; `/data/*` is all below `/data`, not itself.

    A star elsewhere, the component `self` and `~` stand for themselves: each of them means the same
    in both versions, and whatever they stand for, it is still below what comes before them.
    """
    if ours == path:
        return True
    return path.startswith(ours.removesuffix("/*").rstrip("/") + "/")


def _normal(path: str) -> str:
    components = [part for part in path.split("/") if part not in {"", "."}]
    if ".." in components:
        raise ValueError("it leads out of what it names")
    return ("/" if path.startswith("/") else "") + "/".join(components)


def _targets_added(old: JsonValue, new: JsonValue) -> Iterator[str]:
    held = [parse_network_target(text) for text in _texts(old)]
    for text in _texts(new):
        target = parse_network_target(text)
        if not any(_target_covers(ours, target) for ours in held):
            yield f"adds {text}"


def _target_covers(ours: NetworkTarget, target: NetworkTarget) -> bool:
    if ours == target:
        return True
    return (
        ours.is_wildcard
        and not target.is_address
        and ours.port == target.port
        and target.host.endswith(f".{ours.host}")
    )


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


def _texts(value: JsonValue) -> Sequence[str]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise _UnreadableError("no list")
    return [_text(one) for one in value]


def _digests_by_name(value: JsonValue) -> Mapping[str, str]:
    if not isinstance(value, Mapping):
        raise _UnreadableError("no object")
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


_TIER = "execution.tier"
_WRITE = "execution.sandbox.filesystem.write_allow"
_READ = "execution.sandbox.filesystem.read_allow"

_ALWAYS: Final = ("format", "capabilities", "deny_capabilities", "storage.kv", _TIER)
"""What every record has; one without it is none, and everything is wider than none."""

_NOTHING: Final[JsonObject] = {
    "execution.env": {},
    _WRITE: [],
    _READ: [],
    "execution.sandbox.network.allow": [],
    "execution.network": str(ContainerNetwork.NONE),
}
"""What a tier that lacks the key has of it."""

_RULES: Final[Mapping[str, _Rule]] = {
    "format": _format,
    "capabilities": _patterns_added,
    "deny_capabilities": _patterns_dropped,
    "storage.kv": _turned_on,
    _TIER: _tier_changed,
    "execution.env": _variables_added,
    _WRITE: _paths_added,
    _READ: _paths_added,
    "execution.sandbox.filesystem.read_deny": _paths_dropped,
    "execution.sandbox.network.allow": _targets_added,
    "execution.sandbox.network.proxy": _turned_off,
    "execution.sandbox.limits.memory": _limit_raised,
    "execution.sandbox.limits.pids": _limit_raised,
    "execution.sandbox.limits.open_files": _limit_raised,
    "execution.sandbox.limits.cpu": _limit_raised,
    "execution.wasm.fuel": _limit_raised,
    "execution.wasm.timeout": _limit_raised,
    "execution.wasm.memory": _limit_raised,
    "execution.memory_limit": _limit_raised,
    "execution.network": _network_opened,
    "execution.options": _changed,
}
