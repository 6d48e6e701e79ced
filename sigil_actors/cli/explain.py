"""`sigil-actors explain`: why a capability is allowed or denied, and what would change that."""

import os
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.folders import PLUGINS, state_folder
from sigil_actors.cli.options import (
    JsonOption,
    PluginParameter,
    PluginsOption,
    StateOption,
    UserPermissionsOption,
    WorkspaceAllowOption,
)
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.cli.own_runtime import find_plugin
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.cli.supervisor import warn_of_unused
from sigil_actors.control.client import ControlClient
from sigil_actors.control.operations import check_patterns, check_request, operator_name
from sigil_actors.control.protocol import ExplainRequest
from sigil_actors.control.runtime_json import explanation_json
from sigil_actors.core.capability import CapabilitySet, check_capability
from sigil_actors.core.explanation import explain as explain_check
from sigil_actors.core.json_value import JsonObject


def explain(
    plugin: PluginParameter,
    capability: Annotated[str, Parameter(help="What it would do: kv.get, tool.words.")],
    /,
    *,
    workspace_allow: WorkspaceAllowOption = (),
    user_permissions: UserPermissionsOption = (),
    plugins: PluginsOption = None,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Say why a plugin may do something or not, and what would change that.

    Nothing is run and nothing is written to the log. Where a supervisor runs with this state
    folder, it tells what holds now; else the manifests do. The exit code is 0 where it is allowed,
    5 where it is denied.
    """
    check_patterns(workspace_allow, user_permissions)
    output = Output(as_json=json)
    request = ExplainRequest(
        plugin=plugin,
        capability=capability,
        workspace_allow=workspace_allow,
        user_permissions=user_permissions,
    )

    async def carry_out() -> int:
        explanation = await _explain(request, plugins, state_folder(state))
        if output.as_json:
            output.document(explanation)
        else:
            output.text(terminal_text(str(explanation["text"])))
        return ExitCode.OK if explanation["allowed"] else ExitCode.DENIED

    return trio.run(run_until_signal, carry_out)


async def _explain(request: ExplainRequest, plugins: Path | None, state: Path) -> JsonObject:
    client = ControlClient(state)
    if client.is_supervised():
        await warn_of_unused(client, plugins=plugins)
        return await client.explain(request)
    check = check_request(request, operator_name(os.getuid()))
    check_capability(request.capability)
    manifest = (await find_plugin(request.plugin, plugins or PLUGINS))[-1].manifest
    return explanation_json(
        explain_check(
            check,
            CapabilitySet(*manifest.capabilities),
            CapabilitySet(*manifest.deny_capabilities),
        )
    )
