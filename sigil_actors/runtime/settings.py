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


@attrs.frozen(kw_only=True)
class RuntimeSettings:
    """The settings of one runtime. The defaults suit a gateway with tens of plugins."""

    stop_grace_s: float = 5.0
    """Seconds that a stop gives the calls in flight; OTP's default for a worker."""
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
    background_session: BackgroundSession = BackgroundSession()
    """Whose host calls those outside any call are; by default nothing is allowed."""

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(RuntimeSettings):
            value = getattr(self, field.name)
            if field.type is BackgroundSession:
                is_right = isinstance(value, BackgroundSession)
                wanted = "a BackgroundSession"
            else:
                # bool is an int in Python, and half a call is none.
                kinds = (int,) if field.type is int else (int, float)
                is_right = type(value) in kinds and 0 < value < float("inf")
                wanted = "a whole number above 0" if field.type is int else "a number above 0"
            if not is_right:
                raise SettingsError(
                    f"the setting {field.name} is {value!r}", remedy=f"Give it {wanted}"
                )
