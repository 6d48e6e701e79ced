"""An invariant of how instances end: nobody waits for what has happened already.

A wake-up that got lost often heals by itself, since every step of a stop has its bound. This sees
the time that it costs.
"""

import trio

from sigil_actors.core.lifecycle import PluginState
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.testing.every_step import Check
from sigil_actors.testing.fake_tier import FakeTier
from sigil_actors.testing.momentary import deployments

WITHIN_S = 0.5
"""Of virtual time, in which tasks that can go on have long gone on."""

_ENDING = frozenset({PluginState.DRAINING, PluginState.STOPPING})


def ends_are_prompt(runtime: Runtime, tier: FakeTier, *, within_s: float = WITHIN_S) -> Check:
    """Check that an empty instance drains at once, and that one that stops lets go of its callers.

    For `after_every_step`.
    """
    since: dict[tuple[str, int], tuple[float, str]] = {}

    def check() -> str | None:
        ending = [one for one in deployments(runtime) if one.state in _ENDING]
        if not ending and not since:
            return None
        now = trio.current_time()
        held = {
            (session.plugin, session.generation)
            for session in tier.open_sessions
            if session.waits_inside
        }
        wrong = None
        before, found = dict(since), {}
        for deployment in ending:
            key = deployment.definition.name, deployment.life.generation
            if deployment.state is PluginState.STOPPING and key in held:
                found[key] = "lets go of no caller"
            elif deployment.state is PluginState.DRAINING and not deployment.gate.in_flight:
                found[key] = "drains though nobody is in it"
        since.clear()
        for key in {**before, **found}:
            what = found.get(key, "")
            # One that ends now has lasted until now: after a jump of time this is the first look.
            began, said = before.get(key, (now, what))
            if now - began > within_s:
                wrong = f"{key[0]}: for {now - began:g} s generation {key[1]} {said}"
            if what:
                since[key] = (began if what == said else now), what
        return wrong

    return check
