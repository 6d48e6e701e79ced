"""An invariant of how instances end: nobody waits for what has happened already.

A wake-up that got lost often heals by itself, since every step of a stop has its bound. This sees
the time that it costs.
"""

import trio

from sigil_actors.core.lifecycle import PluginState
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.testing.every_step import Check
from sigil_actors.testing.fake_tier import FakeTier

WITHIN_S = 0.5
"""Of virtual time, in which tasks that can go on have long gone on."""


def ends_are_prompt(runtime: Runtime, tier: FakeTier, *, within_s: float = WITHIN_S) -> Check:
    """Check that an empty instance drains at once, and that one that stops lets go of its callers.

    For `after_every_step`.
    """
    since: dict[str, tuple[float, str]] = {}

    def check() -> str | None:
        now = trio.current_time()
        held = {
            (session.plugin, session.generation)
            for session in tier.open_sessions
            if session.waits_inside
        }
        wrong = None
        for status in runtime.list():
            what = ""
            if status.state is PluginState.DRAINING and not status.in_flight:
                what = "drains though nobody is in it"
            elif status.state is PluginState.STOPPING and (status.name, status.generation) in held:
                what = "lets go of no caller"
            # One that ends now has lasted until now: after a jump of time this is the first look.
            began, said = since.pop(status.name, (now, what))
            if now - began > within_s:
                wrong = f"{status.name}: for {now - began:g} s it {said}"
            if what:
                since[status.name] = (began if what == said else now), what
        return wrong

    return check
