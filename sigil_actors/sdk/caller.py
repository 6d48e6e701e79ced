"""On whose behalf a plugin works at the moment: the token of the call that is being served.

The host makes one up for each call into the plugin; with it, the plugin's own calls of its host
are for that caller. Authors needn't carry it about: it is kept in the context of the call's task.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final

from sigil_actors.rpc.server_call import ServerCall

CALL_KEY: Final = "sigil-call"
"""The metadata key that it comes in."""

_EXECUTE: Final = "/plugin.v1.Tool/Execute"

_session: ContextVar[str] = ContextVar("sigil_session", default="")


def current_session() -> str:
    """Return the token of the call that is being served; empty outside of one."""
    return _session.get()


def for_caller(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return the method of a servicer as one that knows for whom it runs."""

    def run(request: Any, call: ServerCall) -> Any:
        # Never taken back: each call of a task sets its own before anything else runs in it.
        _session.set(_session_of(request, call))
        return method(request, call)

    return run


def _session_of(request: object, call: ServerCall) -> str:
    for key, value in call.invocation_metadata():
        if key == CALL_KEY and isinstance(value, str):
            return value
    # Hosts that don't send it along with every call have put it here.
    if call.method == _EXECUTE:
        return str(getattr(request, "session_id", ""))
    return ""
