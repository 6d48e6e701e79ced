"""`sigil-actors demo`: the whole story in a minute, on the example plugins."""

import logging
import tempfile
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import Parameter

import sigil_actors
from sigil_actors.cli.demo_acts import play
from sigil_actors.cli.demo_process import hostile_plugin
from sigil_actors.cli.demo_story import Story
from sigil_actors.cli.errors import PathNotFoundError
from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.folders import check_plugins_folder
from sigil_actors.cli.logs import set_up_logging
from sigil_actors.cli.options import JsonOption
from sigil_actors.cli.output import Output
from sigil_actors.cli.signals import run_until_signal

EXAMPLES = Path("examples", "plugins")


def demo(
    *,
    plugins: Annotated[
        Path | None,
        Parameter(name="--plugins", help="The example plugins; by default those of the checkout."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Show the whole story in a minute: no root, no network.

    Runs the example plugins in a temporary folder: a tool that works, one that asks for too much,
    one that tries to break out of its sandbox (where this machine can make one), one that never
    ends, one that crashes; then reads the audit log and tampers with a copy of it.
    A text that is piped in is worked on as well.
    """
    output = Output(as_json=json)
    # What goes wrong here goes wrong on purpose, and the story tells it.
    set_up_logging(as_json=json, level=logging.CRITICAL)
    folder = _examples() if plugins is None else plugins
    check_plugins_folder(folder)

    hostile = hostile_plugin(folder.resolve().parents[1])

    async def carry_out() -> int:
        with tempfile.TemporaryDirectory(prefix="sigil-actors-demo-") as state:
            facts = await play(folder, Path(state), hostile, Story(output))
        if output.as_json:
            output.document(facts)
        return ExitCode.OK

    return trio.run(run_until_signal, carry_out)


def _examples() -> Path:
    package = Path(sigil_actors.__file__).parent
    for folder in (package.parent / EXAMPLES, EXAMPLES):
        if folder.is_dir():
            return folder
    raise PathNotFoundError(
        f"there are no example plugins: neither beside the package nor in {EXAMPLES}",
        remedy="Run the demo in a checkout of sigil-actors, or name their folder with --plugins",
    )
