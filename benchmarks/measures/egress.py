"""Through the egress proxy and without it: how much a second, and how soon the first byte is there.

The server is a process of its own and the client a thread with plain sockets, so that the proxy's
loop has nothing else to do. Decisions are on the disk before anything is dialled.
"""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import trio

from benchmarks.harness import Budget, Compared, Measure, Row, Side, in_turn
from benchmarks.scratch import scratch_folder
from sigil_actors import (
    AuditStore,
    CapabilitySet,
    MemoryAuditStore,
    RuntimeSettings,
    SqliteAuditStore,
    open_enforcer,
)
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.instance_egress import InstanceEgress

_SERVER = """
import socket, threading
def serve(client):
    with client:
        count = int(client.makefile("rb").readline())
        piece = memoryview(bytes(1 << 20))
        while count:
            count -= client.send(piece[:count])
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=[listener.accept()[0]], daemon=True).start()
"""

DOWNLOAD_BYTES = 256 * 1024 * 1024
CONNECTIONS = 60
"""In one turn: the value is their mean."""

Open = Callable[[], socket.socket]
"""Connects to the server, by whatever road."""


@contextmanager
def _server() -> Generator[int]:
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _SERVER], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.kill()


@asynccontextmanager
async def _proxy(port: int, store: AuditStore) -> AsyncGenerator[int]:
    """Run a proxy that may reach the server; yields where it listens."""
    async with open_enforcer(store) as enforcer, trio.open_nursery() as nursery:
        await enforcer.register_plugin("fetcher", CapabilitySet(), CapabilitySet(), 1)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        bounds = HostBounds(RuntimeSettings(host_calls_per_s=1e6))
        serve = partial(
            serve_egress,
            listener,
            plugin="fetcher",
            rule=EgressRule.from_entries([f"127.0.0.1:{port}"]),
            gate=InstanceEgress("fetcher", 1, enforcer=enforcer, bounds=bounds),
        )
        nursery.start_soon(serve)
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


def _direct(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port))


def _tunnel(port: int, proxy_port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", proxy_port))
    client.sendall(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())
    answer = client.recv(200)
    assert answer.startswith(b"HTTP/1.1 200"), answer
    return client


def _download(open_road: Open, count: int) -> float:
    """Return how many MiB a second came."""
    room = bytearray(1 << 20)
    with open_road() as client:
        start = time.perf_counter()
        client.sendall(b"%d\n" % count)
        left = count
        while left:
            got = client.recv_into(room)
            assert got, "the server hung up"
            left -= got
        return count / (1 << 20) / (time.perf_counter() - start)


def _first_byte(open_road: Open, connections: int) -> float:
    """Return the milliseconds from before connecting to the first byte of the answer."""
    spent = 0.0
    for _ in range(connections):
        start = time.perf_counter()
        with open_road() as client:
            client.sendall(b"1\n")
            assert client.recv(1)
            spent += time.perf_counter() - start
    return spent / connections * 1000


Take = Callable[[Open], float]


async def _compare(budget: Budget, store: AuditStore, take: Take) -> tuple[Side, Side]:
    ours, reference = Side("through the proxy"), Side("direct")
    with _server() as port:
        async with _proxy(port, store) as proxy_port:
            roads = {
                ours.name: partial(_tunnel, port, proxy_port),
                reference.name: partial(_direct, port),
            }
            await _in_thread(partial(take, roads[ours.name]))
            for side in in_turn(budget.rounds, ours, reference):
                side.values.append(await _in_thread(partial(take, roads[side.name])))
    return ours, reference


async def _in_thread(work: Callable[[], float]) -> float:
    """Run a client in a thread that is no worker of trio's, whose hand-over would be measured."""
    done = trio.Event()
    token = trio.lowlevel.current_trio_token()
    result: list[float] = []

    def run() -> None:
        try:
            result.append(work())
        finally:
            token.run_sync_soon(done.set)

    thread = threading.Thread(target=run)
    thread.start()
    await done.wait()
    thread.join()
    return result[0]


def _throughput(budget: Budget) -> Sequence[Row]:
    take = partial(_download, count=budget.of(DOWNLOAD_BYTES))
    ours, reference = trio.run(_compare, budget, MemoryAuditStore(), take)
    return [
        Row(
            name="egress_throughput",
            what="downloaded through a tunnel of the egress proxy",
            unit="MiB/s",
            ours=ours,
            reference=reference,
            compared=Compared.RATE,
        )
    ]


def _first_bytes(budget: Budget) -> Sequence[Row]:
    take = partial(_first_byte, connections=budget.of(CONNECTIONS))
    rows = []
    with scratch_folder() as (folder, file_system):
        stores: dict[str, AuditStore] = {
            "egress_first_byte/durable": SqliteAuditStore(folder / "audit"),
            "egress_first_byte/in_memory": MemoryAuditStore(),
        }
        for name, store in stores.items():
            ours, reference = trio.run(_compare, budget, store, take)
            rows.append(
                Row(
                    name=name,
                    what="from connecting to the first byte, decision stored before dialling",
                    unit="ms",
                    ours=ours,
                    reference=reference,
                    compared=Compared.COST,
                    notes={"file_system": file_system},
                )
            )
    return rows


MEASURES = (
    Measure(
        name="egress_throughput",
        what="Download through the egress proxy, against a direct connection",
        run=_throughput,
    ),
    Measure(
        name="egress_first_byte",
        what="First byte through the egress proxy, durably audited or not, against direct",
        run=_first_bytes,
    ),
)
