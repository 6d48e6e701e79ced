"""What can go wrong with one start, one call or one health question, as values.

A `FakePlugin` holds them by number: `on_call={2: Crash()}` is a crash on the second call.
"""

import attrs


@attrs.frozen
class Fail:
    """It goes wrong in an orderly way.

    A start is refused, a call is answered with the plugin's error; the instance lives on.
    """

    reason: str = "failed, as its script says"

    def __str__(self) -> str:
        return "fails"


@attrs.frozen
class Crash:
    """The instance is gone, as if its process had died."""

    reason: str = "crashed, as its script says"

    def __str__(self) -> str:
        return "crashes"


@attrs.frozen
class Hang:
    """It never comes back."""

    def __str__(self) -> str:
        return "hangs"


@attrs.frozen
class Slow:
    """It goes as usual, but later."""

    seconds: float

    def __str__(self) -> str:
        return f"takes {self.seconds:g} s"


Fault = Fail | Crash | Hang | Slow
