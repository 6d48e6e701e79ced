"""What every manifest must hold to, whether it was read from a file or made in code.

Each rule yields `Problem`s with the path of what is wrong and a line of 0; `manifest_yaml` knows
the lines. The rules of the execution section are in `execution_rules`.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sigil_actors.core.capability import CapabilitySet, check_pattern
from sigil_actors.core.engine_version import CONTRACT_VERSION
from sigil_actors.core.execution_rules import check_duration, check_execution, problem
from sigil_actors.core.version_range import (
    RANGE_FORM,
    VersionRangeError,
    is_version,
    parse_range,
)
from sigil_actors.core.wording import joined, shown
from sigil_actors.errors import InvalidCapabilityError, Problem

if TYPE_CHECKING:
    from sigil_actors.core.manifest import Manifest

PATTERNS_MAX: Final = 256
"""Patterns in one list: many times what a plugin needs, and conflicts are sought in pairs."""

PATTERN_CHARACTERS_MAX: Final = 16_384
"""Characters of all patterns of one list: 64 each on the average; the search costs the product."""

DEPENDENCIES_MAX: Final = 64
"""Plugins that one plugin may build on."""

LICENSE_TEXT_MAX: Final = 128
"""Characters: room for a compound SPDX expression."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_NAME_FORM = (
    "Use 1 to 64 lower-case letters, digits, dots, underscores and hyphens, a letter or digit first"
)


def find_problems(manifest: "Manifest") -> Iterator[Problem]:
    """Yield everything that is wrong with `manifest`."""
    yield from _check_identity(manifest)
    yield from _check_patterns("capabilities", manifest.capabilities)
    yield from _check_patterns("deny_capabilities", manifest.deny_capabilities)
    yield from _check_conflicts(manifest)
    yield from check_execution(manifest.execution)
    yield from _check_config_schema(manifest)
    yield from _check_dependencies(manifest)
    yield from _check_lifecycle(manifest)


def find_remarks(manifest: "Manifest") -> Iterator[Problem]:
    """Yield the denies that cut a piece out of a wider grant, which is what they are for."""
    grants = _good_patterns(manifest.capabilities)
    for index, deny in _good_patterns(manifest.deny_capabilities):
        for _, grant in grants:
            if CapabilitySet(grant).covers(deny) and not CapabilitySet(deny).covers(grant):
                yield problem(
                    f"deny_capabilities[{index}]",
                    f"{shown(deny)} cuts a piece out of the grant {shown(grant)}",
                    "Nothing to do if that is meant",
                )
                break


def _check_identity(manifest: "Manifest") -> Iterator[Problem]:
    if not _NAME.fullmatch(manifest.name):
        yield problem("name", f"{shown(manifest.name)} is no plugin name", _NAME_FORM)
    if not is_version(manifest.version):
        yield problem(
            "version",
            f"{shown(manifest.version)} is no semantic version",
            _version_remedy(manifest),
        )
    if manifest.engine is not None:
        yield from _check_engine(manifest.engine)
    license_text = manifest.license
    if license_text is not None and not _is_license(license_text):
        yield problem(
            "license",
            f"{shown(license_text)} is no licence expression",
            f"Write an SPDX expression such as MIT, at most {LICENSE_TEXT_MAX} characters",
        )


def _version_remedy(manifest: "Manifest") -> str:
    if is_version(manifest.version[1:]):
        return "Leave out the leading v"
    return "Write major.minor.patch, as in 1.2.0 or 1.2.0-rc.1"


def _is_license(text: str) -> bool:
    return 0 < len(text) <= LICENSE_TEXT_MAX and text.isprintable() and not text.isspace()


def _check_engine(engine: str) -> Iterator[Problem]:
    try:
        versions = parse_range(engine)
    except VersionRangeError as error:
        yield problem("engine", f"{shown(engine)} {error.what}", RANGE_FORM)
        return
    if not versions.contains(CONTRACT_VERSION):
        yield problem(
            "engine",
            f"the plugin wants a plugin contract of {shown(engine)}, this runtime speaks "
            f"{CONTRACT_VERSION}",
            "Use a version of the plugin or of the runtime that fits the other",
        )


def _check_patterns(path: str, patterns: Sequence[str]) -> Iterator[Problem]:
    if len(patterns) > PATTERNS_MAX:
        yield problem(path, f"has more than {PATTERNS_MAX} patterns", "Use wider patterns")
    if sum(map(len, patterns)) > PATTERN_CHARACTERS_MAX:
        yield problem(
            path, f"has more than {PATTERN_CHARACTERS_MAX} characters in all", "Use wider patterns"
        )
    for index, pattern in enumerate(patterns):
        try:
            check_pattern(pattern)
        except InvalidCapabilityError as error:
            yield problem(f"{path}[{index}]", error.what, error.remedy or _PATTERN_FORM)


_PATTERN_FORM = (
    "Write segments joined by dots, as in kv.get, messages.send.* or filesystem.read./data/*"
)


def _good_patterns(patterns: Sequence[str]) -> list[tuple[int, str]]:
    """Return the patterns that can be compared, with indexes; none where there are too many."""
    if len(patterns) > PATTERNS_MAX or sum(map(len, patterns)) > PATTERN_CHARACTERS_MAX:
        return []
    good = []
    for index, pattern in enumerate(patterns):
        try:
            check_pattern(pattern)
        except InvalidCapabilityError:
            continue
        good.append((index, pattern))
    return good


def _check_conflicts(manifest: "Manifest") -> Iterator[Problem]:
    denies = [
        (index, deny, CapabilitySet(deny))
        for index, deny in _good_patterns(manifest.deny_capabilities)
    ]
    for index, grant in _good_patterns(manifest.capabilities):
        for deny_index, deny, denied in denies:
            if denied.covers(grant):
                yield problem(
                    f"capabilities[{index}]",
                    f"{shown(grant)} can never take effect, since deny_capabilities[{deny_index}] "
                    f"({shown(deny)}) covers it",
                    "Drop one of the two",
                )
                break


def _check_config_schema(manifest: "Manifest") -> Iterator[Problem]:
    if not manifest.config_schema:
        return
    from sigil_actors.core.json_schema import find_schema_faults

    for fault in find_schema_faults(manifest.config_schema):
        yield problem(joined("config_schema", fault.path), fault.what, fault.remedy)
    if manifest.config_schema.get("type", "object") != "object":
        yield problem(
            "config_schema.type", "a configuration is always an object", "Write type: object"
        )


def _check_dependencies(manifest: "Manifest") -> Iterator[Problem]:
    if len(manifest.dependencies) > DEPENDENCIES_MAX:
        yield problem("dependencies", f"are more than {DEPENDENCIES_MAX}", "Drop some")
        return
    for name, versions in manifest.dependencies.items():
        if not _NAME.fullmatch(name):
            yield problem("dependencies", f"{shown(name)} is no plugin name", _NAME_FORM)
            continue
        path = f"dependencies.{name}"
        if name == manifest.name:
            yield problem(path, "the plugin depends on itself", "Drop the entry")
        try:
            parse_range(versions)
        except VersionRangeError as error:
            yield problem(path, f"{shown(versions)} {error.what}", RANGE_FORM)


def _check_lifecycle(manifest: "Manifest") -> Iterator[Problem]:
    lifecycle = manifest.lifecycle
    yield from check_duration(
        "lifecycle.graceful_shutdown_timeout", lifecycle.graceful_shutdown_timeout, zero=True
    )
    for field, what in lifecycle.restart.problems():
        yield problem(f"lifecycle.restart.{field}", what, "Correct it or leave it out")
    for field in ("period", "backoff", "backoff_max"):
        yield from check_duration(
            f"lifecycle.restart.{field}",
            getattr(lifecycle.restart, field),
            zero=True,
            upper_only=True,
        )
    yield from check_duration("lifecycle.health_interval", lifecycle.health_interval)
