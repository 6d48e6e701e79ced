"""What the execution section of a manifest must hold to: paths, network, environment, limits."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, assert_never

from sigil_actors.core.execution import (
    KIBIBYTE,
    MEBIBYTE,
    ContainerExecution,
    Execution,
    FilesystemPolicy,
    Limits,
    NetworkPolicy,
    ProcessExecution,
    RegisteredExecution,
    WasmExecution,
    WasmLimits,
)
from sigil_actors.core.network_target import (
    TARGET_FORM,
    NetworkTargetError,
    parse_network_target,
)
from sigil_actors.core.quantities import DURATION_FORM, DURATION_S_MAX, SIZE_BYTES_MAX
from sigil_actors.core.wording import shown
from sigil_actors.errors import Problem

ENTRIES_MAX: Final = 256
"""Entries of one list or mapping: each becomes a mount, a rule or a variable."""

PATH_TEXT_MAX: Final = 4_096
"""Characters of one path: Linux's PATH_MAX."""

ARGUMENT_TEXT_MAX: Final = 32_768
"""Characters of one argument or variable: a quarter of what Linux takes in one (MAX_ARG_STRLEN)."""

PIDS_MAX: Final = 65_536
OPEN_FILES_MIN: Final = 16
"""The standard streams, the socket, and what a dynamic linker opens at the same time."""
OPEN_FILES_MAX: Final = 1_048_576
"""Linux's own fs.nr_open."""
CPU_MAX: Final = 1_024.0
FUEL_MAX: Final = 10**18
"""Below a signed 64-bit number; nobody's call runs that long."""

_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]{0,511}", re.ASCII)
_TIER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)

# The protocol's own variables (go-plugin, docs/internals.md, and this project's contract).
_PROTOCOL_VARIABLES = frozenset(
    {
        "SIGIL_PLUGIN",
        "SIGIL_HOST_ADDRESS",
        "PLUGIN_PROTOCOL_VERSIONS",
        "PLUGIN_MIN_PORT",
        "PLUGIN_MAX_PORT",
        "PLUGIN_UNIX_SOCKET_DIR",
        "PLUGIN_CLIENT_CERT",
        "PLUGIN_MULTIPLEX_GRPC",
    }
)


def problem(path: str, what: str, remedy: str) -> Problem:
    """Return a problem whose line isn't known."""
    return Problem(path=path, line=0, what=what, remedy=remedy)


def check_duration(
    path: str, seconds: float, *, zero: bool = False, upper_only: bool = False
) -> Iterator[Problem]:
    """Check that `seconds` can be waited for; `zero` says whether not at all will do."""
    if seconds > DURATION_S_MAX:
        yield problem(path, "is longer than a day", "Write 24h or less")
    elif not upper_only and not seconds >= 0:
        yield problem(path, "must not be negative", DURATION_FORM)
    elif not zero and seconds == 0:
        yield problem(path, "must be longer than nothing", DURATION_FORM)


def check_execution(execution: Execution) -> Iterator[Problem]:
    """Yield everything that is wrong with the section, paths from `execution` on."""
    match execution:
        case ProcessExecution():
            yield from _check_process(execution)
        case WasmExecution():
            yield from _check_wasm(execution)
        case ContainerExecution():
            yield from _check_container(execution)
        case RegisteredExecution():
            yield from _check_registered(execution)
        case _ as never:
            assert_never(never)


def _check_process(execution: ProcessExecution) -> Iterator[Problem]:
    yield from _check_command(execution.command)
    yield from _check_env(execution.env)
    yield from _check_sha256(execution.sha256)
    yield from check_duration("execution.start_timeout", execution.start_timeout)
    yield from _check_filesystem(execution.sandbox.filesystem)
    yield from _check_network(execution.sandbox.network)
    yield from _check_limits(execution.sandbox.limits)


def _check_wasm(execution: WasmExecution) -> Iterator[Problem]:
    path = "execution.module"
    faults = list(check_path(path, execution.module))
    if not faults and execution.module.startswith(("/", "~")):
        faults = [
            problem(
                path,
                f"{shown(execution.module)} lies outside the plugin's folder",
                "Put the module into the folder and write its path from there",
            )
        ]
    yield from faults
    yield from _check_wasm_limits(execution.wasm)
    yield from _check_sha256(execution.sha256)
    yield from check_duration("execution.start_timeout", execution.start_timeout)


def _check_container(execution: ContainerExecution) -> Iterator[Problem]:
    if not execution.image:
        yield problem("execution.image", "is missing", "Name the image, as in ghcr.io/org/name:tag")
    elif not _IMAGE.fullmatch(execution.image):
        yield problem(
            "execution.image",
            f"{shown(execution.image)} is no image reference",
            "Write registry/name:tag or registry/name@sha256:digest",
        )
    if execution.memory_limit is None:
        yield problem("execution.memory_limit", "is missing", "Write one, as in 256Mi")
    else:
        yield from _check_size("execution.memory_limit", execution.memory_limit, MEBIBYTE)
    yield from _check_env(execution.env)
    yield from check_duration("execution.start_timeout", execution.start_timeout)


def _check_registered(execution: RegisteredExecution) -> Iterator[Problem]:
    if not _TIER.fullmatch(execution.tier):
        yield problem(
            "execution.tier",
            f"{shown(execution.tier)} is no word for a tier",
            "Use lower-case letters",
        )


def _check_command(command: Sequence[str]) -> Iterator[Problem]:
    path = "execution.command"
    yield from _check_count(path, len(command))
    for index, argument in enumerate(command[:ENTRIES_MAX]):
        if index == 0:
            yield from check_path(f"{path}[0]", argument)
        else:
            yield from _check_argument(f"{path}[{index}]", argument)


def _check_argument(path: str, text: str) -> Iterator[Problem]:
    if "\0" in text or not _is_encodable(text):
        yield problem(path, "holds a character that no program can be given", "Drop it")
    if len(text) > ARGUMENT_TEXT_MAX:
        yield problem(path, f"is longer than {ARGUMENT_TEXT_MAX} characters", "Put it into a file")


def _check_env(env: Mapping[str, str]) -> Iterator[Problem]:
    path = "execution.env"
    yield from _check_count(path, len(env))
    for name in list(env)[:ENTRIES_MAX]:
        if not _VARIABLE.fullmatch(name):
            yield problem(
                path,
                f"{shown(name)} is no name of a variable",
                "Use letters, digits and underscores, no digit first",
            )
            continue
        if name in _PROTOCOL_VARIABLES:
            yield problem(f"{path}.{name}", "is set by the protocol itself", "Drop it")
        yield from _check_argument(f"{path}.{name}", env[name])


def _check_sha256(sha256: str | None) -> Iterator[Problem]:
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        yield problem(
            "execution.sha256",
            f"{shown(sha256)} is no SHA-256",
            "Write 64 lower-case hexadecimal digits, as sha256sum prints them",
        )


def _check_filesystem(policy: FilesystemPolicy) -> Iterator[Problem]:
    lists = {
        "write_allow": policy.write_allow,
        "read_allow": policy.read_allow,
        "read_deny": policy.read_deny,
    }
    for key, paths in lists.items():
        where = f"execution.sandbox.filesystem.{key}"
        yield from _check_count(where, len(paths))
        for index, path in enumerate(paths[:ENTRIES_MAX]):
            yield from _check_absolute_path(f"{where}[{index}]", path)


def _check_absolute_path(where: str, path: str) -> Iterator[Problem]:
    faults = list(check_path(where, path))
    if not faults and not path.startswith(("/", "~/")):
        faults = [
            problem(where, f"{shown(path)} is relative to nothing", "Write a path from / or ~/ on")
        ]
    yield from faults


def check_path(where: str, path: str) -> Iterator[Problem]:
    """Check what holds for every path of a manifest, whoever it is meant for."""
    if not path:
        yield problem(where, "is empty", "Write a path")
    elif len(path) > PATH_TEXT_MAX:
        yield problem(where, f"is longer than {PATH_TEXT_MAX} characters", "Write a shorter path")
    elif not _is_encodable(path) or any(map(_is_control, path)):
        yield problem(where, f"{shown(path)} holds a control character", "Drop it")
    elif path.startswith("-"):
        # A program that is handed such a path takes it for an option.
        yield problem(where, f"{shown(path)} begins with a dash", "Write ./ before it")
    elif ".." in path.split("/"):
        yield problem(where, f"{shown(path)} leads out by '..'", "Write where it leads instead")
    elif path.startswith("~") and not path.startswith("~/"):
        yield problem(
            where,
            f"{shown(path)} means another user's home",
            "Write the path in full, or ~/ for one's own",
        )


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character <= "\x9f"


def _is_encodable(text: str) -> bool:
    """Tell whether the kernel can be handed `text`: it holds no half of a surrogate pair."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _check_network(policy: NetworkPolicy) -> Iterator[Problem]:
    path = "execution.sandbox.network"
    yield from _check_count(f"{path}.allow", len(policy.allow))
    for index, entry in enumerate(policy.allow[:ENTRIES_MAX]):
        try:
            parse_network_target(entry)
        except NetworkTargetError as error:
            yield problem(f"{path}.allow[{index}]", f"{shown(entry)} {error.what}", TARGET_FORM)
    if policy.allow and not policy.proxy:
        yield problem(
            f"{path}.proxy",
            "the host's audited proxy is the only road to what is allowed",
            "Leave proxy out, or empty allow",
        )


def _check_limits(limits: Limits) -> Iterator[Problem]:
    path = "execution.sandbox.limits"
    yield from _check_size(f"{path}.memory", limits.memory, MEBIBYTE)
    yield from _check_count_between(f"{path}.pids", limits.pids, 1, PIDS_MAX)
    yield from _check_count_between(
        f"{path}.open_files", limits.open_files, OPEN_FILES_MIN, OPEN_FILES_MAX
    )
    if not (math.isfinite(limits.cpu) and 0 < limits.cpu <= CPU_MAX):
        yield problem(
            f"{path}.cpu", "is no share of processors", f"Write more than 0, at most {CPU_MAX:.0f}"
        )


def _check_wasm_limits(limits: WasmLimits) -> Iterator[Problem]:
    path = "execution.wasm"
    yield from _check_count_between(f"{path}.fuel", limits.fuel, 1, FUEL_MAX)
    yield from check_duration(f"{path}.timeout", limits.timeout)
    yield from _check_size(f"{path}.memory", limits.memory, 64 * KIBIBYTE)  # one page of Wasm


def _check_size(path: str, size_bytes: int, minimum: int) -> Iterator[Problem]:
    if not minimum <= size_bytes <= SIZE_BYTES_MAX:
        yield problem(
            path,
            f"{size_bytes} bytes are no sensible size here",
            f"Write {minimum // KIBIBYTE}Ki or more, at most {SIZE_BYTES_MAX >> 30}Gi",
        )


def _check_count_between(path: str, number: int, minimum: int, maximum: int) -> Iterator[Problem]:
    if not minimum <= number <= maximum:
        yield problem(path, "is out of bounds", f"Write a number from {minimum} to {maximum}")


def _check_count(path: str, count: int) -> Iterator[Problem]:
    if count > ENTRIES_MAX:
        yield problem(path, f"has more than {ENTRIES_MAX} entries", "Drop some")
