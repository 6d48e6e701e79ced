"""The messages that a plugin's actor takes."""

from enum import StrEnum

import attrs

from sigil_actors.actors.mailbox import Request
from sigil_actors.runtime.definition import Definition
from sigil_actors.runtime.stop_order import StopKind


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


@attrs.frozen(eq=False)
class StopPlugin(Request[None]):
    """Have it stop; answered when nothing of it is left."""

    kind: StopKind


@attrs.frozen(eq=False)
class ReloadPlugin(Request[ReloadResult]):
    """Have another version run; answered when it serves, or when it is clear that it doesn't."""

    definition: Definition
    only_if_changed: bool
