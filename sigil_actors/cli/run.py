"""`sigil-actors run`: the supervisor in the foreground."""

import logging
import signal
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sigil_actors.assembly import open_runtime
from sigil_actors.cli.config import read_config
from sigil_actors.cli.exit_codes import INTERRUPTED, ExitCode
from sigil_actors.cli.folders import (
    PLUGINS,
    audit_folder,
    check_plugins_folder,
    state_folder,
)
from sigil_actors.cli.logs import set_up_logging
from sigil_actors.cli.options import ConfigOption, JsonOption, PluginsOption, StateOption
from sigil_actors.cli.output import Output, terminal_text
from sigil_actors.cli.signals import ENDING
from sigil_actors.control.operations import discovery_problem_json, status_json
from sigil_actors.control.server import serve_control
from sigil_actors.control.socket_file import listening_socket, socket_path
from sigil_actors.core.json_value import JsonObject
from sigil_actors.runtime.runtime import Runtime

logger = logging.getLogger(__name__)

LAST_LINES_S = 2.0
"""How long clients get to take the last lines of their answers, once the plugins are down."""


def run(
    *,
    plugins: PluginsOption = PLUGINS,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Run the supervisor in the foreground until a signal ends it.

    SIGTERM and SIGINT let the plugins finish what they have accepted; a second one kills,
    which the exit code tells: 130 or 143. The log goes to standard error.
    """
    output = Output(as_json=json)
    set_up_logging(as_json=json, level=logging.INFO)
    check_plugins_folder(plugins)
    configs = read_config(config)
    return trio.run(_supervise, plugins, state_folder(state), configs, output)


async def _supervise(
    plugins: Path, state: Path, configs: Mapping[str, JsonObject], output: Output
) -> int:
    from sigil_actors import SqliteAuditStore

    # The clients are served from outside the runtime's block: its end waits for their calls.
    async with _told_to_end() as told, trio.open_nursery() as clients:
        async with open_runtime(
            plugins,
            audit_store=SqliteAuditStore(audit_folder(state)),
            configs=configs,
            state_dir=state,
        ) as runtime:
            _tell_discovered(runtime, plugins, configs, output)
            with listening_socket(state) as listener:
                accepting: trio.CancelScope = await clients.start(serve_control, runtime, listener)
                _tell_listening(state, output)
                await told.to_end.wait()
                accepting.cancel()
            logger.info("draining; a second signal kills")
        clients.cancel_scope.deadline = trio.current_time() + LAST_LINES_S
    logger.info("stopped")
    return ExitCode.OK if told.killed_by is None else INTERRUPTED + told.killed_by


class _Told:
    """What the signals have said so far."""

    def __init__(self) -> None:
        self.to_end = trio.Event()
        self.killed_by: int | None = None


@asynccontextmanager
async def _told_to_end() -> AsyncGenerator[_Told]:
    """Tell what signals say: the first one to end; a second one cancels the block."""
    told = _Told()
    async with trio.open_nursery() as nursery:

        async def listen(*, task_status: trio.TaskStatus[None]) -> None:
            with trio.open_signal_receiver(*ENDING) as signals:
                task_status.started()
                async for number in signals:
                    if told.to_end.is_set():
                        told.killed_by = number
                        logger.warning("%s again: killing", signal.Signals(number).name)
                        nursery.cancel_scope.cancel()
                    else:
                        logger.info("%s", signal.Signals(number).name)
                        told.to_end.set()

        await nursery.start(listen)
        yield told
        nursery.cancel_scope.cancel()


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
    for problem in runtime.problems:
        for line in problem.render().splitlines():
            output.text(f"refused: {terminal_text(line)}")
    if not found and not runtime.problems:
        output.note(
            f"{plugins} holds no plugin; put a folder with a plugin.yaml into it, then start again"
        )


def _tell_listening(state: Path, output: Output) -> None:
    if output.as_json:
        output.line({"event": "listening", "socket": str(socket_path(state))})
    else:
        logger.info("listening at %s", socket_path(state))
