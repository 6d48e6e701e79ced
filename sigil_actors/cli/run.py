"""`sigil-actors run`: the supervisor in the foreground."""

import logging
import os
import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

from sigil_actors.assembly import open_runtime
from sigil_actors.cli.config import read_config
from sigil_actors.cli.exit_codes import INTERRUPTED, ExitCode
from sigil_actors.cli.folders import (
    PLUGINS,
    audit_folder,
    check_plugins_folder,
    real_path,
    state_folder,
)
from sigil_actors.cli.logs import logging_in_background
from sigil_actors.cli.options import ConfigOption, JsonOption, PluginsOption, StateOption
from sigil_actors.cli.output import Output
from sigil_actors.cli.run_changes import rescan_when_told, tell_how_to_approve
from sigil_actors.cli.run_signals import told_by_signals
from sigil_actors.control.operations import RuntimeOperations
from sigil_actors.control.runtime_json import discovery_problem_json, status_json
from sigil_actors.control.server import serve_control
from sigil_actors.control.socket_file import socket_path
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.wording import counted
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.runtime.settings import RuntimeSettings

logger = logging.getLogger(__name__)

LAST_LINES_S = 2.0
"""How long clients get to take the last lines of their answers, once the plugins are down."""


def run(
    *,
    plugins: PluginsOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    no_watch: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Leave changes of the plugins folder alone until SIGHUP or reload.",
        ),
    ] = False,
    unsafe_no_sandbox: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="Run programs as plugins without a sandbox, with all that you may do yourself.",
        ),
    ] = False,
    json: JsonOption = False,
) -> int:
    """Run the supervisor in the foreground until a signal ends it.

    SIGTERM and SIGINT let the plugins finish what they have accepted; a second one kills,
    which the exit code tells: 130 or 143. What changes in the plugins folder is taken up, and on
    SIGHUP at once; a version that asks for more than the one before is held until it is approved.
    The log goes to standard error.
    """
    output = Output(as_json=json)
    folder = PLUGINS if plugins is None else plugins
    with logging_in_background(as_json=json, level=logging.INFO):
        check_plugins_folder(folder)
        configs = read_config(config)
        settings = RuntimeSettings(watch_plugins=not no_watch, unsafe_no_sandbox=unsafe_no_sandbox)
        return trio.run(_supervise, folder, state, configs, settings, output)


async def _supervise(
    plugins: Path,
    named_state: Path | None,
    configs: Mapping[str, JsonObject],
    settings: RuntimeSettings,
    output: Output,
) -> int:
    from sigil_actors import SqliteAuditStore

    state = state_folder(named_state)
    # The clients are served from outside the runtime's block: its end waits for their calls, and
    # they may look on while it drains.
    async with told_by_signals() as told, trio.open_nursery() as clients:
        async with open_runtime(
            plugins,
            audit_store=SqliteAuditStore(audit_folder(state)),
            configs=configs,
            settings=settings,
            state_dir=state,
        ) as runtime:
            _tell_discovered(runtime, plugins, configs, output)
            await clients.start(
                partial(serve_control, stopping=told.to_end), runtime, state, real_path(plugins)
            )
            _tell_listening(state, named_state, output)
            async with trio.open_nursery() as changes:
                operator = RuntimeOperations(runtime, uid=os.getuid())
                changes.start_soon(rescan_when_told, operator, told.hangups)
                if named_state is not None:
                    changes.start_soon(tell_how_to_approve, runtime, named_state)
                await told.to_end.wait()
                changes.cancel_scope.cancel()
            _tell_draining(runtime)
        clients.cancel_scope.deadline = trio.current_time() + LAST_LINES_S
    logger.info("stopped")
    return ExitCode.OK if told.killed_by is None else INTERRUPTED + told.killed_by


def _tell_discovered(
    runtime: Runtime, plugins: Path, configs: Mapping[str, JsonObject], output: Output
) -> None:
    found = [status_json(status) for status in runtime.list()]
    names = {status.name for status in runtime.list()}
    for name in sorted(configs.keys() - names):
        logger.warning("the configuration names the plugin %s, which isn't there", name)
    if output.as_json:
        problems = [discovery_problem_json(problem) for problem in runtime.problems]
        output.line({"event": "discovered", "plugins": found, "problems": problems})
        return
    if found:
        from sigil_actors.cli.tables import new_table

        table = new_table("plugin", "version", "type", "tier")
        for status in runtime.list():
            table.add_row(status.name, status.version, status.type, status.tier)
        output.show(table)
    if not found and not runtime.problems:
        output.note(f"{plugins} holds no plugin; put a folder with a plugin.yaml into it")


def _tell_draining(runtime: Runtime) -> None:
    waiting = [
        f"{counted(status.in_flight, 'call')} in {status.name}"
        for status in runtime.list()
        if status.in_flight
    ]
    for_what = (
        f", waiting for {', '.join(waiting)}, each plugin for at most its manifest's "
        "lifecycle.graceful_shutdown_timeout"
        if waiting
        else ""
    )
    logger.info("draining%s; a second signal kills", for_what)


def _tell_listening(state: Path, named_state: Path | None, output: Output) -> None:
    if output.as_json:
        output.line({"event": "listening", "socket": str(socket_path(state))})
    else:
        logger.info("listening at %s", socket_path(state))
        where = () if named_state is None else ("--state", str(named_state))
        for command in (("ps",), ("describe", "PLUGIN"), ("events",)):
            output.note(f"  try: {shlex.join(('sigil-actors', *command, *where))}")
