"""What a person is told of a plugin, as a frozen look at it."""

import attrs

from sigil_actors.core.calls import Health, Usage
from sigil_actors.core.execution import PluginType
from sigil_actors.core.lifecycle import PluginState


@attrs.frozen(kw_only=True)
class HeldVersion:
    """A version that asks for more than the one before, and waits to be approved."""

    version: str
    snapshot_sha256: str
    """Of the files that would be approved; other files are another version."""
    differences: tuple[str, ...]
    """What it asks for that the one before did not, a line each."""


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
    remedy: str = ""
    """What can be done about it; empty where nobody can say."""
    quarantined: bool = False
    """Whether its supervisor gave up on it; it stays down until somebody starts it."""
    restart_in_s: float | None = None
    """Seconds until it is started again, where that is planned."""
    last_words: tuple[str, ...] = ()
    """The last lines that it logged before it ended by itself."""
    health: Health | None = None
    """What it said of itself last; None before it was asked."""
    held: HeldVersion | None = None
    """The version that waits to be approved, where there is one."""
    reload_failed: str = ""
    """Why the newest version isn't what runs; empty where it is."""
    last_error: str = ""
    """How it ended by itself last; kept while it runs again."""
    is_swapping: bool = False
    """Whether a new version is about to take over, or an old one still finishes its calls."""
    draining_generations: tuple[int, ...] = ()
    """Earlier generations that finish their calls beside the newest."""
    usage: Usage | None = None
    """What its newest instance uses; None where none runs, or its tier can't tell."""
