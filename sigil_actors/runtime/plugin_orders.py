"""The messages that a plugin's actor takes."""

from enum import StrEnum

import attrs

from sigil_actors.actors.mailbox import Request
from sigil_actors.runtime.definition import Definition


class ReloadResult(StrEnum):
    """What became of a reload that didn't fail."""

    RELOADED = "reloaded"
    """The new version serves."""
    UNCHANGED = "unchanged"
    """The folder holds what runs already; nothing was done."""
    SKIPPED = "skipped"
    """It was stopped by somebody and stays so; the next start takes the new version."""


@attrs.frozen(eq=False)
class StartPlugin(Request[None]):
    """Have it run; answered when it runs, or when it is clear that it doesn't."""

    definition: Definition
    number: int
    """Counts the plugin's orders; a stop makes those void that were given before it."""


@attrs.frozen(eq=False)
class ReloadPlugin(Request[ReloadResult]):
    """Have another version run; answered when it serves, or when it is clear that it doesn't."""

    definition: Definition
    only_if_changed: bool
    number: int
    """As with a start."""
