"""Where things are: the state folder, the audit log in it, the plugins folder."""

import os
from pathlib import Path

from sigil_actors.cli.errors import InvalidInputError, PathNotFoundError

PLUGINS = Path("plugins")
"""The plugins folder where none is named."""


def state_folder(given: Path | None) -> Path:
    """Return the state folder: the one that is named, or the one of this user."""
    if given is not None:
        return given.absolute()
    # XDG Base Directory Specification: a relative path in the variable is to be ignored.
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if os.path.isabs(named) else Path.home() / ".local" / "state"  # noqa: PTH117
    return base / "sigil-actors"


def audit_folder(state: Path) -> Path:
    """Return where the audit log of a state folder is."""
    return state / "audit"


def check_plugins_folder(folder: Path) -> None:
    """Check that there is a folder to look for plugins in.

    Raises:
        PathNotFoundError: there is none.
        InvalidInputError: it is no folder, or can't be read.
    """
    try:
        with os.scandir(folder):
            return
    except FileNotFoundError:
        raise PathNotFoundError(
            f"there is no plugins folder {folder}",
            remedy="Name it with --plugins; it holds a folder for each plugin, with a plugin.yaml",
        ) from None
    except NotADirectoryError:
        raise InvalidInputError(
            f"{folder} is not a folder", remedy="Name the folder that holds the plugins' folders"
        ) from None
    except OSError as error:
        raise InvalidInputError(
            f"the plugins folder {folder} can't be read: {error.strerror}",
            remedy="Make it readable for the user who runs this",
        ) from error
