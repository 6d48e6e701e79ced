"""What is said across the border between the runtime and a plugin, in whatever tier it runs.

The words are those of the plugin contract (`plugin.v1`, `common.v1`); each tier turns them into its
own bytes.
"""

from enum import StrEnum

import attrs

from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import SigilError


@attrs.frozen
class ToolDefinition:
    """One tool that a plugin offers. All three come from the plugin and are hostile text."""

    name: str
    description: str
    input_schema: JsonObject
    """JSON Schema 2020-12 that the arguments must fit; an empty one takes any object."""


@attrs.frozen(kw_only=True)
class ExecuteRequest:
    """One call of one tool."""

    tool_name: str
    arguments: str
    """A JSON text, an object at the top."""
    session_id: str
    """The token that stands for the caller while this call lives.

    What the plugin hands back in host calls.
    """
    timeout_seconds: int = 0
    """How long the caller will wait; 0 where it didn't say."""


class HealthStatus(StrEnum):
    """What a plugin says of itself."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@attrs.frozen
class Health:
    """A plugin's answer to a health check."""

    status: HealthStatus
    message: str = ""


@attrs.frozen(kw_only=True)
class InstanceEnd:
    """Why an instance is over though nobody asked it to stop."""

    reason: str
    """One line for people, escaped."""
    error: SigilError
    """What the calls that were in it get."""
    last_words: tuple[str, ...] = ()
    """The last lines that it logged, escaped."""


@attrs.frozen(kw_only=True)
class Usage:
    """What an instance, and all that it started, uses of the machine at one moment."""

    memory_bytes: int
    cpu_s: float
    """Processor time since it was started."""
    pids: int
    """Processes and threads together, as the limit counts them."""
