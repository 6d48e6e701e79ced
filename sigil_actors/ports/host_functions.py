"""The way back: what one instance of a plugin may ask of its host.

Identity is bound; the plugin fills in nothing.
"""

from typing import Protocol

from sigil_actors.core.policy import DenyReason


class HostFunctions(Protocol):
    """The host as one instance sees it.

    Both methods pass the enforcer and are bounded per plugin.
    """

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        """Have a host function run, on behalf of the call that `session_id` stands for.

        An empty one stands for nobody's call.

        Raises:
            CapabilityDeniedError: the enforcer said no.
            AuditUnavailableError: it couldn't be recorded, so nothing ran.
            HostFunctionMissingError: allowed, but nobody registered a function for it.
            HostFunctionFailedError: the function raised; only the name of the exception's type is
                told.
            LimitExceededError: the payload or the answer is over its bound.
        """

    async def check(self, capability: str, session_id: str) -> DenyReason:
        """Tell whether that would be allowed: `DenyReason.OK`, or why not. Audited like a call."""
