"""Asks the running supervisor, for the commands that need one."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from sigil_actors.cli.folders import real_path, state_folder
from sigil_actors.cli.output import note
from sigil_actors.cli.signals import run_until_signal
from sigil_actors.control.client import ControlClient


def ask_supervisor(state: Path | None, question: Callable[[ControlClient], Awaitable[int]]) -> int:
    """Have a question asked; return its exit code.

    Raises:
        SupervisorUnreachableError: none runs with that state folder.
    """
    client = ControlClient(state_folder(state))
    return trio.run(run_until_signal, lambda: question(client))


async def warn_of_unused(
    client: ControlClient, *, plugins: Path | None, config: Path | None = None
) -> None:
    """Say what was named on the command line and isn't used, since the supervisor has its own."""
    if config is not None:
        note(f"--config {config} is not used: the running supervisor has its own configuration")
    if plugins is None:
        return
    used = (await client.about()).get("plugins")
    if isinstance(used, str) and real_path(Path(used)) != real_path(plugins):
        note(f"--plugins {plugins} is not used: the running supervisor has the plugins of {used}")
