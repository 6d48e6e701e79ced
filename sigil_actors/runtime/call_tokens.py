"""The tokens by which a plugin says for which of its running calls it asks something."""

import secrets
from collections.abc import Generator
from contextlib import contextmanager

from sigil_actors.runtime.caller import Caller
from sigil_actors.runtime.chain import Chain


class CallTokens:
    """The tokens of the calls that are in one instance, and whom each stands for."""

    def __init__(self) -> None:
        self._callers: dict[str, tuple[Caller, Chain]] = {}

    @contextmanager
    def minted(self, caller: Caller, chain: Chain) -> Generator[str]:
        """Make a token that is good while the block lasts."""
        token = secrets.token_urlsafe(24)
        self._callers[token] = (caller, chain)
        try:
            yield token
        finally:
            del self._callers[token]
            chain.is_over = True

    def find(self, token: str) -> tuple[Caller, Chain] | None:
        """Return whom a token stands for; None for one that is unknown, foreign or expired."""
        return self._callers.get(token)
