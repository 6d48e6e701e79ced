"""The supervisor where one is running, or else a runtime for just one plugin."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from sigil_actors.assembly import open_runtime
from sigil_actors.cli.config import read_config
from sigil_actors.cli.folders import PLUGINS, audit_folder, check_plugins_folder
from sigil_actors.cli.supervisor import warn_of_unused
from sigil_actors.control.client import ControlClient
from sigil_actors.control.operations import RuntimeOperations, check_not_refused
from sigil_actors.core.json_value import JsonObject
from sigil_actors.errors import StateFolderHeldError
from sigil_actors.runtime.discovery import Discovery, Found, discover
from sigil_actors.runtime.manager import not_found
from sigil_actors.runtime.runtime import Runtime

HELD_S = 30.0
"""How long a call waits for another one that has the state folder: calls come one after another
where no supervisor runs."""

_HELD_PAUSE_S = 0.05


@asynccontextmanager
async def open_operations(
    *, plugin: str, plugins: Path | None, state: Path, config: Path | None
) -> AsyncGenerator[RuntimeOperations | ControlClient]:
    """Give the running supervisor, or else a runtime that has that plugin and what it depends on.

    Raises:
        SupervisorUnreachableError: a supervisor is there, and can't be asked.
        PathNotFoundError: there is no supervisor and no plugins folder.
        PluginNotFoundError: there is no supervisor and no such plugin.
        ManifestError: there is no supervisor, and the plugin's manifest can't be used.
        SigilError: whatever `open_runtime` raises.
    """
    client = ControlClient(state)
    patience = trio.current_time() + HELD_S
    async with AsyncExitStack() as stack:
        while not client.is_supervised():
            folder = PLUGINS if plugins is None else plugins
            own = _open_runtime_of(plugin, plugins=folder, state=state, config=config)
            try:
                runtime = await stack.enter_async_context(own)
            except StateFolderHeldError:
                # Another call has it, or a supervisor that isn't listening yet.
                if trio.current_time() >= patience:
                    raise
                await trio.sleep(_HELD_PAUSE_S)
            else:
                # Who calls once wants to hear why it doesn't start, not to wait until it was tried
                # six times. Its manifest stays as it is: what runs is what others are compared
                # with, and a supervisor's next.
                yield RuntimeOperations(runtime, uid=os.getuid(), gives_up_at_once=True)
                return
        await warn_of_unused(client, plugins=plugins, config=config)
        yield client


@asynccontextmanager
async def _open_runtime_of(
    plugin: str, *, plugins: Path, state: Path, config: Path | None
) -> AsyncGenerator[Runtime]:
    from sigil_actors import SqliteAuditStore

    configs = read_config(config)
    wanted = await find_plugin(plugin, plugins)
    async with open_runtime(
        manifests=wanted,
        audit_store=SqliteAuditStore(audit_folder(state)),
        configs=_configs_of(wanted, configs),
        state_dir=state,
    ) as runtime:
        yield runtime


def _configs_of(
    wanted: Sequence[Found], configs: Mapping[str, JsonObject]
) -> Mapping[str, JsonObject]:
    names = {found.manifest.name for found in wanted}
    return {name: config for name, config in configs.items() if name in names}


async def find_plugin(plugin: str, folder: Path) -> Sequence[Found]:
    """Return a plugin of a folder and all that it depends on, what depends on another after it.

    Raises:
        PathNotFoundError: there is no such folder.
        InvalidInputError: it can't be read.
        ManifestError: the plugin's manifest can't be used.
        PluginNotFoundError: there is no such plugin.
    """
    check_plugins_folder(folder)
    discovery = await discover(folder)
    check_not_refused(plugin, discovery.problems)
    return _with_dependencies(plugin, discovery)


def _with_dependencies(plugin: str, discovery: Discovery) -> Sequence[Found]:
    by_name = {found.manifest.name: found for found in discovery.found}
    if plugin not in by_name:
        raise not_found(plugin, list(by_name))
    wanted: set[str] = set()
    todo = [plugin]
    while todo:
        name = todo.pop()
        if name not in wanted:
            wanted.add(name)
            todo.extend(by_name[name].manifest.dependencies)
    return [found for found in discovery.found if found.manifest.name in wanted]
