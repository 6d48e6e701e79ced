"""What a supervisor's log says of changes: what a look into the folder brought, what to approve."""

import logging
from contextlib import suppress
from pathlib import Path

import trio

from sigil_actors.cli.plugin_remarks import approve_command
from sigil_actors.control.operations import RuntimeOperations
from sigil_actors.errors import PluginNotFoundError, SigilError
from sigil_actors.runtime.events import EventKind
from sigil_actors.runtime.runtime import Runtime
from sigil_actors.runtime.status import PluginStatus

logger = logging.getLogger(__name__)


async def rescan_when_told(
    operations: RuntimeOperations, told: trio.MemoryReceiveChannel[None]
) -> None:
    """Look into the plugins folder each time that it is told to, and log what came of it."""
    async for _ in told:
        try:
            answer = await operations.rescan()
        except SigilError as error:
            logger.error("the plugins folder wasn't looked into: %s", error)  # noqa: TRY400 - no bug
            continue
        results = answer["results"]
        changed = [
            result
            for result in (results if isinstance(results, list) else ())
            if isinstance(result, dict) and result["what"] != "unchanged"
        ]
        for one in changed:
            because = f": {one['reason']}" if one["reason"] else ""
            about = {"plugin": one["plugin"]}
            logger.info("rescan: %s: %s%s", one["plugin"], one["what"], because, extra=about)
        if not changed:
            logger.info("rescan: nothing has changed")


async def tell_how_to_approve(runtime: Runtime, state: Path) -> None:
    """Log how a version is approved that is held, where the state folder has to be named for it.

    What is held and what it asks for, the runtime's own line says, which knows no folders.
    """
    told: dict[str, str] = {}

    def tell(status: PluginStatus) -> None:
        held = status.held
        if held is not None and told.get(status.name) != held.snapshot_sha256:
            told[status.name] = held.snapshot_sha256
            command = approve_command(status.name, state)
            about = {"plugin": status.name}
            logger.warning("to approve version %s: %s", held.version, command, extra=about)

    async with runtime.events() as stream:
        # Those that were held before the stream was opened.
        for status in runtime.list():
            tell(status)
        async for event in stream:
            if event.kind is EventKind.HELD:
                with suppress(PluginNotFoundError):
                    tell(runtime.get(event.plugin))
