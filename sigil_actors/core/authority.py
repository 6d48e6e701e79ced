"""What a version of a plugin may do at most, as plain values, and where another one may do more.

Owns the record of a manifest's authority and the comparison of two of them. The record outlives the
manifest it was made from, so it is JSON, keyed by the manifest's own paths. Knows nothing of who
approves what.

The comparison is by meaning and errs towards wider: what it can't decide, doesn't know or can't
read is wider. Patience of the host counts as well: who waits longer or restarts more often lets a
plugin take more. Not compared is what changes with any version (the code: command, module, image,
sha256), and what grants nothing: which plugins must run before it, whether a changed folder is
taken up by itself, and what its configuration looks like but for the secrets.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, assert_never

import attrs

from sigil_actors.core.authority_rules import (
    ALWAYS,
    NOTHING,
    READ,
    RECORD_FORMAT,
    RULES,
    TIER,
    WRITE,
    texts_of,
)
from sigil_actors.core.execution import (
    ContainerExecution,
    Execution,
    ProcessExecution,
    RegisteredExecution,
    WasmExecution,
)
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.manifest import LifecyclePolicy, Manifest
from sigil_actors.core.text import escape_text
from sigil_actors.errors import InvalidCapabilityError

WIDENINGS_MAX: Final = 64
"""Lines that are listed: more than a person reads before saying no. Each path has one of them."""

UNKNOWN_MAX: Final = 4
"""Lines of them for what no version of now has: it is wrong, however much of it there is."""

WHAT_MAX: Final = 300
"""Characters of one difference; the longest honest path or pattern is shorter."""

SECRETS_MAX: Final = 256
"""Secret keys that are recorded one by one."""

SECRET_CHARACTERS_MAX: Final = 16_384
"""Of all of them; a schema with references can have far more. Of such only the hash is recorded."""


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
        "type": str(manifest.type),
        "config_schema": _secrets(manifest.secret_config_keys()),
        "capabilities": list(manifest.capabilities),
        "deny_capabilities": list(manifest.deny_capabilities),
        "storage.kv": manifest.storage.kv,
        "execution.tier": str(manifest.execution.tier),
        **_authority_of_execution(manifest.execution),
        **_patience_of(manifest.lifecycle),
    }


def _secrets(keys: Sequence[str]) -> JsonValue:
    if len(keys) <= SECRETS_MAX and sum(map(len, keys)) <= SECRET_CHARACTERS_MAX:
        return list(keys)
    # Their lengths stand in it, so that no two lists are one text.
    digest = hashlib.sha256()
    for key in keys:
        digest.update(f"{len(key)}:{key}".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _patience_of(lifecycle: LifecyclePolicy) -> JsonObject:
    restart = lifecycle.restart
    return {
        "lifecycle.graceful_shutdown_timeout": lifecycle.graceful_shutdown_timeout,
        "lifecycle.health_interval": lifecycle.health_interval,
        "lifecycle.restart.type": str(restart.type),
        "lifecycle.restart.max_restarts": restart.max_restarts,
        "lifecycle.restart.period": restart.period,
        "lifecycle.restart.backoff": restart.backoff,
        "lifecycle.restart.backoff_max": restart.backoff_max,
    }


def _authority_of_execution(execution: Execution) -> JsonObject:
    match execution:
        case ProcessExecution():
            sandbox = execution.sandbox
            return {
                "execution.env": _digests(execution.env),
                "execution.start_timeout": execution.start_timeout,
                WRITE: list(sandbox.filesystem.write_allow),
                READ: list(sandbox.filesystem.read_allow),
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
                "execution.start_timeout": execution.start_timeout,
                "execution.wasm.instance": str(execution.wasm.instance),
                "execution.wasm.fuel": execution.wasm.fuel,
                "execution.wasm.timeout": execution.wasm.timeout,
                "execution.wasm.memory": execution.wasm.memory,
            }
        case ContainerExecution():
            return {
                "execution.env": _digests(execution.env),
                "execution.start_timeout": execution.start_timeout,
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
    are listed, by path. Each path that is wider has at least one, the widest; where one has too
    many, its last says how many more there are. So nothing that is added at one path keeps another
    from being seen.
    """
    paths = {*ALWAYS, *old, *new}
    found = {path: _compare(path, old, new) for path in sorted(paths & RULES.keys())}
    unknown = sorted(paths - RULES.keys())
    room = WIDENINGS_MAX - min(len(unknown), UNKNOWN_MAX)
    listed_max = _listed_max([len(lines) for lines in found.values()], room)
    listed = [
        Widening(path, _cut(line, WHAT_MAX))
        for path, lines in found.items()
        for line in _first(lines, listed_max)
    ]
    if len(unknown) > UNKNOWN_MAX:
        left_out = len(unknown) - (UNKNOWN_MAX - 1)
        unknown[UNKNOWN_MAX - 1 :] = []
        last = [Widening("", f"and {left_out} more things that can't be compared")]
    else:
        last = []
    odd = [
        Widening(_cut(path, WHAT_MAX), "is something that can't be compared") for path in unknown
    ]
    return (*listed, *odd, *last)


def _listed_max(counts: Sequence[int], room: int) -> int:
    """Return how many lines a path may have beside that which says that there are more."""
    # Some 35 paths are known, and 8 of them hold lists, so with 1 they always fit.
    return max(
        (
            most
            for most in range(1, room + 1)
            if sum(min(count, most) + (count > most) for count in counts) <= room
        ),
        default=1,
    )


def _first(lines: Sequence[str], listed_max: int) -> Iterable[str]:
    left_out = len(lines) - listed_max
    return lines if left_out <= 0 else (*lines[:listed_max], f"and {left_out} more of these")


def _cut(text: str, length_max: int) -> str:
    return text if len(text) <= length_max else text[: length_max - 1] + "…"


def _compare(path: str, old: JsonObject, new: JsonObject) -> Sequence[str]:
    rule = RULES[path]
    if path not in old or path not in new:
        if path in ALWAYS or old.get(TIER) == new.get(TIER):
            return ("doesn't stand in both versions, so it can't be compared",)
        # The change of the tier is wider already. What it adds is shown besides; a limit that only
        # one of the two tiers has says nothing.
        if path in old or path not in NOTHING:
            return ()
    try:
        return tuple(rule(_old_value(path, old), new.get(path)))
    except (ValueError, InvalidCapabilityError):
        return ("can't be compared",)


def _old_value(path: str, old: JsonObject) -> JsonValue:
    value = old.get(path, NOTHING.get(path))
    if path == READ:
        # What may be written may be read as well.
        return [*texts_of(value), *texts_of(old.get(WRITE, ()))]
    return value
