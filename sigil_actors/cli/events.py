"""`sigil-actors events`: what happens to plugins, line by line, as it happens."""

import json as json_text
from datetime import UTC, datetime
from typing import Annotated

from cyclopts import Parameter

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output, one_line
from sigil_actors.cli.supervisor import ask_supervisor
from sigil_actors.control.client import ControlClient
from sigil_actors.control.protocol import EventsRequest
from sigil_actors.core.json_value import JsonObject


def events(
    plugin: Annotated[str, Parameter(help="Only of this one.", show_default=False)] = "",
    /,
    *,
    state: StateOption = None,
    json: JsonOption = False,
) -> int:
    """Follow what happens to plugins, a line an event, until Ctrl-C or the supervisor's end.

    Nothing waits for a slow reader: it loses the oldest events, and is told how many.
    """
    output = Output(as_json=json)

    async def follow(client: ControlClient) -> int:
        async with client.events(EventsRequest(plugin=plugin)) as happening:
            output.note("following; Ctrl-C ends it")
            async for event in happening:
                line = json_text.dumps(event) if output.as_json else _line(event)
                await output.streamed_line(line)
        return ExitCode.OK

    return ask_supervisor(state, follow)


def _line(event: JsonObject) -> str:
    at = datetime.fromisoformat(str(event["at"])).astimezone(UTC)
    generation = f", generation {event['generation']}" if event["generation"] else ""
    what = event["state"] or event["kind"]
    because = f": {event['reason']}" if event["reason"] else ""
    missed = f"({event['missed']} events before this one are missing) " if event["missed"] else ""
    return one_line(f"{at:%H:%M:%S}Z {missed}{event['plugin']}{generation}: {what}{because}")
