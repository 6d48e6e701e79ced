"""A proxy on loopback with a gate that remembers, clients that ask it, servers that answer."""

import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from ipaddress import ip_address

import attrs
import trio

from sigil_actors.core.address_class import Address
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.egress.dialer import Resolve
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.ports.egress import EgressAttempt, EgressEnd

PATIENCE_S = 20.0
"""For what takes milliseconds, on a machine that is busy with other things."""


@attrs.define
class FakeGate:
    """Allows what the proxy would, and remembers; `answer` may decide otherwise, or raise."""

    attempts: list[EgressAttempt] = attrs.field(factory=list)
    ends: list[EgressEnd] = attrs.field(factory=list)
    answer: Callable[[EgressAttempt], EgressReason] | None = None
    _ended: trio.Event = attrs.field(factory=trio.Event)

    async def decide(self, attempt: EgressAttempt) -> EgressReason:
        await trio.lowlevel.checkpoint()
        self.attempts.append(attempt)
        return attempt.reason if self.answer is None else self.answer(attempt)

    def record_end(self, end: EgressEnd) -> None:
        self.ends.append(end)
        self._ended.set()
        self._ended = trio.Event()

    async def wait_end(self) -> EgressEnd:
        with trio.fail_after(PATIENCE_S):
            while not self.ends:
                await self._ended.wait()
        return self.ends[-1]

    @property
    def reasons(self) -> list[EgressReason]:
        return [attempt.reason for attempt in self.attempts]


@attrs.frozen
class World:
    """Where the proxy listens, and what it has told its gate."""

    port: int
    gate: FakeGate
    nursery: trio.Nursery

    async def open_client(self) -> trio.SocketStream:
        return await trio.open_tcp_stream("127.0.0.1", self.port)

    async def ask(self, request: bytes) -> bytes:
        """Send, say that this is all, and return everything that comes back."""
        with trio.fail_after(PATIENCE_S):
            async with await self.open_client() as client:
                await client.send_all(request)
                await client.send_eof()
                return await read_all(client)

    async def open_tunnel(self, target: str) -> trio.SocketStream:
        client = await self.open_client()
        await client.send_all(connect(target))
        answer = await client.receive_some(65536)
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\n", answer
        return client


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    """Read to the end, also where that is a reset."""
    got = bytearray()
    try:
        async for piece in stream:
            got += piece
    except trio.BrokenResourceError:
        got += b"(reset)"
    return bytes(got)


def connect(target: str) -> bytes:
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


def get(url: str, *headers: str, host: str = "x") -> bytes:
    return "\r\n".join([f"GET {url} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode()


def socks(host: str, port: int) -> bytes:
    """Return greeting and request, both at once."""
    name = host.encode()
    return b"\5\1\0" + b"\5\1\0\3" + bytes((len(name),)) + name + port.to_bytes(2, "big")


def reason_of(answer: bytes) -> str:
    """Return the reason that an HTTP refusal tells; empty where it is none."""
    _, found, rest = answer.partition(b"Sigil-Egress-Reason: ")
    return rest.split(b"\r\n")[0].decode() if found else ""


def resolving(**names: Sequence[str]) -> Resolve:
    """Return a resolver that knows these names (`_` for a dot), and counts nothing."""
    known = {name.replace("_", "."): addresses for name, addresses in names.items()}

    async def resolve(name: str) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        if name not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [ip_address(address) for address in known[name]]

    return resolve


async def resolve_nothing(name: str) -> Sequence[Address]:
    raise AssertionError(f"{name} was looked up")


async def echo(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            async for piece in stream:
                await stream.send_all(piece)
            await stream.send_eof()
        except trio.BrokenResourceError:
            pass


Serve = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def open_server(serve: Serve = echo) -> AsyncGenerator[int]:
    """Run a server on loopback; yields its port."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, [listener]))
        yield port_of(listener)
        nursery.cancel_scope.cancel()


def port_of(listener: trio.SocketListener) -> int:
    port = listener.socket.getsockname()[1]
    assert isinstance(port, int)
    return port


@asynccontextmanager
async def open_world(
    *allow: str,
    resolve: Resolve = resolve_nothing,
    bounds: EgressBounds | None = None,
    gate: FakeGate | None = None,
) -> AsyncGenerator[World]:
    """Run a proxy on loopback."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    gate = gate or FakeGate()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            partial(
                serve_egress,
                listener,
                plugin="fetcher",
                rule=EgressRule.from_entries(allow),
                gate=gate,
                resolve=resolve,
                bounds=bounds or EgressBounds(linger_s=5.0),
            )
        )
        yield World(port_of(listener), gate, nursery)
        nursery.cancel_scope.cancel()
