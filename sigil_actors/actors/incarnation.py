"""One incarnation of a child, from its start to its end: the border around code that isn't ours."""

import trio

from sigil_actors.actors.child_spec import ChildContext, ChildSpec, ChildStartTimeoutError


@trio.lowlevel.enable_ki_protection
async def run_incarnation(spec: ChildSpec, context: ChildContext) -> Exception | None:
    """Run it; return how it ended abnormally, or None. What is no `Exception` leaves as it came."""
    failure: Exception | None = None
    try:
        with context.scope:
            await _run_unprotected(spec, context)
    except Exception as error:  # noqa: BLE001 - the border around a supervised child
        failure = _bare(error)
    if context.scope.cancel_called and not context.is_ready and not context.is_stopping:
        late = ChildStartTimeoutError(spec.id, start_timeout_s=spec.start_timeout_s)
        late.__cause__ = failure
        return late
    return failure


@trio.lowlevel.disable_ki_protection
async def _run_unprotected(spec: ChildSpec, context: ChildContext) -> None:
    await spec.run(context)


def _bare(error: Exception) -> Exception:
    """Take an error out of the groups that nurseries wrapped around it, as far as it is alone."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
