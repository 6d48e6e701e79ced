"""What the audit commands share: which log is meant, and how its entries are written as JSON."""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from sigil_actors.cli.errors import PathNotFoundError
from sigil_actors.cli.folders import audit_folder, state_folder
from sigil_actors.core.audit_entry import AuditEntry
from sigil_actors.core.json_value import JsonObject

LogParameter: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="PATH", help="The log's folder, or a copy of its file. By default that of the state."
    ),
]


def log_path(given: Path | None, state: Path | None) -> Path:
    """Return the path of the log that is meant.

    Raises:
        PathNotFoundError: there is none.
    """
    path = audit_folder(state_folder(state)) if given is None else given
    # A folder that is empty holds no log either; making one is for who writes.
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        raise PathNotFoundError(
            f"there is no audit log at {path}",
            remedy="Name the state folder with --state; the first run or call makes the log",
        )
    return path


def entry_json(entry: AuditEntry) -> JsonObject:
    """Return an entry for a JSON text."""
    return {
        "seq": entry.seq,
        "timestamp": entry.timestamp.isoformat(timespec="microseconds"),
        "action": entry.action,
        "actor": entry.actor,
        "plugin": entry.plugin,
        "workspace_id": entry.workspace_id,
        "user_id": entry.user_id,
        "session_id": entry.session_id,
        "capability": entry.capability,
        "result": entry.result,
        "reason": entry.reason,
        "details": entry.details,
        "hash": entry.hash.hex(),
    }
