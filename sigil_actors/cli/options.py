"""The options that several commands share, each with its help."""

from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

PluginParameter: TypeAlias = Annotated[str, Parameter(help="The plugin's name.")]
ToolParameter: TypeAlias = Annotated[str, Parameter(help="The tool's name.")]
ArgumentsParameter: TypeAlias = Annotated[
    str,
    Parameter(
        name="JSON",
        allow_leading_hyphen=True,
        help="The tool's arguments as a JSON object; - reads them from standard input.",
    ),
]
"""With hyphens, since a dash stands for standard input."""

StateOption: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--state",
        help="Where keys and values, the audit log and the control socket are kept. "
        "By default sigil-actors in $XDG_STATE_HOME, else in ~/.local/state.",
    ),
]
PluginsOption: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--plugins", help="The folder with a folder for each plugin. By default plugins."
    ),
]
"""None where it wasn't given, so that a supervisor's other folder isn't complained of."""
ConfigOption: TypeAlias = Annotated[
    Path | None,
    Parameter(
        name="--config", help="A YAML file with each plugin's configuration: plugins: {NAME: {…}}."
    ),
]
JsonOption: TypeAlias = Annotated[
    bool,
    Parameter(
        name="--json", negative=(), show_default=False, help="Data for programs on standard output."
    ),
]
WorkspaceAllowOption: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--workspace-allow",
        negative=(),
        show_default=False,
        help="A capability pattern that the workspace allows; several may be given. "
        "Without any, everything.",
    ),
]
UserPermissionsOption: TypeAlias = Annotated[
    tuple[str, ...],
    Parameter(
        name="--user-permissions",
        negative=(),
        show_default=False,
        help="A capability pattern that you may use; several may be given. "
        "Without any, everything.",
    ),
]
