"""A supervisor as the child of another one."""

import math
from collections.abc import Callable

from sigil_actors.actors.child_spec import ChildContext, ChildSpec
from sigil_actors.actors.supervisor import Supervisor
from sigil_actors.core.restart import RestartPolicy


def supervisor_spec(
    child_id: str,
    open_supervisor: Callable[[], Supervisor],
    restart: RestartPolicy,
    *,
    start_timeout_s: float = math.inf,
    stop_grace_s: float = math.inf,
    significant: bool = False,
) -> ChildSpec:
    """Return the spec of a supervisor that is the child of another one.

    Each incarnation is a new one, from `open_supervisor`. As in OTP it is given all the time that
    its own children take, which have bounds of their own; cancelled, it passes that on to them.
    """

    async def run(context: ChildContext) -> None:
        await open_supervisor().run_as_child(context)

    return ChildSpec(
        id=child_id,
        run=run,
        restart=restart,
        start_timeout_s=start_timeout_s,
        stop_grace_s=stop_grace_s,
        significant=significant,
    )
