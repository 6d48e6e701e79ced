"""How much a server holds for its clients, all of them together."""

from typing import Final

from sigil_actors.rpc.status import RpcError, StatusCode

MESSAGE_COST: Final = 64
"""What Python adds to the bytes of a message. Not counted, a megabyte of tiny ones is ten."""


class HeldBytes:
    """A sum with an upper bound."""

    __slots__ = ("held", "held_max")

    def __init__(self, held_max: int) -> None:
        self.held = 0
        self.held_max = held_max

    def take(self, amount: int) -> None:
        """Count what is held from now on.

        Raises:
            RpcError: RESOURCE_EXHAUSTED; it would be too much, and isn't counted.
        """
        if self.held + amount > self.held_max:
            raise RpcError(
                StatusCode.RESOURCE_EXHAUSTED,
                f"the server holds its {self.held_max} bytes of messages already",
            )
        self.held += amount

    def give_back(self, amount: int) -> None:
        """Count what is let go."""
        self.held -= amount
