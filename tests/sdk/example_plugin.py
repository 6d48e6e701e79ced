"""A plugin on the SDK that does what a test asks for; run as a program."""

import logging
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import trio

from sigil_actors.sdk import (
    Channel,
    Host,
    HostCallError,
    InboundMessage,
    Lifecycle,
    SendRequest,
    ToolError,
    Tools,
    current_session,
    serve,
)

print("printed before the handshake")  # noqa: T201 - printing is what is tried
host = Host()
tools = Tools()


@tools.tool()
async def echo(text: str) -> str:
    """Answer the text as it came."""
    logging.getLogger("example").warning("echoing", extra={"length": len(text)})
    print("printed:", text)  # noqa: T201
    return text


@tools.tool()
async def ask(capability: str, payload: str = "") -> str:
    """Have the host do something."""
    try:
        return (await host.call(capability, payload.encode())).decode()
    except HostCallError as error:
        raise ToolError(f"{type(error).__name__}: {error.what}") from error


@tools.tool()
def ask_plainly(capability: str) -> str:
    """Have the host do something, from a thread."""
    return trio.from_thread.run(host.call, capability, b"plain").decode()


@tools.tool()
async def may(capability: str) -> str:
    """Ask the host whether something would be allowed."""
    return str(await host.check(capability))


@tools.tool()
async def session() -> str:
    """Tell for whom the plugin works."""
    return current_session()


@tools.tool()
async def print_much(bytes_count: int) -> str:
    """Print more than a pipe takes."""
    print("x" * bytes_count)  # noqa: T201
    return "printed"


@tools.tool()
async def run_child() -> str:
    """Have another program print."""
    await trio.run_process([sys.executable, "-c", "print('from a child')"])
    return "ran"


@tools.tool()
async def endless() -> AsyncGenerator[str]:
    """Never finish."""
    yield "started"
    await trio.sleep_forever()


@tools.tool()
async def fail() -> str:
    """Have a bug."""
    raise ZeroDivisionError


class Echoes(Channel):
    """Says what it was sent."""

    def __init__(self) -> None:
        self._into, self._said = trio.open_memory_channel[str](10)

    async def messages(self) -> AsyncIterator[InboundMessage]:
        """Yield it."""
        async for text in self._said:
            yield InboundMessage(content=text)

    async def send(self, message: SendRequest) -> str:
        """Take it."""
        await self._into.send(message.content)
        return "1"


class Finishing(Lifecycle):
    """Leaves word that it finished."""

    async def configure(self, config: Mapping[str, Any]) -> None:
        """Log it."""
        logging.getLogger("example").info("configured: %s", sorted(config))

    async def finish(self, timeout_s: int) -> None:
        """Write a file, for each time that it is called."""
        if folder := os.environ.get("FINISHED"):
            Path(folder, f"finished-{os.getpid()}-{timeout_s}").touch(exist_ok=False)


if __name__ == "__main__":
    serve(Finishing(), tools, Echoes(), host=host)
