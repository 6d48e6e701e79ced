"""The outcome of a call, as the audit log keeps it: how it ended, how long, how much.

Never what was said.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import trio

from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonValue
from sigil_actors.core.text import escape_text
from sigil_actors.errors import (
    GuestTrapError,
    LimitExceededError,
    PluginCallError,
    PluginCrashedError,
    SigilError,
)
from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chunks import Pieces
from sigil_actors.runtime.enforcer import Enforcer

_REASON_CHARACTERS_MAX = 200
"""Of an error's text in the log; what a plugin says of itself must not fill it."""


class CallOutcome:
    """Watches one call and tells the enforcer how it ended."""

    def __init__(
        self,
        enforcer: Enforcer,
        caller: Caller,
        *,
        plugin: str,
        generation: int,
        capability: str,
    ) -> None:
        self._enforcer = enforcer
        self._caller = caller
        self._plugin = plugin
        self._generation = generation
        self._capability = capability
        self.pieces: Pieces[Any] | None = None
        """What is answered in pieces; None where it isn't, or the call hasn't come so far."""

    @contextmanager
    def recorded(self) -> Generator[None]:
        """Record how the block, which is the call, ended; exactly once, by whatever road."""
        began = trio.current_time()
        error: BaseException | None = None
        try:
            yield
        except BaseException as caught:
            error = caught
            raise
        finally:
            self._tell(error, trio.current_time() - began)

    def _tell(self, error: BaseException | None, took_s: float) -> None:
        pieces = self.pieces
        failure = pieces.failure if pieces is not None else None
        if failure is None and isinstance(error, SigilError) and pieces is None:
            failure = error
        finished = error is None if pieces is None else pieces.is_finished
        result = _result(failure, finished=finished)
        details: dict[str, JsonValue] = {
            "duration_ms": round(took_s * 1000, 3),
            "generation": self._generation,
            "chunks": 0 if pieces is None else pieces.count,
            "characters": 0 if pieces is None else pieces.characters,
        }
        if pieces is not None and pieces.dropped:
            details["dropped"] = pieces.dropped
        self._enforcer.tell_outcome(
            AuditEntry(
                action="outcome",
                timestamp=self._enforcer.clock.now(),
                actor=self._caller.actor,
                plugin=self._plugin,
                workspace_id=self._caller.workspace_id,
                user_id=self._caller.user_id,
                session_id=self._caller.session_id,
                capability=self._capability,
                result=result,
                reason=_reason(failure),
                details=details,
            )
        )


def _result(failure: SigilError | None, *, finished: bool) -> str:
    match failure:
        case None:
            return "ok" if finished else "cancelled"
        case PluginCallError():
            return "error"
        case GuestTrapError() | PluginCrashedError():
            return "crashed"
        case LimitExceededError():
            return "limit"
        case _:
            return "stopped"


def _reason(failure: SigilError | None) -> str:
    if failure is None:
        return ""
    return escape_text(failure.what, limit=_REASON_CHARACTERS_MAX)
