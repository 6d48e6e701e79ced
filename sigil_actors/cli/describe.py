"""`sigil-actors describe`: the tools of a plugin, with what each takes."""

import json as json_text
import logging

import trio

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.folders import state_folder
from sigil_actors.cli.logs import set_up_logging
from sigil_actors.cli.options import (
    ConfigOption,
    JsonOption,
    PluginParameter,
    PluginsOption,
    StateOption,
)
from sigil_actors.cli.output import Output, one_line, terminal_text
from sigil_actors.cli.own_runtime import open_operations
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.control.protocol import DescribeRequest
from sigil_actors.core.json_value import JsonObject


def describe(
    plugin: PluginParameter,
    /,
    *,
    plugins: PluginsOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Show the tools of a plugin, with the schema of their arguments.

    Asks the supervisor that runs with this state folder; where none runs, the plugin is started for
    it, as `call` does.
    """
    output = Output(as_json=json)
    set_up_logging(as_json=json, level=logging.WARNING)

    async def carry_out() -> int:
        async with open_operations(
            plugin=plugin, plugins=plugins, state=state_folder(state), config=config
        ) as operations:
            answer = await operations.describe(DescribeRequest(plugin=plugin))
        if output.as_json:
            output.document(answer)
        else:
            _show(answer, output)
        return ExitCode.OK

    return trio.run(run_until_signal, carry_out)


def _show(answer: JsonObject, output: Output) -> None:
    tools = answer.get("tools")
    if not isinstance(tools, list) or not tools:
        output.note("the plugin has no tools")
        return
    for tool in tools:
        if isinstance(tool, dict):
            output.text(one_line(f"{tool['name']}: {tool['description']}"))
            schema = json_text.dumps(tool["input_schema"], indent=2, ensure_ascii=False)
            output.text(terminal_text(schema))
