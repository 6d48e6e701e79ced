"""A host for sessions that never call back."""

from sigil_actors.core.policy import DenyReason


class NoHost:
    """A host that nobody calls."""

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        raise AssertionError((capability, payload, session_id))

    async def check(self, capability: str, session_id: str) -> DenyReason:
        raise AssertionError((capability, session_id))
