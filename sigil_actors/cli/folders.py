"""Where things are: the state folder, the audit log in it, the plugins folder."""

import os
import pwd
from pathlib import Path

from sigil_actors.cli.errors import InvalidInputError, PathNotFoundError

PLUGINS = Path("plugins")
"""The plugins folder where none is named."""


def state_folder(given: Path | None) -> Path:
    """Return the state folder: the one that is named, or the one of this user."""
    if given is not None:
        return _absolute(given)
    # XDG Base Directory Specification: a relative path in the variable is to be ignored.
    named = os.environ.get("XDG_STATE_HOME", "")
    base = Path(named) if os.path.isabs(named) else _home() / ".local" / "state"  # noqa: PTH117
    return base / "sigil-actors"


def _absolute(path: Path) -> Path:
    try:
        return path.absolute()
    except FileNotFoundError:
        raise PathNotFoundError(
            "the current folder is gone, so that a relative path means nothing",
            remedy="Go to a folder that is there, or name the path from the root",
        ) from None


def _home() -> Path:
    # An empty or relative HOME would put the state below whatever folder is the current one.
    named = os.environ.get("HOME", "")
    if os.path.isabs(named):  # noqa: PTH117
        return Path(named)
    try:
        return Path(pwd.getpwuid(os.getuid()).pw_dir)
    except KeyError:
        raise InvalidInputError(
            "neither HOME nor the system says where this user's files are",
            remedy="Name the state folder with --state, or set HOME",
        ) from None


def real_path(path: Path) -> Path:
    """Return which folder is meant, whatever links lead there; never fails."""
    try:
        return Path(os.path.realpath(path))
    except OSError:
        return path


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
            f"there is no plugins folder {_absolute(folder)}",
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
