"""What the egress proxy of one instance asks of its host, and tells it: each connection, twice.

Before anything leaves the machine, and when it is over.
"""

from typing import Protocol

import attrs

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.proxy_request import Protocol as ProxyProtocol


@attrs.frozen(kw_only=True)
class EgressAttempt:
    """What a plugin wants to reach, and what the rule says of it."""

    connection: int
    """Which of the instance's connections it is, from 1."""
    protocol: ProxyProtocol
    host: str
    """In its canonical form, or as the plugin wrote it; empty where it named none."""
    port: int
    """0 where it named none."""
    address: str = ""
    """What is about to be dialled; empty before a name has been looked up."""
    reason: EgressReason = EgressReason.OK
    """Why the proxy refuses it already; then it is only recorded."""
    detail: str = ""
    """A word or two more on the reason; a stranger's text may be in it."""


@attrs.frozen(kw_only=True)
class EgressEnd:
    """How a connection ended that was allowed."""

    connection: int
    protocol: ProxyProtocol
    host: str
    port: int
    address: str
    """What was dialled; empty where it never came to that."""
    reason: EgressReason
    """`OK` where both sides had said all they wanted."""
    detail: str
    bytes_up: int
    """From the plugin to the server."""
    bytes_down: int
    duration_s: float


class EgressGate(Protocol):
    """The host as the proxy of one instance sees it. The instance's identity is bound to it."""

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        """Record an attempt and decide about it; `OK` is stored before it is returned.

        One connection asks once for its target, before its name is looked up, and once for each
        address that it tries, before it is dialled. A refusal of the proxy comes back as it is.

        Raises:
            AuditUnavailableError: it can't be recorded, so it isn't allowed.
        """

    def record_end(self, end: EgressEnd) -> None:
        """Have it recorded how an allowed connection ended. Never waits, never fails."""


class NoEgress:
    """The gate of an instance that has no way out: refuses all."""

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        """Refuse."""
        return (
            EgressReason.TARGET_NOT_ALLOWED if attempt.reason is EgressReason.OK else attempt.reason
        )

    def record_end(self, end: EgressEnd) -> None:
        """Nothing was allowed, so nothing can end."""
