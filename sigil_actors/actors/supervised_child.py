"""A child's place in its supervisor, over all of its incarnations. Belongs to the supervisor alone.

Here is the state and what can be read off it; what follows from an end is the supervisor's.
"""

import math

import attrs
import trio

from sigil_actors.actors.child_spec import ChildContext, ChildLook, ChildSpec, ChildState
from sigil_actors.core.restart import RestartHistory

_ERROR_CHARACTERS_MAX = 500
"""Of the text of a last error: it is for a table, and each of ten thousand children keeps one."""


@attrs.define(eq=False)
class FirstStart:
    """What somebody who asked for a child waits for."""

    done: trio.Event = attrs.field(factory=trio.Event)
    failure: str = ""
    """Why it didn't become ready; empty where it did."""
    error: Exception | None = None


@attrs.define(eq=False)
class SupervisedChild:
    """One child, whether it runs or not."""

    spec: ChildSpec
    position: int
    """Its place in the order of starting."""
    context: ChildContext
    """That of the incarnation that runs, or ran last; its generation is 0 before the first."""
    is_live: bool = False
    """There is a task for it: it runs, or waits in its own task for its backoff to pass."""
    is_due: bool = False
    """It waits for its turn to be started."""
    is_settled: bool = False
    """Since it was last started it was ready or has ended, so that the next one may start."""
    is_stopping: bool = False
    is_doomed: bool = False
    """Its supervisor is going to stop it; if it ends before, that counts for nothing."""
    is_held: bool = False
    """Somebody stopped it, so it stays down until somebody starts it."""
    is_discarded: bool = False
    """Nobody wants it any more: it is forgotten when it is down."""
    start_at: float = -math.inf
    """Not to be started before."""
    backoff: trio.CancelScope | None = None
    history: RestartHistory = ()
    restarts: int = 0
    last_error: str = ""
    first_start: FirstStart | None = None
    _down: trio.Event | None = None

    def stop(self, grace_s: float) -> None:
        """Ask it to stop, and see to it that it is cancelled after `grace_s`."""
        self.is_stopping = True
        if self.backoff is not None:
            self.backoff.cancel()
        else:
            self.context.request_stop(grace_s=grace_s)

    async def wait_down(self) -> None:
        """Wait until there is no task for it any more."""
        await trio.lowlevel.checkpoint()
        while self.is_live:
            if self._down is None:
                self._down = trio.Event()
            await self._down.wait()

    def tell_down(self) -> None:
        """Let those know who wait for it to be down."""
        self.is_live = False
        if self._down is not None:
            self._down.set()
            self._down = None

    def remember(self, error: Exception) -> None:
        """Keep how it ended, as text: an exception would keep all of its frames."""
        text = f"{type(error).__name__}: {error}"[:_ERROR_CHARACTERS_MAX]
        self.last_error = "".join(one if one.isprintable() else " " for one in text)

    def settle_first_start(self, failure: str = "", error: Exception | None = None) -> None:
        """Let the one who asked for it know what became of that."""
        self.is_settled = True
        first, self.first_start = self.first_start, None
        if first is not None:
            first.failure = failure
            first.error = error
            first.done.set()

    @property
    def state(self) -> ChildState:
        """What it is doing."""
        if self.is_live:
            if self.is_stopping:
                return ChildState.STOPPING
            if self.backoff is not None:
                return ChildState.RESTARTING
            return ChildState.RUNNING if self.context.is_ready else ChildState.STARTING
        if not self.is_due:
            return ChildState.DOWN
        # A group member without a backoff of its own waits for its turn.
        return ChildState.WAITING if self.start_at == -math.inf else ChildState.RESTARTING

    @property
    def restart_in_s(self) -> float | None:
        """When it comes back; None where that isn't due."""
        if self.state is not ChildState.RESTARTING:
            return None
        return max(0.0, self.start_at - trio.current_time())

    def look(self) -> ChildLook:
        """Return a look at it as it is now."""
        return ChildLook(
            id=self.spec.id,
            state=self.state,
            generation=self.context.generation,
            restarts=self.restarts,
            last_error=self.last_error,
            restart_in_s=self.restart_in_s,
        )
