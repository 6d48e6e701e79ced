"""How a plugin is run, as its manifest says: the tier, and what that tier lets it have.

Values only, with the defaults of a manifest that doesn't say. Whether they make sense is for
`manifest_rules`, how they are written for `manifest_yaml`. Durations are float seconds, sizes int
bytes.
"""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, TypeAlias

import attrs

from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.quantities import Duration, Size

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20


class PluginType(StrEnum):
    """What a plugin is for; decides which services it has."""

    PROVIDER = "provider"
    CHANNEL = "channel"
    TOOL = "tool"
    SKILL = "skill"


class ExecutionTier(StrEnum):
    """The tiers that come with this package. A host may register others under words of its own."""

    WASM = "wasm"
    PROCESS = "process"
    CONTAINER = "container"


class InstanceMode(StrEnum):
    """How long a Wasm instance lives."""

    SHARED = "shared"
    """One instance serves all calls, one after another, and keeps its memory between them."""
    PER_CALL = "per-call"
    """Each call gets a fresh instance; nothing of one call is left for the next."""


class ContainerNetwork(StrEnum):
    """What network a container has."""

    NONE = "none"
    RESTRICTED = "restricted"
    """The host's audited proxy, and no other road."""
    HOST = "host"
    """The host's own; only where the host policy says so."""


def texts(values: Iterable[str]) -> tuple[str, ...]:
    """Return `values` as a tuple; a lone text is refused, since it would fall apart."""
    if isinstance(values, str):
        raise TypeError(f"expected several texts, got the one text {values[:80]!r}")
    return tuple(values)


def read_only_texts(values: Mapping[str, str]) -> Mapping[str, str]:
    """Return a copy of `values` that nobody can change."""
    return MappingProxyType(dict(values))


def read_only_json(value: JsonObject) -> JsonObject:
    """Return a copy of `value` that nobody can change at the top."""
    return MappingProxyType(dict(value))


@attrs.frozen(kw_only=True)
class FilesystemPolicy:
    """What a plugin sees of the file system besides its own folder. Absent or empty: nothing."""

    write_allow: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Folders that it may read and write. The component `self` stands for the plugin's name."""
    read_allow: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """Further folders that it may read."""
    read_deny: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """What is hidden from it again, of all that the others make visible."""


@attrs.frozen(kw_only=True)
class NetworkPolicy:
    """What a plugin reaches of the network."""

    allow: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """`host:port` entries. Absent or empty: no network at all."""
    proxy: bool = True
    """Whether the way out is the host's audited proxy, the only one: False needs `allow` empty."""


@attrs.frozen(kw_only=True)
class Limits:
    """What a process may use. The defaults run an interpreter and starve no sibling."""

    memory: Size = 256 * MEBIBYTE
    pids: int = 100
    """Processes and threads together, which is how the kernel counts them."""
    open_files: int = 1024
    """The kernel's usual soft limit."""
    cpu: float = 1.0
    """Processors' worth of time: 0.5 is half of one."""


@attrs.frozen(kw_only=True)
class SandboxPolicy:
    """What a process may touch. All default: nothing but its own folder, and no network."""

    filesystem: FilesystemPolicy = FilesystemPolicy()
    network: NetworkPolicy = NetworkPolicy()
    limits: Limits = Limits()


@attrs.frozen(kw_only=True)
class ProcessExecution:
    """A program of its own in an operating-system sandbox."""

    tier: ClassVar[ExecutionTier] = ExecutionTier.PROCESS

    command: tuple[str, ...] = attrs.field(default=(), converter=texts)
    """The program, then its arguments. Empty: `./NAME`; `command_of` tells."""
    env: Mapping[str, str] = attrs.field(factory=dict, converter=read_only_texts)
    """Exactly these variables besides the protocol's; nothing is inherited."""
    sha256: str | None = None
    """The program's hash in lower-case hex digits; a mismatch refuses to start."""
    start_timeout: Duration = 60.0
    """As long as go-plugin waits for the handshake."""
    sandbox: SandboxPolicy = SandboxPolicy()

    def command_of(self, name: str) -> tuple[str, ...]:
        """Return the command that the plugin `name` is run by."""
        return self.command or (f"./{name}",)


@attrs.frozen(kw_only=True)
class WasmLimits:
    """What a Wasm guest may use."""

    fuel: int = 10_000_000_000
    """Instructions, roughly, that one call may run: seconds of honest work."""
    timeout: Duration = 5.0
    """How long one call may take by the clock."""
    memory: Size = 64 * MEBIBYTE
    instance: InstanceMode = attrs.field(default=InstanceMode.SHARED, converter=InstanceMode)


@attrs.frozen(kw_only=True)
class WasmExecution:
    """A WebAssembly module inside the host."""

    tier: ClassVar[ExecutionTier] = ExecutionTier.WASM

    module: str = "./plugin.wasm"
    """Relative to the plugin's folder and inside it."""
    wasm: WasmLimits = WasmLimits()
    sha256: str | None = None
    """The module's hash in lower-case hex digits; a mismatch refuses to start."""
    start_timeout: Duration = 60.0


@attrs.frozen(kw_only=True)
class ContainerExecution:
    """A container with a root file system of its own."""

    tier: ClassVar[ExecutionTier] = ExecutionTier.CONTAINER

    image: str = ""
    """Required; `Manifest.validate` says so where it is empty."""
    memory_limit: Size | None = None
    """Required; `Manifest.validate` says so where it is None."""
    network: ContainerNetwork = attrs.field(
        default=ContainerNetwork.NONE, converter=ContainerNetwork
    )
    env: Mapping[str, str] = attrs.field(factory=dict, converter=read_only_texts)
    """Exactly these variables besides the protocol's."""
    start_timeout: Duration = 60.0


@attrs.frozen(kw_only=True)
class RegisteredExecution:
    """A tier that the host registered. It alone knows what the options mean, so it checks them."""

    tier: str
    options: JsonObject = attrs.field(factory=dict, converter=read_only_json)
    """Every other key of the section, as it stands."""


Execution: TypeAlias = ProcessExecution | WasmExecution | ContainerExecution | RegisteredExecution
