"""Discovery by itself: `open_manager`."""

from sigil_actors.runtime.discovery import DiscoveryProblem
from sigil_actors.runtime.manager import Manager, open_manager

__all__ = ["DiscoveryProblem", "Manager", "open_manager"]
