"""What a person is told of a plugin, as a frozen look at it."""

import attrs

from sigil_actors.core.execution import PluginType
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.lifecycle import PluginState


@attrs.frozen(kw_only=True)
class PluginStatus:
    """One plugin at one moment. All text from the plugin is escaped."""

    name: str
    version: str
    type: PluginType
    tier: str
    state: PluginState
    """The state of its newest instance."""
    generation: int
    """The number of that instance; 0 before the first."""
    restarts: int
    """How often the supervisor has started it again since it was started."""
    in_flight: int
    """Calls that are in it."""
    reason: str
    """Why it is not running; empty while it runs."""
    quarantined: bool = False
    """Whether its supervisor gave up on it; it stays down until somebody starts it."""
    restart_in_s: float | None = None
    """Seconds until it is started again, where that is planned."""
    last_words: tuple[str, ...] = ()
    """The last lines that it logged before it ended by itself."""
    usage: JsonObject = attrs.field(factory=dict)
    """What it uses, as far as its tier can tell."""
