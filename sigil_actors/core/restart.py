"""What to do after a supervised child has ended: restart it and when, leave it down, or give up.

Words and meanings are those of OTP's supervisor ("Supervisor Behaviour", OTP design principles).
Knows neither clocks nor randomness: the time and the jitter are handed in.
"""

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Final, TypeAlias, assert_never

import attrs

JITTER_SHARE: Final = 0.2
"""How much of a delay the jitter may add: enough to pull apart what crashed at the same moment."""

RESTARTS_MAX: Final = 1000
"""The largest intensity: a history stays small, and what restarts more often than that isn't up."""

_DOUBLINGS_MAX = 64
"""From a nanosecond on, that many take a delay past any `backoff_max` that makes sense."""


class RestartType(StrEnum):
    """After which ends a child is started again."""

    PERMANENT = "permanent"
    """Always."""
    TRANSIENT = "transient"
    """After an abnormal end."""
    TEMPORARY = "temporary"
    """Never."""


class Strategy(StrEnum):
    """Who is started again with the child that ended."""

    ONE_FOR_ONE = "one_for_one"
    """Nobody else."""
    ONE_FOR_ALL = "one_for_all"
    """All of its siblings."""
    REST_FOR_ONE = "rest_for_one"
    """The siblings that were started after it."""


@attrs.frozen
class RestartPolicy:
    """How patient a supervisor is with a child; keys as in a manifest at `lifecycle.restart`."""

    type: RestartType = RestartType.PERMANENT
    max_restarts: int = 5
    """The intensity: so many restarts within `period` are fine, one more is not."""
    period: float = 60.0
    """Seconds."""
    backoff: float = 0.1
    """Seconds before the first restart; each further one waits twice as long."""
    backoff_max: float = 30.0
    """Seconds; no delay is longer, but for the jitter."""

    def problems(self) -> tuple[tuple[str, str], ...]:
        """Return what is wrong with it: each time the field and what it must be."""
        found: list[tuple[str, str]] = []
        if not 0 <= self.max_restarts <= RESTARTS_MAX:
            found.append(("max_restarts", f"must be between 0 and {RESTARTS_MAX}"))
        if not 0 < self.period < math.inf:
            found.append(("period", "must be longer than nothing and finite"))
        if not 0 <= self.backoff < math.inf:
            found.append(("backoff", "must not be negative, and must be finite"))
        if not self.backoff <= self.backoff_max < math.inf:
            found.append(("backoff_max", "must not be shorter than backoff, and must be finite"))
        return tuple(found)


@attrs.frozen
class PastRestart:
    """One restart that was planned."""

    ended_at: float
    """When the child had ended."""
    back_at: float
    """When it was to be started again, the backoff over."""


RestartHistory: TypeAlias = tuple[PastRestart, ...]
"""The restarts since the last quiet period, oldest first; empty at the start."""


@attrs.frozen
class Restart:
    """Wait, then start it again."""

    delay_s: float
    history: RestartHistory
    """What to hand in next time."""
    children: tuple[str, ...] = ()
    """Who is started again, in this order, having been stopped in the reverse one."""


@attrs.frozen
class GiveUp:
    """It ended too often: fail to the parent."""

    history: RestartHistory
    """The restarts that didn't help."""


@attrs.frozen
class LeaveDown:
    """It isn't to be started again, and that is fine."""


def plan_restart(
    policy: RestartPolicy,
    history: RestartHistory,
    *,
    now: float,
    abnormal: bool,
    jitter: float,
    strategy: Strategy = Strategy.ONE_FOR_ONE,
    children: Sequence[str] = (),
    failed: str = "",
) -> Restart | GiveUp | LeaveDown:
    """Decide what follows the end of a child.

    Args:
        policy: The child's.
        history: What the last `Restart` said, or empty.
        now: The time in seconds on any clock that only goes forward.
        abnormal: Whether it crashed, rather than finished.
        jitter: A random number from 0 to below 1.
        strategy: Its supervisor's.
        children: All children of its supervisor in starting order, where the strategy matters.
        failed: Which of them ended.
    """
    if policy.type is RestartType.TEMPORARY:
        return LeaveDown()
    if policy.type is RestartType.TRANSIENT and not abnormal:
        return LeaveDown()
    # Measured from when it came back: a backoff longer than the period is no sign of health.
    if history and now - history[-1].back_at > policy.period:
        history = ()
    # The clock's edge counts as within, as it does in OTP.
    recent = sum(past.ended_at >= now - policy.period for past in history)
    if recent >= min(policy.max_restarts, RESTARTS_MAX):
        return GiveUp(history)
    doublings = min(len(history), _DOUBLINGS_MAX)
    delay_s = min(policy.backoff * 2.0**doublings, policy.backoff_max) * (1 + JITTER_SHARE * jitter)
    # Kept is what a later decision can ask for: the newest of one period, and how often to double.
    kept = max(min(policy.max_restarts, RESTARTS_MAX), _DOUBLINGS_MAX)
    return Restart(
        delay_s,
        (*history, PastRestart(now, now + delay_s))[-kept:],
        children_to_restart(strategy, children, failed),
    )


def children_to_restart(
    strategy: Strategy, children: Sequence[str], failed: str
) -> tuple[str, ...]:
    """Return who is started again after `failed` ended, in order; nobody where it is no child."""
    if failed not in children:
        return ()
    match strategy:
        case Strategy.ONE_FOR_ONE:
            return (failed,)
        case Strategy.ONE_FOR_ALL:
            return tuple(children)
        case Strategy.REST_FOR_ONE:
            return tuple(children[children.index(failed) :])
        case never:
            assert_never(never)
