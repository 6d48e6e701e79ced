"""pyvider-rpcplugin as a host: its client, which has a channel of grpcio's for asyncio.

It takes its settings from the environment, before it is imported, and can't be connected to a
plugin that runs: it starts one of its own. Without AutoMTLS: with it, it can't talk to a plugin in
Go, whose certificates grpcio doesn't take.
"""

import asyncio
import importlib
import os
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.hosts.asked import REQUEST, execute_of, identity_of, many_chunks
from benchmarks.hosts.lines import Answer, Answers, answer_lines, processor_s
from sigil_actors.core.handshake import COOKIE_KEY, COOKIE_VALUE

SETTINGS: Final = {
    "PLUGIN_MAGIC_COOKIE_KEY": COOKIE_KEY,
    "PLUGIN_MAGIC_COOKIE_VALUE": COOKIE_VALUE,
    "PLUGIN_AUTO_MTLS": "false",
    "PLUGIN_LOG_LEVEL": "ERROR",
    "PROVIDE_LOG_LEVEL": "ERROR",
}


async def _next_line() -> str:
    return await asyncio.to_thread(sys.stdin.readline)


class Host:
    """Runs one plugin."""

    def __init__(self, client_class: Any) -> None:
        self._client_class = client_class
        self.clients: list[Any] = []

    async def _start(self, argv: Sequence[str]) -> Any:
        client = self._client_class(
            command=list(argv), config={"env": {"PLUGIN_PROTOCOL_VERSIONS": "1"}}
        )
        self.clients.append(client)
        await client.start()
        return client

    async def launch(self, argv: Sequence[str]) -> Answer:
        """Start the plugin that is called from now on."""
        await self._start(argv)
        return Answer()

    async def cold(self, argv: Sequence[str]) -> Answer:
        """Return the milliseconds from before a plugin is started to its first reply."""
        began = time.perf_counter()
        client = await self._start(argv)
        await identity_of(client.grpc_channel)(REQUEST)
        value = (time.perf_counter() - began) * 1e3
        await self.clients.pop().close()
        return Answer(value=value)

    async def unary(self, seconds: float) -> Answer:
        """Return the median of the microseconds that a call takes."""
        call = identity_of(self.clients[0].grpc_channel)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            began = time.perf_counter()
            await call(REQUEST)
            times.append(time.perf_counter() - began)
        return Answer(value=statistics.median(times) * 1e6)

    async def rate(self, seconds: float, in_flight: int) -> Answer:
        """Return the calls a second where there is always that number of them under way."""
        call = identity_of(self.clients[0].grpc_channel)
        calls = 0
        cpu, began = processor_s(), time.perf_counter()

        async def go_on_calling() -> None:
            nonlocal calls
            await call(REQUEST)
            calls += 1
            while time.perf_counter() < began + seconds:
                await call(REQUEST)
                calls += 1

        await asyncio.gather(*[go_on_calling() for _ in range(in_flight)])
        passed = time.perf_counter() - began
        return Answer(value=calls / passed, cpu_us=(processor_s() - cpu) / calls * 1e6)

    async def chunks(self, chunks: int) -> Answer:
        """Return the microseconds that each chunk of a long answer takes."""
        execute = execute_of(self.clients[0].grpc_channel)
        received = 0
        began = time.perf_counter()
        async for _ in execute(many_chunks(chunks)):
            received += 1
        return Answer(value=(time.perf_counter() - began) / received * 1e6)


async def main() -> None:
    """Answer questions until there are no more."""
    os.environ.update(SETTINGS)
    library = importlib.import_module("pyvider.rpcplugin.client")
    host = Host(library.RPCPluginClient)
    answers: Answers = {
        "launch": host.launch,
        "cold": host.cold,
        "unary": host.unary,
        "rate": host.rate,
        "chunks": host.chunks,
    }
    try:
        await answer_lines(answers, _next_line)
    finally:
        for client in host.clients:
            await client.close()


if __name__ == "__main__":
    asyncio.run(main())
