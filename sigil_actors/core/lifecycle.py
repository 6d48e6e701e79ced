"""The states of one plugin instance and every step between them.

Everything that changes a state lives here; an absent entry in `TRANSITIONS` is the check for an
illegal step.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

import attrs

from sigil_actors.errors import InvalidTransitionError


class PluginState(StrEnum):
    """Where one instance is in its life. `STOPPED` and `ERROR` are final for that instance."""

    DISCOVERED = "discovered"
    VALIDATING = "validating"
    LOADING = "loading"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    ERROR = "error"


TRANSITIONS: Mapping[PluginState, frozenset[PluginState]] = MappingProxyType(
    {
        PluginState.DISCOVERED: frozenset({PluginState.VALIDATING}),
        PluginState.VALIDATING: frozenset({PluginState.LOADING, PluginState.ERROR}),
        PluginState.LOADING: frozenset({PluginState.RUNNING, PluginState.ERROR}),
        PluginState.RUNNING: frozenset({PluginState.DRAINING, PluginState.ERROR}),
        PluginState.DRAINING: frozenset({PluginState.STOPPING, PluginState.ERROR}),
        PluginState.STOPPING: frozenset({PluginState.STOPPED, PluginState.ERROR}),
        PluginState.STOPPED: frozenset(),
        PluginState.ERROR: frozenset(),
    }
)


def valid_transition(source: PluginState, target: PluginState) -> bool:
    """Tell whether an instance in `source` may enter `target`."""
    return target in TRANSITIONS[source]


@attrs.define
class PluginInstance:
    """One generation of a plugin and the state it is in.

    A restart is a new instance with the next generation.
    """

    name: str
    state: PluginState = PluginState.DISCOVERED
    generation: int = 1

    def transition_to(self, state: PluginState) -> None:
        """Enter `state`.

        Raises:
            InvalidTransitionError: the step isn't in the table; the state is unchanged.
        """
        if not valid_transition(self.state, state):
            raise InvalidTransitionError(self.name, self.state, state)
        self.state = state

    @property
    def is_final(self) -> bool:
        """Whether no step leads on from here."""
        return not TRANSITIONS[self.state]
