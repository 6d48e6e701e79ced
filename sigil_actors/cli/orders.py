"""`sigil-actors start`, `stop` and `drain`: what is done to one plugin of the supervisor."""

from pathlib import Path

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, PluginParameter, StateOption
from sigil_actors.cli.output import Output, note, one_line
from sigil_actors.cli.supervisor import ask_supervisor
from sigil_actors.control.client import ControlClient
from sigil_actors.control.protocol import ListRequest, OrderRequest, Verb
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.wording import counted


def start(
    plugin: PluginParameter, /, *, state: StateOption = None, json: JsonOption = False
) -> int:
    """Start a plugin that is stopped or quarantined; returns when it runs."""
    return _order(Verb.START, plugin, state, Output(as_json=json))


def stop(plugin: PluginParameter, /, *, state: StateOption = None, json: JsonOption = False) -> int:
    """Stop a plugin: its calls get some seconds. It stays down until it is started.

    Done even where the audit log is down; the entry is written when that is back.
    """
    return _order(Verb.STOP, plugin, state, Output(as_json=json))


def drain(
    plugin: PluginParameter, /, *, state: StateOption = None, json: JsonOption = False
) -> int:
    """Let a plugin finish the calls that it has, take no new ones, and stop it.

    Done even where the audit log is down; the entry is written when that is back.
    """
    return _order(Verb.DRAIN, plugin, state, Output(as_json=json))


def _order(verb: Verb, plugin: str, state: Path | None, output: Output) -> int:
    async def order(client: ControlClient) -> int:
        if verb in {Verb.STOP, Verb.DRAIN}:
            await _tell_wait(client, plugin, verb)
        tell_status(await client.order(OrderRequest(verb=verb, plugin=plugin)), output)
        return ExitCode.OK

    return ask_supervisor(state, order)


async def _tell_wait(client: ControlClient, plugin: str, verb: Verb) -> None:
    """Say what is going to be waited for, and how long at most; nothing where nothing is."""
    found = (await client.list(ListRequest(plugin=plugin)))["plugins"]
    status = found[0] if isinstance(found, list) and found else None
    in_flight = status["in_flight"] if isinstance(status, dict) else 0
    if not isinstance(in_flight, int) or in_flight == 0:
        return
    bound = "its manifest's lifecycle.graceful_shutdown_timeout"
    if verb is Verb.STOP:
        grace_s = (await client.about()).get("stop_grace_s")
        if isinstance(grace_s, float | int):
            bound = f"{grace_s:g} s, or {bound} where that is less"
    note(f"waiting for {counted(in_flight, 'call')} in {one_line(plugin)}, for at most {bound}")


def tell_status(status: JsonObject, output: Output) -> None:
    """Say in a line, or as JSON, how a plugin is now."""
    if output.as_json:
        output.document(status)
    else:
        running = f"version {status['version']}, generation {status['generation']}"
        output.text(one_line(f"{status['name']}: {status['state']} ({running})"))
