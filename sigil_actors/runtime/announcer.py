"""Makes known what happens to one plugin: in the audit log, to who follows the events, in the log.

None of the three is waited for.
"""

import logging

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.runtime.deployment import REASON_CHARACTERS_MAX, Deployment
from sigil_actors.runtime.enforcer import Enforcer
from sigil_actors.runtime.events import EventKind, Events

logger = logging.getLogger(__name__)


class Announcer:
    """Speaks for one plugin."""

    def __init__(self, plugin: str, enforcer: Enforcer, events: Events) -> None:
        self._plugin = plugin
        self._enforcer = enforcer
        self._events = events

    def entered(self, deployment: Deployment, reason: str) -> None:
        """Tell that an instance entered a state."""
        life = deployment.life
        logger.info(
            "plugin %s, generation %d: %s%s",
            self._plugin,
            life.generation,
            life.state,
            f" ({reason})" if reason else "",
        )
        self._record(deployment, life.state, reason)
        self._events.publish(
            self._plugin,
            EventKind.LIFECYCLE,
            generation=life.generation,
            state=life.state,
            reason=reason,
        )

    def restarts(self, deployment: Deployment, in_s: float) -> None:
        """Tell that an instance has ended by itself, and is started again."""
        why = deployment.reason or "by itself"
        self._publish(deployment, EventKind.RESTART, f"in {in_s:.3g} s, since it ended: {why}")
        logger.warning(
            "plugin %s ended (%s); it is started again in %.1f s", self._plugin, why, in_s
        )

    def quarantined(self, deployment: Deployment) -> None:
        """Tell that it was given up on."""
        self._record(deployment, "quarantined", deployment.reason)
        self._publish(deployment, EventKind.QUARANTINED, deployment.reason)
        remedy = f". {deployment.remedy}" if deployment.remedy else ""
        logger.error("plugin %s is quarantined: %s%s", self._plugin, deployment.reason, remedy)

    def held(self, deployment: Deployment, differences: str, what: str) -> None:
        """Tell that a version waits to be approved."""
        self._publish(deployment, EventKind.HELD, differences)
        logger.warning("%s", what)

    def swapped(self, deployment: Deployment) -> None:
        """Tell that new calls go to this version."""
        version = deployment.definition.manifest.version
        self._publish(deployment, EventKind.SWAPPED, f"version {version} serves now")
        logger.info("plugin %s: version %s serves now", self._plugin, version)

    def reload_failed(self, deployment: Deployment, why: str) -> None:
        """Tell that a version didn't come up."""
        self._publish(deployment, EventKind.RELOAD_FAILED, why)
        logger.warning(
            "plugin %s: version %s didn't come up; what ran before goes on: %s",
            self._plugin,
            deployment.definition.manifest.version,
            why,
        )

    def refused(self, deployment: Deployment, why: str) -> None:
        """Tell that what its folder holds now can't be used."""
        self._publish(deployment, EventKind.RELOAD_FAILED, why)
        logger.warning(
            "plugin %s: what its folder holds now can't be used; what ran before goes on: %s",
            self._plugin,
            why,
        )

    def health(self, deployment: Deployment) -> None:
        """Tell what an instance says of its health."""
        health = deployment.health
        if health is not None:
            self._publish(deployment, EventKind.HEALTH, f"{health.status} {health.message}".strip())

    def _record(self, deployment: Deployment, result: str, reason: str) -> None:
        self._enforcer.tell_outcome(
            AuditEntry(
                action="lifecycle",
                timestamp=self._enforcer.clock.now(),
                actor="runtime",
                plugin=self._plugin,
                result=result,
                reason=reason[:REASON_CHARACTERS_MAX],
                details={"generation": deployment.life.generation},
            )
        )

    def _publish(self, deployment: Deployment, kind: EventKind, reason: str) -> None:
        self._events.publish(
            self._plugin,
            kind,
            generation=deployment.life.generation,
            reason=reason[:REASON_CHARACTERS_MAX],
        )
