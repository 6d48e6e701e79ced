"""The way out: each connection of a plugin's proxy is decided and recorded before it is made."""

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.egress_reason import SERVER_NAME_REASONS, EgressReason
from sigil_actors.core.json_value import JsonObject, JsonValue
from sigil_actors.core.text import escape_text
from sigil_actors.ports.egress import EgressAttempt, EgressEnd
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.host_bounds import HostBounds

_HOST_CHARACTERS_MAX = 300
"""Of a host in the log: the longest name, and room for an escape or two."""

_DETAIL_CHARACTERS_MAX = 300


class InstanceEgress:
    """`EgressGate` for one instance of one plugin."""

    def __init__(
        self, plugin: str, generation: int, *, enforcer: Enforcer, bounds: HostBounds
    ) -> None:
        self._plugin = plugin
        self._generation = generation
        self._enforcer = enforcer
        self._bounds = bounds

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        """Decide, and store the decision; see `ports.egress`."""
        # As often as a plugin may ask its host for anything: attempts fill the log like calls do.
        await self._bounds.rate.take()
        reason = attempt.reason
        if reason is EgressReason.OK and not self._enforcer.is_registered(
            self._plugin, self._generation
        ):
            reason = EgressReason.PLUGIN_NOT_REGISTERED
        await self._enforcer.record(
            self._entry(
                attempt,
                result="allowed" if reason is EgressReason.OK else "denied",
                reason=reason,
                more={},
            )
        )
        return reason

    def record_end(self, end: EgressEnd) -> None:
        """Tell how a connection ended; see `ports.egress`."""
        self._enforcer.tell_outcome(
            self._entry(
                end,
                result="denied" if end.reason in SERVER_NAME_REASONS else "ended",
                reason=end.reason,
                more={
                    "bytes_up": end.bytes_up,
                    "bytes_down": end.bytes_down,
                    "duration_ms": round(end.duration_s * 1000, 3),
                },
            )
        )

    def _entry(
        self,
        told: EgressAttempt | EgressEnd,
        *,
        result: str,
        reason: EgressReason,
        more: JsonObject,
    ) -> AuditEntry:
        details: dict[str, JsonValue] = {
            "generation": self._generation,
            "connection": told.connection,
            "protocol": str(told.protocol),
            "host": escape_text(told.host, limit=_HOST_CHARACTERS_MAX),
            "port": told.port,
            **more,
        }
        if told.address:
            details["address"] = told.address
        if told.detail:
            details["detail"] = escape_text(told.detail, limit=_DETAIL_CHARACTERS_MAX)
        return AuditEntry(
            action="egress",
            timestamp=self._enforcer.clock.now(),
            actor=f"plugin:{self._plugin}",
            plugin=self._plugin,
            result=result,
            reason=str(reason),
            details=details,
        )
