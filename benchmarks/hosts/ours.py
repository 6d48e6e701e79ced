"""This project as a host: `GoPluginClient`, and stubs on its channel."""

import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack

import trio

from benchmarks.hosts.asked import REQUEST, execute_of, identity_of, many_chunks
from benchmarks.hosts.lines import Answer, Answers, answer_lines, next_line, processor_s
from sigil_actors.goplugin import ClientConfig, GoPluginClient
from sigil_actors.rpc.channel import Channel, open_channel


class Host:
    """Connected to one plugin at a time."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self._channel: Channel

    async def launch(self, argv: Sequence[str]) -> Answer:
        """Start the plugin that is called from now on."""
        client = await self._stack.enter_async_context(GoPluginClient(ClientConfig(command=argv)))
        self._channel = client.channel
        return Answer(address=client.address, pid=client.pid)

    async def attach(self, address: str, pid: int) -> Answer:
        """Call a plugin that another host has started."""
        del pid
        self._channel = await self._stack.enter_async_context(open_channel(f"unix:{address}"))
        return Answer()

    async def cold(self, argv: Sequence[str]) -> Answer:
        """Return the milliseconds from before a plugin is started to its first reply."""
        began = time.perf_counter()
        async with GoPluginClient(ClientConfig(command=argv)) as client:
            await identity_of(client.channel)(REQUEST)
            return Answer(value=(time.perf_counter() - began) * 1e3)

    async def unary(self, seconds: float) -> Answer:
        """Return the median of the microseconds that a call takes."""
        call = identity_of(self._channel)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            began = time.perf_counter()
            await call(REQUEST)
            times.append(time.perf_counter() - began)
        return Answer(value=statistics.median(times) * 1e6)

    async def rate(self, seconds: float, in_flight: int) -> Answer:
        """Return the calls a second where there is always that number of them under way."""
        call = identity_of(self._channel)
        calls = 0
        cpu, began = processor_s(), time.perf_counter()

        async def go_on_calling() -> None:
            nonlocal calls
            await call(REQUEST)
            calls += 1
            while time.perf_counter() < began + seconds:
                await call(REQUEST)
                calls += 1

        async with trio.open_nursery() as nursery:
            for _ in range(in_flight):
                nursery.start_soon(go_on_calling)
        passed = time.perf_counter() - began
        return Answer(value=calls / passed, cpu_us=(processor_s() - cpu) / calls * 1e6)

    async def chunks(self, chunks: int) -> Answer:
        """Return the microseconds that each chunk of a long answer takes."""
        execute = execute_of(self._channel)
        received = 0
        began = time.perf_counter()
        async for _ in execute(many_chunks(chunks)):
            received += 1
        return Answer(value=(time.perf_counter() - began) / received * 1e6)


async def main() -> None:
    """Answer questions until there are no more."""
    async with AsyncExitStack() as stack:
        host = Host(stack)
        answers: Answers = {
            "launch": host.launch,
            "attach": host.attach,
            "cold": host.cold,
            "unary": host.unary,
            "rate": host.rate,
            "chunks": host.chunks,
        }
        await answer_lines(answers, next_line)


if __name__ == "__main__":
    trio.run(main)
