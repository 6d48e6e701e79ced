"""`sigil-actors approve`: lets a version run that asks for more than the one before."""

import logging
import os
import re
import sys
from typing import Annotated

import trio
from cyclopts import Parameter

from sigil_actors.cli.errors import InvalidInputError, NothingHeldError, UsageError
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
from sigil_actors.cli.orders import tell_status
from sigil_actors.cli.output import Output, note, terminal_text
from sigil_actors.cli.own_runtime import open_operations
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.control.client import ControlClient
from sigil_actors.control.operations import RuntimeOperations
from sigil_actors.control.protocol import ApproveRequest, HeldRequest
from sigil_actors.core.json_value import JsonObject

_SHA256 = re.compile(r"[0-9a-f]{64}")

_ANSWER_BYTES_MAX = 1024
"""Of the line in which a person says yes or no."""


def approve(
    plugin: PluginParameter,
    /,
    *,
    snapshot: Annotated[
        str | None,
        Parameter(help="The hash of the files that are approved, as ps --json shows it."),
    ] = None,
    yes: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Approve without being asked.")
    ] = False,
    plugins: PluginsOption = None,
    state: StateOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> int:
    """Show what a held version of a plugin asks for, and let it run once you say yes.

    What is approved are exactly the files that were looked at; others are held again. Without a
    terminal, --yes is needed. Where no supervisor runs with this state folder, the plugin is
    started for it, as `call` does, and stopped again.
    """
    output = Output(as_json=json)
    if snapshot is not None and not _SHA256.fullmatch(snapshot):
        raise InvalidInputError(f"--snapshot {snapshot!r} is no hash", remedy="Give 64 hex digits")
    if not yes and not sys.stdin.isatty():
        raise UsageError(
            "nobody can be asked, since standard input is no terminal",
            remedy="Look at what is held with sigil-actors ps, then give --yes, best with "
            "--snapshot and its hash",
        )
    set_up_logging(as_json=json, level=logging.ERROR)

    async def carry_out() -> int:
        async with open_operations(
            plugin=plugin, plugins=plugins, state=state_folder(state), config=config
        ) as operations:
            held = await _held(operations, plugin, snapshot)
            _tell_held(plugin, held)
            if not yes and not await _is_agreed():
                note("not approved")
                return ExitCode.FAILED
            request = ApproveRequest(plugin=plugin, snapshot_sha256=str(held["snapshot_sha256"]))
            tell_status(await operations.approve(request), output)
        return ExitCode.OK

    return trio.run(run_until_signal, carry_out)


async def _held(
    operations: RuntimeOperations | ControlClient, plugin: str, snapshot: str | None
) -> JsonObject:
    answer = await operations.held(HeldRequest(plugin=plugin))
    held = answer["held"]
    if not isinstance(held, dict):
        raise NothingHeldError(
            f"there is nothing to approve: plugin {plugin!r} is {answer['state']}, and no version "
            "of it is held",
            remedy=f"Where its folder has changed, sigil-actors reload {plugin} takes that up",
        )
    if snapshot not in {None, held["snapshot_sha256"]}:
        raise InvalidInputError(
            f"what is held of plugin {plugin!r} are other files: {held['snapshot_sha256']}",
            remedy="Look at what they ask for, then give their hash",
        )
    return held


def _tell_held(plugin: str, held: JsonObject) -> None:
    note(terminal_text(f"{plugin}: version {held['version']} asks for more than the one before:"))
    differences = held["differences"]
    for line in differences if isinstance(differences, list) else ():
        note(terminal_text(f"    {line}"))
    note(f"    its files: {held['snapshot_sha256']}")


async def _is_agreed() -> bool:
    sys.stderr.write("Approve it? [y/N] ")
    sys.stderr.flush()
    # By its descriptor and in a thread, as the output's: Ctrl-C leaves a thread behind that holds
    # no lock of Python's own buffers.
    answer = await trio.to_thread.run_sync(
        os.read, sys.stdin.fileno(), _ANSWER_BYTES_MAX, abandon_on_cancel=True
    )
    return answer.strip().lower() in {b"y", b"yes"}
