"""What an embedding application or an operator can set, each with its unit and its reason."""

import attrs

from sigil_actors.core.capability import CapabilitySet
from sigil_actors.errors import SettingsError

_MIB = 1024 * 1024


@attrs.frozen(kw_only=True)
class BackgroundSession:
    """On whose behalf a plugin acts when it calls its host outside any call."""

    workspace_id: str = ""
    workspace_allow: CapabilitySet = attrs.field(factory=CapabilitySet)
    """Missing or empty: a plugin may do nothing on its own."""
    user_id: str = ""
    user_permissions: CapabilitySet = attrs.field(factory=CapabilitySet)


UID_MAX = (1 << 31) - 1
"""Above it, some programs take a uid for a negative number."""


@attrs.frozen(kw_only=True)
class UidRange:
    """Uids, and the gids of the same numbers, that nobody else on the machine has."""

    first: int
    count: int

    def __attrs_post_init__(self) -> None:
        first, count = self.first, self.count
        if not (type(first) is int and type(count) is int):
            raise SettingsError(f"{self!r} has no whole numbers", remedy="Give it whole numbers")
        if first < 1 or count < 1 or first + count - 1 > UID_MAX:
            raise SettingsError(
                f"{self!r} holds what is no plugin's uid",
                remedy=f"Give it at least one uid, from 1 to {UID_MAX}",
            )


@attrs.frozen(kw_only=True)
class RuntimeSettings:
    """The settings of one runtime. The defaults suit a gateway with tens of plugins."""

    stop_grace_s: float = 5.0
    """Seconds that a stop gives the calls in flight; OTP's default for a worker."""
    restarts_per_minute: int = 30
    """Restarts of one plugin within a minute, after which it is given up on whatever its manifest
    says: `lifecycle.restart` is its author's, and a crash loop is everybody's."""
    start_timeout_s: float = 60.0
    """Seconds at most from loading to running, whatever the manifest asks; go-plugin's default."""
    mailbox_size: int = 1024
    """Requests that may wait for the enforcer; more wait in their own tasks."""
    audit_timeout_s: float = 10.0
    """Seconds that a decision waits for its audit entry; above the store's own bound of 5 s."""
    calls_waiting: int = 1024
    """Calls that may wait for their turn in a plugin that takes one at a time."""
    text_bytes: int = 16 * _MIB
    """What `execute_text` gathers at most; a stream has no such bound."""
    arguments_bytes: int = 4 * _MIB
    """A call's arguments as JSON; gRPC's default for one message."""
    host_calls_in_flight: int = 32
    """Host calls of one plugin at once; more of them wait before the enforcer's mailbox."""
    host_calls_per_s: float = 1000.0
    """Host calls of one plugin a second, so that a loop of them can't fill the log."""
    call_depth: int = 8
    """Plugins in one chain of calls, so that two that call each other come to an end."""
    kv_bytes_per_plugin: int = 16 * _MIB
    """What one plugin can keep by `kv.set`, keys included."""
    snapshot_bytes: int = 512 * _MIB
    """What a plugin's folder may hold."""
    snapshot_files: int = 50_000
    """Files that a plugin's folder may hold; a virtual environment has some 10,000."""
    hold_widened_manifests: bool = True
    """Whether a version that asks for more than the one before waits until somebody approves it."""
    watch_plugins: bool = True
    """Whether a change of the plugins folder is taken up while the runtime runs."""
    watch_interval_s: float = 1.0
    """Seconds between two looks at the plugins folder; a change counts once it has settled."""
    swap_wait_s: float = 10.0
    """Seconds that callers wait while a new version takes a channel over: it can't run beside."""
    background_session: BackgroundSession = BackgroundSession()
    """Whose host calls those outside any call are; by default nothing is allowed."""

    unsafe_no_sandbox: bool = False
    """Whether plugins of the process tier run as plain programs, with all that the host's user may
    do. For plugins that are trusted like the host itself, on machines that can make no sandbox."""
    plugin_uids: UidRange = UidRange(first=1_900_000_000, count=1 << 24)
    """Where the host is root, each plugin of the process tier has a uid of its own in here, made
    from its name, so that what it wrote is still its own the next time. By default in a range that
    no system gives to anybody, and wide, so that no two plugins meet."""
    write_bytes_per_plugin: int = 1024 * _MIB
    """What the write folders of a plugin of the process tier may hold together. One that is over is
    ended, at a look every few seconds; no file of it grows larger at all."""
    auto_mtls: bool = False
    """Whether host and process plugins check each other's one-off certificates, as go-plugin's
    AutoMTLS does. Sockets are in a folder of the plugin's own without it; a plugin that listens at
    a port of the machine needs it. Costs a start some 40 ms."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(RuntimeSettings):
            value = getattr(self, field.name)
            wanted = _what_is_wanted(field.type, value)
            if wanted:
                raise SettingsError(
                    f"the setting {field.name} is {value!r}", remedy=f"Give it {wanted}"
                )


def _what_is_wanted(kind: object, value: object) -> str:
    """Return what a setting of that type has to be; empty where it is."""
    if kind == BackgroundSession:
        return "" if isinstance(value, BackgroundSession) else "a BackgroundSession"
    if kind == UidRange:
        return "" if isinstance(value, UidRange) else "a UidRange"
    if kind == bool:  # noqa: E721 - a value that names a type, not the type of a value
        return "" if type(value) is bool else "True or False"
    # bool is an int in Python, and half a call is none.
    if type(value) is int or (kind == float and type(value) is float):  # noqa: E721 - as above
        is_right = 0 < value < float("inf")
    else:
        is_right = False
    if is_right:
        return ""
    return "a whole number above 0" if kind == int else "a number above 0"  # noqa: E721 - as above
