"""The numbers of the native Wasm dialect: what a host asks of a guest, and a guest of its host.

They are on the wire between this host and modules that were built long ago, so a number once given
keeps its meaning. `examples/plugins/sigil.h` repeats them for plugin authors; a test compares.
"""

from enum import IntEnum


class GuestOp(IntEnum):
    """The first argument of the guest's export `sigil_call`, and the messages that go with it."""

    INIT = 1
    """InitRequest -> InitResponse"""
    HEALTH = 2
    """HealthRequest -> HealthResponse"""
    SHUTDOWN = 3
    """ShutdownRequest -> ShutdownResponse"""
    DESCRIBE = 16
    """DescribeRequest -> DescribeResponse"""
    EXECUTE = 17
    """ExecuteRequest -> nothing, or one last ExecuteChunk"""


class HostOp(IntEnum):
    """The first argument of the import `sigil.host_call`, and the messages that go with it."""

    CALL = 1
    """CallRequest -> CallResponse"""
    CHECK = 2
    """CheckRequest -> CheckResponse"""
    EMIT = 3
    """ExecuteChunk -> nothing"""


class HostRefusal(IntEnum):
    """What `sigil.host_call` answers instead of a length."""

    DENIED = -1
    """The enforcer said no, or couldn't record its yes."""
    NO_FUNCTION = -2
    """It would be allowed, but nobody registered a function for it."""
    FAILED = -3
    """The function failed, or the call is over."""
    MALFORMED = -4
    """The op, a pointer, a length or the message makes no sense."""
