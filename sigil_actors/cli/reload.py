"""`sigil-actors reload`: a plugin's folder is read again, or the whole plugins folder."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from sigil_actors.cli.errors import UsageError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.orders import tell_status
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.cli.plugin_remarks import held_lines
from sigil_actors.cli.supervisor import ask_supervisor
from sigil_actors.control.client import ControlClient
from sigil_actors.control.protocol import OrderRequest, Verb
from sigil_actors.core.json_value import JsonObject

_NOT_DONE = frozenset({"held", "failed"})


def reload(
    plugin: Annotated[str, Parameter(help="The plugin's name.", show_default=False)] = "",
    /,
    *,
    everything: Annotated[
        bool,
        Parameter(
            name="--all",
            negative=(),
            show_default=False,
            help="Look into the whole plugins folder: start what is new, reload what has changed, "
            "stop what is gone.",
        ),
    ] = False,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Start the new version of a plugin beside the old one, turn to it, drain the old one.

    Where the new version doesn't come up, the old one goes on. One that asks for more than what ran
    before is held until it is approved. The exit code is 1 then.
    """
    output = Output(as_json=json)
    if everything and plugin:
        raise UsageError(
            "--all reloads every plugin", remedy="Name a plugin, or give --all, not both"
        )
    if not everything and not plugin:
        raise UsageError("what is to be reloaded?", remedy="Name a plugin, or give --all")

    async def carry_out(client: ControlClient) -> int:
        if everything:
            return _tell_results(await client.rescan(), state, output)
        tell_status(await client.order(OrderRequest(verb=Verb.RELOAD, plugin=plugin)), output)
        return ExitCode.OK

    return ask_supervisor(state, carry_out)


def _tell_results(answer: JsonObject, state: Path | None, output: Output) -> int:
    found = answer.get("results")
    results = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    if output.as_json:
        output.document(answer)
    else:
        for result in results:
            because = f": {result['reason']}" if result["reason"] else ""
            output.text(terminal_text(f"{result['plugin']}: {result['what']}{because}"))
            for line in held_lines(str(result["plugin"]), result["held"], state):
                output.text(terminal_text(line))
        if not results:
            output.note("the plugins folder holds no plugin")
    is_done = all(result["what"] not in _NOT_DONE for result in results)
    return ExitCode.OK if is_done else ExitCode.FAILED
