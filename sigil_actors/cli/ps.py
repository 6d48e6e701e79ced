"""`sigil-actors ps`: the plugins of the running supervisor, and how each of them is."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sigil_actors.cli.errors import UsageError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.cli.plugin_remarks import remarks_on
from sigil_actors.cli.supervisor import ask_supervisor
from sigil_actors.control.client import ControlClient
from sigil_actors.control.protocol import ListRequest
from sigil_actors.core.json_value import JsonObject


def ps(
    plugin: Annotated[str, Parameter(help="Only this one.", show_default=False)] = "",
    /,
    *,
    tree: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="The supervision tree, with all actors."),
    ] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Show the plugins of the running supervisor: what runs, what is wrong, what is held."""
    output = Output(as_json=json)
    if tree and plugin:
        raise UsageError(
            "--tree shows all plugins", remedy="Name a plugin, or ask for the tree, not both"
        )

    async def show(client: ControlClient) -> int:
        if tree:
            _show_tree(await client.tree(), output)
        else:
            _show_plugins(await client.list(ListRequest(plugin=plugin)), state, output)
        return ExitCode.OK

    return ask_supervisor(state, show)


def _show_tree(answer: JsonObject, output: Output) -> None:
    if output.as_json:
        tree = answer["tree"]
        output.document(tree if isinstance(tree, dict) else {})
    else:
        output.text(terminal_text(str(answer["text"])))


def _show_plugins(answer: JsonObject, state: Path | None, output: Output) -> None:
    if output.as_json:
        output.document(answer)
        return
    from sigil_actors.cli.tables import plugins_table

    plugins = _objects(answer, "plugins")
    if plugins:
        output.show(plugins_table(plugins))
    else:
        output.note("the supervisor has no plugins")
    for status in plugins:
        for line in remarks_on(status, state):
            output.text(terminal_text(line))
    for refused in _objects(answer, "problems"):
        for problem in _objects(refused, "problems"):
            at = f"{refused['file']}:{problem['line']}" if problem["line"] else refused["file"]
            parts = (f"refused: {at}", problem["path"], f"{problem['what']}. {problem['remedy']}")
            output.text(terminal_text(": ".join(str(part) for part in parts if part)))


def _objects(answer: JsonObject, name: str) -> list[JsonObject]:
    found = answer.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
