"""Plain HTTP through the proxy: one request a connection, and not a byte more goes on."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sigil_actors.core.http_body import BodyReader
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.egress.relay import Relay, Traffic
from tests.egress.world import (
    PATIENCE_S,
    World,
    get,
    open_server,
    open_world,
    read_all,
    reason_of,
)

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


class Origin:
    """A server that keeps what it was sent, up to the end or until it has seen enough."""

    def __init__(self, *, enough: bytes = b"\r\n\r\n", answer: bytes = ANSWER) -> None:
        self.enough = enough
        self.answer = answer
        self.seen = bytearray()
        self.ended = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                while self.enough not in self.seen:
                    piece = await stream.receive_some()
                    if not piece:
                        return
                    self.seen += piece
                await stream.send_all(self.answer)
                await stream.send_eof()
                self.seen += await read_all(stream)
            except trio.BrokenResourceError:
                self.seen += b"(reset)"
            finally:
                self.ended.set()


@asynccontextmanager
async def open_origin(
    origin: Origin, *, bounds: EgressBounds | None = None
) -> AsyncGenerator[tuple[World, str]]:
    """Run it behind a proxy; yields the world, and the URL of its root."""
    async with open_server(origin.serve) as port:
        async with open_world(f"127.0.0.1:{port}", bounds=bounds) as world:
            yield world, f"http://127.0.0.1:{port}"


async def test_the_server_gets_the_request_and_the_client_its_answer() -> None:
    origin = Origin()
    async with open_origin(origin) as (world, url):
        answer = await world.ask(get(f"{url}/x?y", "Accept: */*", "Proxy-Authorization: z"))
        assert answer == ANSWER
        end = await world.gate.wait_end()
        port = end.port
    assert bytes(origin.seen).split(b"\r\n") == [
        b"GET /x?y HTTP/1.1",
        f"Host: 127.0.0.1:{port}".encode(),
        b"Accept: */*",
        b"Connection: close",
        b"",
        b"",
    ]
    assert (end.protocol, end.reason, end.bytes_down) == ("http", "ok", len(ANSWER))
    assert end.bytes_up == len(origin.seen)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: 5"], b"hello"),
        (["Transfer-Encoding: chunked"], b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"),
    ],
)
async def test_a_body_goes_through_and_what_comes_behind_it_doesnt(
    headers: list[str], body: bytes
) -> None:
    origin = Origin(enough=body)
    async with open_origin(origin) as (world, url):
        first = get(f"{url}/", *headers) + body
        second = get(f"{url}/second", host="internal.example")
        assert await world.ask(first + second) == ANSWER
        await world.gate.wait_end()
    assert origin.seen.endswith(body)
    assert b"second" not in origin.seen


async def test_a_second_request_after_the_answer_goes_nowhere() -> None:
    origin = Origin()
    async with open_origin(origin) as (world, url):
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(get(f"{url}/"))
                assert await client.receive_some() == ANSWER
                await client.send_all(get(f"{url}/second"))
                await client.send_eof()
                assert await read_all(client) == b""
        assert (await world.gate.wait_end()).reason == "ok"
    assert b"second" not in origin.seen
    assert len(world.gate.attempts) == 1


async def test_a_client_that_keeps_the_connection_is_left_after_the_answer() -> None:
    bounds = EgressBounds(linger_s=0.05)
    async with open_origin(Origin(), bounds=bounds) as (world, url):
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(get(f"{url}/"))
                assert await read_all(client) == ANSWER
                assert (await world.gate.wait_end()).reason == "ok"


async def test_an_answer_before_the_end_of_the_body_reaches_the_client() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some()
            await stream.send_all(b"HTTP/1.1 413 Too Large\r\n\r\n")
            await stream.send_eof()
            await read_all(stream)

    async with open_server(refuse) as port, open_world(f"127.0.0.1:{port}") as world:
        request = get(f"http://127.0.0.1:{port}/", "Content-Length: 10000000")
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(request + bytes(100_000))
                assert b"413" in await read_all(client)


@pytest.mark.parametrize(
    ("headers", "body", "reason"),
    [
        (["Content-Length: 5"], b"hell", "request_truncated"),
        (["Transfer-Encoding: chunked"], b"5\r\nhello\r\n", "request_truncated"),
        (["Transfer-Encoding: chunked"], b"5\r\nhelloX", "malformed_body"),
        (["Transfer-Encoding: chunked"], b"5;x=y\r\nhello\r\n", "malformed_body"),
    ],
)
async def test_a_body_that_breaks_off_or_breaks_the_rules_is_cut(
    headers: list[str], body: bytes, reason: str
) -> None:
    origin = Origin(enough=b"never")
    async with open_origin(origin) as (world, url):
        assert await world.ask(get(f"{url}/", *headers) + body) == b"(reset)"
        assert (await world.gate.wait_end()).reason == reason
        await origin.ended.wait()


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Host: 127.0.0.1"],
        ["X: 1\r\n folded"],
        ["X: 1\nHost: internal"],
        ["X : 1"],
        ["Connection: content-length", "Content-Length: 5"],
    ],
)
async def test_a_request_that_smuggles_is_refused_before_anything_is_dialled(
    lines: list[str],
) -> None:
    origin = Origin()
    async with open_origin(origin) as (world, url):
        answer = await world.ask(get(f"{url}/", *lines) + b"hello")
    assert answer.startswith(b"HTTP/1.1 400")
    assert reason_of(answer) == "malformed_request"
    assert not origin.seen
    assert world.gate.reasons == ["malformed_request"]


async def test_the_target_is_that_of_the_url_whatever_the_host_header_says() -> None:
    origin = Origin()
    async with open_origin(origin) as (world, url):
        answer = await world.ask(get("http://b.example/", host=url.removeprefix("http://")))
        assert reason_of(answer) == "target_not_allowed"
        assert await world.ask(get(f"{url}/", host="internal.example")) == ANSWER
    assert b"internal" not in origin.seen


async def test_a_refused_body_doesnt_take_the_refusal_from_the_client() -> None:
    async with open_world("a.example:80") as world:
        request = get("http://b.example/", "Content-Length: 200000") + bytes(200_000)
        assert reason_of(await world.ask(request)) == "target_not_allowed"


async def test_a_refusal_is_whole_at_once_for_a_client_that_reads_to_its_end() -> None:
    async with open_world("a.example:80", bounds=EgressBounds(linger_s=10 * PATIENCE_S)) as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(get("http://b.example/"))
                assert reason_of(await read_all(client)) == "target_not_allowed"


async def test_a_server_that_stops_listening_may_still_have_answered() -> None:
    near, client = map(trio.SocketStream, trio.socket.socketpair())
    far, server = trio.socket.socketpair()
    far.shutdown(socket.SHUT_WR)  # sending fails from here on, receiving goes on
    traffic = Traffic()
    relay = Relay(near, trio.SocketStream(far), bounds=EgressBounds(), traffic=traffic)

    async def relay_and_close() -> None:
        async with near:
            await relay.run_request(b"POST / HTTP/1.1\r\n\r\n", BodyReader(5), b"hello")
        far.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay_and_close)
        await wait_all_tasks_blocked()
        await server.send(b"HTTP/1.1 413 Too Large\r\n\r\n")
        server.close()
        await client.send_eof()
        assert await read_all(client) == b"HTTP/1.1 413 Too Large\r\n\r\n"
        await client.aclose()
    assert (traffic.reason, traffic.bytes_up) == ("ok", 0)


async def test_a_refused_client_isnt_heard_out_for_ever() -> None:
    async with open_world("a.example:80", bounds=EgressBounds(linger_s=0.05)) as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(get("http://b.example/"))
                answer = await read_all(client)
                assert reason_of(answer) == "target_not_allowed"
                with pytest.raises(trio.BrokenResourceError):
                    while True:
                        await client.send_all(bytes(100_000))


async def test_a_server_that_breaks_off_an_answer_is_seen_as_that() -> None:
    async def break_off(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 200 OK\r\n\r\nhal")
        stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")
        stream.socket.close()

    async with open_server(break_off) as port, open_world(f"127.0.0.1:{port}") as world:
        answer = await world.ask(get(f"http://127.0.0.1:{port}/"))
        assert answer.endswith(b"(reset)")
        assert (await world.gate.wait_end()).reason == "connection_lost"
