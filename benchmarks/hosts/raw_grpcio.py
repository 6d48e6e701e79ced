"""grpcio as it comes: a synchronous stub in a plain thread, futures where many calls are wanted.

With the argument `threads`, many calls are as many threads, each of which waits for its own.
It can't start a go-plugin plugin, so it is connected to one that another host has started.
"""

import statistics
import sys
import threading
import time

import grpc
import trio

from benchmarks.hosts.asked import REQUEST, execute_of, identity_of, many_chunks
from benchmarks.hosts.lines import Answer, Answers, answer_lines, next_line, processor_s


class Host:
    """Connected to one plugin. Its methods block: nothing else happens in this program."""

    def __init__(self) -> None:
        self._channel: grpc.Channel

    async def attach(self, address: str, pid: int) -> Answer:
        """Call a plugin that another host has started."""
        del pid
        self._channel = grpc.insecure_channel(f"unix:{address}")
        return Answer()

    async def unary(self, seconds: float) -> Answer:
        """Return the median of the microseconds that a call takes."""
        call = identity_of(self._channel)
        times: list[float] = []
        until = time.perf_counter() + seconds
        while not times or time.perf_counter() < until:
            began = time.perf_counter()
            call(REQUEST)
            times.append(time.perf_counter() - began)
        return Answer(value=statistics.median(times) * 1e6)

    async def rate(self, seconds: float, in_flight: int) -> Answer:
        """Return the calls a second where there is always that number of them under way."""
        call = identity_of(self._channel)
        room = threading.Semaphore(in_flight)
        calls = 0
        cpu, began = processor_s(), time.perf_counter()
        while calls < in_flight or time.perf_counter() < began + seconds:
            room.acquire()
            call.future(REQUEST).add_done_callback(lambda _: room.release())
            calls += 1
        for _ in range(in_flight):
            room.acquire()
        passed = time.perf_counter() - began
        return Answer(value=calls / passed, cpu_us=(processor_s() - cpu) / calls * 1e6)

    async def rate_of_threads(self, seconds: float, in_flight: int) -> Answer:
        """Return the calls a second that so many threads get, one after another each."""
        call = identity_of(self._channel)
        calls = [0] * in_flight
        cpu, began = processor_s(), time.perf_counter()

        def go_on_calling(number: int) -> None:
            while not calls[number] or time.perf_counter() < began + seconds:
                call(REQUEST)
                calls[number] += 1

        threads = [
            threading.Thread(target=go_on_calling, args=[number]) for number in range(in_flight)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        passed = time.perf_counter() - began
        return Answer(value=sum(calls) / passed, cpu_us=(processor_s() - cpu) / sum(calls) * 1e6)

    async def chunks(self, chunks: int) -> Answer:
        """Return the microseconds that each chunk of a long answer takes."""
        execute = execute_of(self._channel)
        received = 0
        began = time.perf_counter()
        for _ in execute(many_chunks(chunks)):
            received += 1
        return Answer(value=(time.perf_counter() - began) / received * 1e6)


if __name__ == "__main__":
    host = Host()
    answers: Answers = {
        "attach": host.attach,
        "unary": host.unary,
        "rate": host.rate_of_threads if "threads" in sys.argv else host.rate,
        "chunks": host.chunks,
    }
    trio.run(answer_lines, answers, next_line)
