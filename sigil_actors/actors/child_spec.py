"""What a supervisor is told of a child, what the child is told of itself, and how children look.

Owns no tasks: those are the supervisor's. Words and meanings are those of OTP's child specs.
"""

import math
from collections.abc import Awaitable, Callable
from enum import StrEnum

import attrs
import trio

from sigil_actors.core.restart import RestartPolicy, RestartType
from sigil_actors.errors import SigilError


class RestartIntensityError(SigilError):
    """A child ended abnormally more often than its policy allows, so its supervisor gives up.

    `__cause__` is how it ended last.
    """

    def __init__(self, child: str, *, restarts: int, period_s: float) -> None:
        self.child = child
        self.restarts = restarts
        self.period_s = period_s
        super().__init__(
            f"{child} was restarted {restarts} times within {period_s:g} s and ended once more"
        )


class ChildStartTimeoutError(SigilError):
    """A child didn't become ready in time."""

    def __init__(self, child: str, *, start_timeout_s: float) -> None:
        self.child = child
        super().__init__(f"{child} wasn't ready within {start_timeout_s:g} s")


class ChildStartError(SigilError):
    """A child that was asked for ended before it was ready; `__cause__` says how, if by an error.

    It is not started again: whoever asked for it decides.
    """

    def __init__(self, child: str, why: str) -> None:
        self.child = child
        super().__init__(f"{child} didn't start: {why}")


class ChildNotFoundError(SigilError):
    """The supervisor has no child of that id."""

    def __init__(self, child: str) -> None:
        self.child = child
        super().__init__(f"there is no child {child}")


class ChildExistsError(SigilError):
    """The supervisor has a child of that id already, or that child isn't down, as it would have to.

    `state` says what it is doing.
    """

    def __init__(self, child: str, state: "ChildState") -> None:
        self.child = child
        self.state = state
        super().__init__(f"there is a child {child} already, and it is {state}")


class SupervisorDownError(SigilError):
    """The supervisor isn't running, or is stopping, so it takes no children."""


class AutoShutdown(StrEnum):
    """Whether a supervisor stops when significant children have ended by themselves."""

    NEVER = "never"
    """It doesn't."""
    ANY_SIGNIFICANT = "any_significant"
    """As soon as one of them has."""
    ALL_SIGNIFICANT = "all_significant"
    """When the last of them has."""


class ChildState(StrEnum):
    """What a child is doing."""

    WAITING = "waiting"
    """For its turn to be started."""
    STARTING = "starting"
    RUNNING = "running"
    """It said that it is ready."""
    STOPPING = "stopping"
    RESTARTING = "restarting"
    """It ended, and comes back when its backoff is over."""
    DOWN = "down"
    """It ended or was stopped, and nobody is going to start it by himself."""


@attrs.frozen(kw_only=True)
class ChildSpec:
    """What to run and when to run it again."""

    id: str
    run: Callable[["ChildContext"], Awaitable[None]]
    """Runs one incarnation until its end. Returning is a normal exit, raising an abnormal one."""
    restart: RestartPolicy
    start_timeout_s: float = math.inf
    stop_grace_s: float = 5
    """How long a stop waits for it before it is cancelled; OTP's default for workers.

    What it does after that, in a shield of its own, is waited for: a task can't be killed.
    """
    cancel_grace_s: float = 0
    """The same where its supervisor is cancelled or interrupted: who cancels wants it at once."""
    significant: bool = False
    """Whether its end may be the supervisor's, as `AutoShutdown` says. Never for permanent ones."""

    def __attrs_post_init__(self) -> None:
        if self.significant and self.restart.type is RestartType.PERMANENT:
            raise ValueError(f"{self.id} can't be significant and permanent")


@attrs.frozen(kw_only=True)
class ChildExit:
    """What the observer of a supervisor hears when a child has ended."""

    child: str
    generation: int
    error: Exception | None
    """How it ended abnormally; None where it returned or was stopped."""
    restart_in_s: float | None
    """When it comes back; None where it stays down."""


Observer = Callable[[ChildExit], None]


@attrs.frozen(kw_only=True)
class ChildLook:
    """A look at a child."""

    id: str
    state: ChildState
    generation: int
    """The number of its incarnation, the last one where it is down; 0 before the first."""
    restarts: int
    """How often it came back after an end of its own; not with a group, nor on request."""
    last_error: str
    """How it ended abnormally the last time, in one line; empty where it never did."""
    restart_in_s: float | None
    """When it comes back; None where that isn't due."""


class ChildContext:
    """What one incarnation of a child is given: its number, and how it is ready and stops."""

    __slots__ = (
        "_is_ready",
        "_is_stopping",
        "_on_ready",
        "_on_stop",
        "_ready",
        "_stop",
        "generation",
        "scope",
    )

    def __init__(self, generation: int, on_ready: Callable[[], None] | None = None) -> None:
        self.generation = generation
        self.scope = trio.CancelScope()
        """Around the incarnation; belongs to the supervisor. Its deadline bounds start and stop."""
        self._on_ready = on_ready
        self._on_stop: Callable[[], None] | None = None
        self._is_ready = False
        self._is_stopping = False
        # Made when somebody waits: two events are 600 bytes, and there may be ten thousand actors.
        self._ready: trio.Event | None = None
        self._stop: trio.Event | None = None

    @trio.lowlevel.enable_ki_protection
    def ready(self) -> None:
        """Say that it is up. Failures from here on are the supervisor's, not the starter's.

        Does nothing where its time to start is over: it is being cancelled.
        """
        if self._is_ready or (self.scope.cancel_called and not self._is_stopping):
            return
        self._is_ready = True
        if not self._is_stopping:
            self.scope.deadline = math.inf
        if self._ready is not None:
            self._ready.set()
        if self._on_ready is not None:
            self._on_ready()

    @property
    def is_ready(self) -> bool:
        """Whether it said so."""
        return self._is_ready

    @property
    def is_stopping(self) -> bool:
        """Whether it was asked to stop."""
        return self._is_stopping

    async def wait_ready(self) -> None:
        """Wait until it is up."""
        if self._ready is None:
            self._ready = trio.Event()
            if self._is_ready:
                self._ready.set()
        await self._ready.wait()

    async def wait_stop(self) -> None:
        """Wait until it is asked to stop; it should then return soon."""
        if self._stop is None:
            self._stop = trio.Event()
            if self._is_stopping:
                self._stop.set()
        await self._stop.wait()

    def call_on_stop(self, stop: Callable[[], None]) -> None:
        """Have `stop` called when it is asked to stop: for children that need no task to wait.

        Typically a mailbox's `finish`. Called at once where that was before; the last one counts.
        """
        self._on_stop = stop
        if self._is_stopping:
            stop()

    @trio.lowlevel.enable_ki_protection
    def request_stop(self, *, grace_s: float = math.inf) -> None:
        """Ask it to stop, and cancel it where it still runs after `grace_s`.

        Asked again, the shorter time counts.
        """
        deadline = trio.current_time() + grace_s
        if not self._is_stopping:
            self._is_stopping = True
            # The deadline was that of its start, which doesn't matter any more.
            self.scope.deadline = deadline
            if self._stop is not None:
                self._stop.set()
            if self._on_stop is not None:
                self._on_stop()
        else:
            self.scope.deadline = min(self.scope.deadline, deadline)
        if grace_s <= 0:
            self.scope.cancel()
