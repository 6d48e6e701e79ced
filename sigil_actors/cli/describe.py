"""`sigil-actors describe`: the tools of a plugin, with what each takes."""

import json as json_text
import logging
from collections.abc import Sequence

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
    """Show the tools of a plugin: what each takes, and a call to begin with.

    The schemas themselves are shown with --json.

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
            given = {"--plugins": plugins, "--state": state, "--config": config}
            options = [
                word
                for name, path in given.items()
                if path is not None
                for word in (name, str(path))
            ]
            _show(plugin, answer, options, output)
        return ExitCode.OK

    return trio.run(run_until_signal, carry_out)


def _show(plugin: str, answer: JsonObject, options: Sequence[str], output: Output) -> None:
    from sigil_actors.cli.tool_text import arguments_table, is_tabular, sample_call

    tools = answer.get("tools")
    if not isinstance(tools, list) or not tools:
        output.note("the plugin has no tools")
        return
    for number, tool in enumerate(tool for tool in tools if isinstance(tool, dict)):
        if number:
            output.text("")
        output.text(one_line(f"{tool['name']}: {tool['description']}"))
        schema = tool["input_schema"]
        if not isinstance(schema, dict) or not is_tabular(schema):
            shown = json_text.dumps(schema, indent=2, ensure_ascii=False)
            output.text(terminal_text(shown))
        elif schema.get("properties"):
            output.show(arguments_table(schema))
        else:
            output.text("it names no arguments")
        output.text(f"for example: {sample_call(plugin, str(tool['name']), schema, options)}")
