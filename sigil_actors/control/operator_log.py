"""Records what an operator has done to plugins, before it is done."""

import logging
from typing import Final

import trio

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import SigilError
from sigil_actors.runtime.enforcer import Enforcer

logger = logging.getLogger(__name__)

ACTION: Final = "operator"
"""What stands as the action of such an entry; its result is the verb."""

STOP_RECORDED_S = 2.0
"""How long a stop waits for its entry. A commit takes milliseconds; a log that hangs must not keep
a plugin running that somebody wants to be rid of."""

_NO_DETAILS: Final[JsonObject] = {}


class OperatorLog:
    """Writes the entries of one operator."""

    def __init__(self, enforcer: Enforcer, operator: str) -> None:
        self._enforcer = enforcer
        self._operator = operator

    async def record(self, verb: str, plugin: str = "", details: JsonObject = _NO_DETAILS) -> None:
        """Store what is about to be done.

        Raises:
            AuditUnavailableError: it couldn't be stored, so it must not be done.
        """
        await self._enforcer.record(self._entry(verb, plugin, details))
        self._tell(verb, plugin)

    async def record_stop(self, verb: str, plugin: str) -> None:
        """Store what is about to be done, as far as that goes: it is done in any case.

        Where it couldn't be stored in time, it is stored when the log is back, marked as late. It
        may be there twice then, which is better than not at all.
        """
        self._tell(verb, plugin)
        with trio.move_on_after(STOP_RECORDED_S):
            try:
                await self._enforcer.record(self._entry(verb, plugin, _NO_DETAILS))
            except SigilError as error:
                logger.warning("%s %s goes on without its audit entry: %s", verb, plugin, error)
            else:
                return
        self._enforcer.tell_outcome(self._entry(verb, plugin, {"late": True}))

    def _tell(self, verb: str, plugin: str) -> None:
        extra = {"plugin": plugin} if plugin else {}
        logger.info("%s asks for: %s %s", self._operator, verb, plugin or "all", extra=extra)

    def _entry(self, verb: str, plugin: str, details: JsonObject) -> AuditEntry:
        return AuditEntry(
            action=ACTION,
            timestamp=self._enforcer.clock.now(),
            actor=self._operator,
            user_id=self._operator,
            plugin=plugin,
            result=verb,
            details=details,
        )
