"""Tools out of functions, one of which asks its host for something."""

import json
import logging
from collections import Counter
from collections.abc import AsyncGenerator

from sigil_actors.sdk import Host, HostDeniedError, ToolError, Tools, serve

log = logging.getLogger("python-tool")
host = Host()
tools = Tools()


@tools.tool()
async def count(text: str, top: int = 3) -> str:
    """Count the words of a text; answer the most frequent ones."""
    words = Counter(text.lower().split())
    log.info("counted", extra={"words": words.total()})
    return json.dumps(words.most_common(top))


@tools.tool()
async def spell(text: str) -> AsyncGenerator[str]:
    """Answer a text letter by letter."""
    for letter in text:
        yield letter


@tools.tool()
async def note(text: str) -> str:
    """Keep a note; answer the one that was kept before."""
    try:
        before = json.loads(await host.call("kv.get", b'{"key": "note"}'))
        await host.call("kv.set", json.dumps({"key": "note", "value": text}).encode())
    except HostDeniedError as error:
        raise ToolError(f"I may not keep notes for you ({error.reason})") from error
    return str(before["value"]) if before["found"] else "(none)"


if __name__ == "__main__":
    serve(tool=tools, host=host)
