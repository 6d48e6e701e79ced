"""How much of its work a peer may have done for nothing: two buckets that refill with time."""

from sigil_actors.rpc.frames import Code
from sigil_actors.rpc.http2_error import ViolationError
from sigil_actors.rpc.limits import Limits


class FloodGuard:
    """Counts frames that ask for work and carry none, and streams that end without an answer."""

    __slots__ = (
        "_control",
        "_control_burst",
        "_limits",
        "_now",
        "_resets",
        "_then",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._control_burst: float = limits.control_burst
        self._control: float = limits.control_burst
        self._resets: float = limits.reset_burst
        self._now: float = 0.0
        self._then: float | None = None
        """Up to when the buckets were refilled."""

    def tick(self, now: float) -> None:
        """Note the time of the bytes that are read next."""
        self._now = now
        if self._then is None:
            self._then = now

    def charge(self) -> None:
        """Count a frame that carries nothing.

        Raises:
            ViolationError: There were too many.
        """
        self._control -= 1
        if self._control < 0:
            self._refill()
            if self._control < 0:
                raise ViolationError(Code.ENHANCE_YOUR_CALM, "control frame flood")

    def charge_reset(self) -> None:
        """Count a stream of the peer that ended for nothing.

        Raises:
            ViolationError: There were too many.
        """
        self._resets -= 1
        if self._resets < 0:
            self._refill()
            if self._resets < 0:
                raise ViolationError(Code.ENHANCE_YOUR_CALM, "stream reset flood")

    def pardon(self) -> None:
        """Forget the frames that carried nothing: we have something useful to say to this peer.

        Its acknowledgements and window updates answer just that, however many they are.
        """
        self._control = self._control_burst

    def stream_answered(self) -> None:
        """Give back what one reset costs, for a stream that we answered in full.

        Just one, and not all of them: else each answer would pay for a whole burst of resets, and
        the attacker earns as many answers as he likes.
        """
        if self._resets < self._limits.reset_burst:
            self._resets += 1

    def _refill(self) -> None:
        passed = 0.0 if self._then is None else self._now - self._then
        self._then = self._now
        limits = self._limits
        control = self._control + passed * limits.control_rate
        resets = self._resets + passed * limits.reset_rate
        self._control = min(limits.control_burst, control)
        self._resets = min(limits.reset_burst, resets)
