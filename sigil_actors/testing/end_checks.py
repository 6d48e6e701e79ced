"""An invariant of how instances end: nobody waits for what has happened already.

A wake-up that got lost often heals by itself, since every step of a stop has its bound. This sees
the time that it costs.
"""

from collections import Counter

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
    since: dict[str, float] = {}

    def check() -> str | None:
        now = trio.current_time()
        wrong = None
        held = Counter(
            (session.plugin, session.generation)
            for session in tier.open_sessions
            if session.waits_inside
        )
        for status in runtime.list():
            is_empty = status.state is PluginState.DRAINING and not status.in_flight
            is_held = status.state is PluginState.STOPPING and held[status.name, status.generation]
            lasts = is_empty or is_held
            began = since.setdefault(status.name, now) if lasts else since.pop(status.name, now)
            if now - began > within_s:
                what = "lets go of no caller" if is_held else "drains though nobody is in it"
                wrong = f"{status.name}: for {now - began:g} s it {what}"
        return wrong

    return check
