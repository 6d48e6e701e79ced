"""`sigil-actors call`: one call, through the supervisor or in a runtime of its own."""

import logging

import trio

from sigil_actors.cli.arguments import read_arguments
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.failure import tell_report
from sigil_actors.cli.folders import state_folder
from sigil_actors.cli.logs import set_up_logging
from sigil_actors.cli.options import (
    ArgumentsParameter,
    ConfigOption,
    JsonOption,
    PluginParameter,
    PluginsOption,
    StateOption,
    ToolParameter,
    UserPermissionsOption,
    WorkspaceAllowOption,
)
from sigil_actors.cli.output import Output
from sigil_actors.cli.own_runtime import open_operations
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.control.client import ControlClient
from sigil_actors.control.operations import RuntimeOperations, check_patterns
from sigil_actors.control.protocol import CallRequest
from sigil_actors.errors import SigilError


def call(
    plugin: PluginParameter,
    tool: ToolParameter,
    arguments: ArgumentsParameter = "{}",
    /,
    *,
    plugins: PluginsOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    workspace_allow: WorkspaceAllowOption = (),
    user_permissions: UserPermissionsOption = (),
    json: JsonOption = False,
) -> int:
    """Call a tool of a plugin; its answer goes to standard output as it streams.

    The call goes to the supervisor that runs with this state folder, which then has the plugins
    folder and the configuration; where none runs, the plugin is started for the call. Ctrl-C
    cancels the call.
    """
    request = CallRequest(
        plugin=plugin,
        tool=tool,
        arguments=read_arguments(arguments),
        workspace_allow=workspace_allow,
        user_permissions=user_permissions,
    )
    check_patterns(workspace_allow, user_permissions)
    output = Output(as_json=json)
    set_up_logging(as_json=json, level=logging.WARNING)

    async def carry_out() -> int:
        async with open_operations(
            plugin=plugin, plugins=plugins, state=state_folder(state), config=config
        ) as operations:
            return await _call(operations, request, output)

    return trio.run(run_until_signal, carry_out)


async def _call(
    operations: RuntimeOperations | ControlClient, request: CallRequest, output: Output
) -> int:
    ends_line = True
    try:
        async with operations.call(request) as chunks:
            async for chunk in chunks:
                await output.chunk(chunk)
                ends_line = chunk.endswith("\n") if chunk else ends_line
            if output.as_json:
                output.line({"done": {"chunks": chunks.count, "characters": chunks.characters}})
    except SigilError as error:
        # Told here, where what explains a denial is still at hand.
        await output.end_line(ends_line=ends_line)
        return tell_report(operations.report(error), as_json=output.as_json)
    await output.end_line(ends_line=ends_line)
    return ExitCode.OK
