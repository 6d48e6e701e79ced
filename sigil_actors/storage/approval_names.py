"""Which names a record of approvals may have: those of plugins, and so no paths."""

import re

from sigil_actors.core.text import escape_text
from sigil_actors.errors import ApprovalsUnavailableError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_SHOWN_MAX = 80


def check_plugin_name(plugin: str) -> None:
    """Refuse what can't be a plugin's name, whoever has checked it before.

    Raises:
        ApprovalsUnavailableError: it can't.
    """
    if not _NAME.fullmatch(plugin):
        raise ApprovalsUnavailableError(
            f"'{escape_text(plugin, limit=_SHOWN_MAX)}' can't be the name of a plugin",
            remedy="Use the name that the plugin's manifest gives",
        )
