"""Tunnels: bytes both ways, half-closing, back-pressure, bounds, and the server's name."""

import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.egress.bounds import EgressBounds
from tests.core.hello_bytes import extension, hello, real_hello, record
from tests.egress.world import (
    PATIENCE_S,
    connect,
    open_server,
    open_world,
    read_all,
    reason_of,
    resolving,
    socks,
)


async def test_connect_and_socks_open_a_tunnel_both_ways() -> None:
    async with open_server() as port, open_world(f"127.0.0.1:{port}") as world:
        answer = await world.ask(connect(f"127.0.0.1:{port}") + b"hello")
        assert answer == b"HTTP/1.1 200 Connection established\r\n\r\nhello"
        answer = await world.ask(socks("127.0.0.1", port) + b"hello")
        assert answer == b"\5\0" + b"\5\0\0\1" + bytes(6) + b"hello"
    end = world.gate.ends[0]
    assert (end.reason, end.bytes_up, end.bytes_down) == ("ok", 5, 5)
    assert (end.host, end.port, end.address) == ("127.0.0.1", port, "127.0.0.1")
    assert end.duration_s > 0


async def test_a_literal_is_recorded_with_its_address_before_it_is_dialled() -> None:
    async with open_server() as port, open_world(f"127.0.0.1:{port}") as world:
        await world.ask(connect(f"127.0.0.1:{port}"))
    (attempt,) = world.gate.attempts
    assert (attempt.address, attempt.reason) == ("127.0.0.1", "ok")


async def test_a_request_in_single_bytes_is_the_same_request() -> None:
    async with open_server() as port, open_world(f"127.0.0.1:{port}") as world:
        async with await world.open_client() as client:
            for byte in socks("127.0.0.1", port):
                await client.send_all(bytes((byte,)))
                await wait_all_tasks_blocked(0.001)
            await client.send_all(b"hello")
            await client.send_eof()
            assert (await read_all(client)).endswith(b"hello")


async def test_a_server_may_speak_first() -> None:
    async def greet(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"220 ready\r\n")
            assert await stream.receive_some() == b"QUIT\r\n"

    async with open_server(greet) as port, open_world(f"127.0.0.1:{port}") as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                assert await client.receive_some() == b"220 ready\r\n"
                await client.send_all(b"QUIT\r\n")
                assert await read_all(client) == b""
        await world.gate.wait_end()


async def test_either_side_may_stop_speaking_and_still_listen() -> None:
    async def speak_after(stream: trio.SocketStream) -> None:
        async with stream:
            asked = await read_all(stream)
            await stream.send_all(b"you said " + asked)

    async def listen_after(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.send_all(b"that is all")
            await stream.send_eof()
            heard.append(await read_all(stream))

    heard: list[bytes] = []
    with trio.fail_after(PATIENCE_S):
        async with open_server(speak_after) as port, open_world(f"127.0.0.1:{port}") as world:
            answer = await world.ask(connect(f"127.0.0.1:{port}") + b"hello")
            assert answer.endswith(b"you said hello")
            assert (await world.gate.wait_end()).reason == "ok"
        async with open_server(listen_after) as port, open_world(f"127.0.0.1:{port}") as world:
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                assert await read_all(client) == b"that is all"
                await client.send_all(b"hello")
                await client.send_eof()
                assert (await world.gate.wait_end()).reason == "ok"
    assert heard == [b"hello"]


async def test_much_passes_unchanged_and_a_slow_reader_slows_the_sender() -> None:
    sent = 0
    total = 64 * 1024 * 1024

    async def pour(stream: trio.SocketStream) -> None:
        nonlocal sent
        async with stream:
            while sent < total:
                await stream.send_all(bytes(65536))
                sent += 65536

    async with open_server(pour) as port, open_world(f"127.0.0.1:{port}") as world:
        with trio.fail_after(60):
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                before = -1
                while before != sent:  # until nothing moves any more
                    before = sent
                    await wait_all_tasks_blocked(0.02)
                assert sent < total
                got = 0
                async for piece in client:
                    got += len(piece)
        assert got == total
        assert (await world.gate.wait_end()).bytes_down == total


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_side_that_breaks_ends_the_other_by_a_reset(side: str) -> None:
    async def break_off(stream: trio.SocketStream) -> None:
        reset(stream)

    async with open_server(break_off if side == "server" else _hold) as port:
        async with open_world(f"127.0.0.1:{port}") as world:
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                if side == "client":
                    await client.send_all(b"x")
                    await wait_all_tasks_blocked(0.01)
                    reset(client)
                else:
                    assert await read_all(client) == b"(reset)"
            end = await world.gate.wait_end()
    assert end.reason == "connection_lost"


def reset(stream: trio.SocketStream) -> None:
    stream.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER
    stream.socket.close()


async def _hold(stream: trio.SocketStream) -> None:
    async with stream:
        try:
            await stream.send_all(b"held")
            while await stream.receive_some():
                pass
            await trio.sleep_forever()
        except trio.BrokenResourceError:
            pass


async def test_silence_both_ways_ends_a_tunnel() -> None:
    bounds = EgressBounds(idle_s=0.05)
    async with open_server(_hold) as port, open_world(f"127.0.0.1:{port}", bounds=bounds) as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                assert await read_all(client) == b"held"
        assert (await world.gate.wait_end()).reason == "idle"


async def test_a_side_that_has_stopped_speaking_isnt_waited_for_as_long() -> None:
    bounds = EgressBounds(half_closed_s=0.05)
    async with open_server(_hold) as port, open_world(f"127.0.0.1:{port}", bounds=bounds) as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                await client.send_eof()
                assert await read_all(client) == b"held"
        assert (await world.gate.wait_end()).reason == "idle"


NOTHING = (b"", b"(reset)")
"""What a client reads of a tunnel that was cut, whether or not its sending has told it so."""


class TestServerName:
    """Over names: the allowed one leads to the server of the test."""

    async def ask(self, data: bytes, *, host: str = "a.example") -> tuple[bytes, EgressReason]:
        """Send the data into a tunnel to `host`; return what was echoed, and how it ended."""
        async with open_server() as port:
            allow = (f"a.example:{port}", f"127.0.0.1:{port}")
            resolve = resolving(a_example=["127.0.0.1"])
            async with open_world(*allow, resolve=resolve) as world:
                with trio.fail_after(PATIENCE_S):
                    async with await world.open_tunnel(f"{host}:{port}") as client:
                        with suppress(trio.BrokenResourceError):  # cut already
                            for piece in (data[:70], data[70:]):
                                await client.send_all(piece)
                                await wait_all_tasks_blocked(0.005)
                            await client.send_eof()
                        got = await read_all(client)
                    return got, (await world.gate.wait_end()).reason

    async def test_the_tunnels_own_name_passes(self) -> None:
        data = real_hello("a.example") + record(b"x", kind=23)
        assert await self.ask(data) == (data, "ok")

    async def test_what_isnt_tls_passes(self) -> None:
        assert await self.ask(b"SSH-2.0-x\r\n") == (b"SSH-2.0-x\r\n", "ok")

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (real_hello("b.example"), "server_name_differs"),
            (real_hello(None), "server_name_missing"),
            (hello("a.example", extension(0xFE0D, b"")), "server_name_hidden"),
            (record(b"\2\0", kind=21) + hello("b.example"), "malformed_hello"),
            (hello("a.example")[:-1], "malformed_hello"),
        ],
    )
    async def test_another_name_or_none_is_cut_and_nothing_comes_back(
        self, data: bytes, reason: str
    ) -> None:
        got, told = await self.ask(data)
        assert got in NOTHING
        assert told == reason

    async def test_a_second_hello_with_another_name_is_cut(self) -> None:
        first = hello("a.example")
        got, reason = await self.ask(first + record(b"\1", kind=20) + hello("b.example"))
        assert reason == "server_name_differs"
        assert first.startswith(got.removesuffix(b"(reset)"))

    async def test_to_an_address_no_name_is_asked_for(self) -> None:
        data = real_hello(None) + record(b"x", kind=23)
        assert await self.ask(data, host="127.0.0.1") == (data, "ok")
        got, told = await self.ask(real_hello("a.example"), host="127.0.0.1")
        assert got in NOTHING
        assert told == "server_name_differs"

    async def test_a_hello_that_comes_too_slowly_is_cut(self) -> None:
        bounds = EgressBounds(hello_s=0.05)
        async with open_server() as port:
            async with open_world(f"127.0.0.1:{port}", bounds=bounds) as world:
                with trio.fail_after(PATIENCE_S):
                    async with await world.open_tunnel(f"127.0.0.1:{port}") as client:
                        await client.send_all(real_hello(None)[:20])
                        assert await read_all(client) == b"(reset)"
                assert (await world.gate.wait_end()).reason == "hello_timed_out"


def _as_it_is(_server: ssl.SSLContext, _client: ssl.SSLContext) -> None:
    """TLS 1.3."""


def _with_a_second_hello(server: ssl.SSLContext, _client: ssl.SSLContext) -> None:
    """The client has to begin anew, since the server wants another curve than it guessed."""
    server.set_ecdh_curve("secp384r1")


def _in_its_older_version(_server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    client.maximum_version = ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize("prepare", [_as_it_is, _with_a_second_hello, _in_its_older_version])
async def test_real_tls_works_through_it(
    tls_contexts: tuple[ssl.SSLContext, ssl.SSLContext],
    prepare: Callable[[ssl.SSLContext, ssl.SSLContext], None],
) -> None:
    server_context, client_context = tls_contexts
    prepare(server_context, client_context)

    async def serve(stream: trio.SocketStream) -> None:
        async with trio.SSLStream(stream, server_context, server_side=True) as tls:
            await tls.send_all(b"you said " + await tls.receive_some())

    async with open_server(serve) as port:
        allow = (f"localhost:{port}", f"127.0.0.1:{port}")
        async with open_world(*allow, resolve=resolving(localhost=["127.0.0.1"])) as world:
            with trio.fail_after(PATIENCE_S):
                tunnel = await world.open_tunnel(f"localhost:{port}")
                tls = trio.SSLStream(tunnel, client_context, server_hostname="localhost")
                async with tls:
                    await tls.send_all(b"hello")
                    assert await tls.receive_some() == b"you said hello"
            assert (await world.gate.wait_end()).bytes_up > 200


async def test_a_client_that_leaves_while_its_request_is_decided_is_no_error() -> None:
    async with open_server() as port, open_world(f"127.0.0.1:{port}") as world:
        for data in (b"", b"CONN", b"\5", connect(f"127.0.0.1:{port}"), connect("b.example:1")):
            client = await world.open_client()
            if data:
                await client.send_all(data)
            reset(client)
        await wait_all_tasks_blocked(0.01)
        assert (await world.ask(connect(f"127.0.0.1:{port}") + b"x")).endswith(b"x")


async def test_a_request_that_isnt_finished_in_time_is_refused() -> None:
    bounds = EgressBounds(request_s=0.05)
    async with open_world("a.example:443", bounds=bounds) as world:
        with trio.fail_after(PATIENCE_S):
            async with await world.open_client() as client:
                await client.send_all(b"CONNECT a.example:443")
                assert reason_of(await read_all(client)) == "request_timed_out"
            async with await world.open_client() as client:
                assert await read_all(client) == b""  # said nothing, so nothing is said
    assert world.gate.reasons == ["request_timed_out"]


async def test_a_request_that_ends_in_the_middle_is_recorded() -> None:
    async with open_world("a.example:443") as world:
        await world.ask(b"CONNECT a.exa")
        assert await world.ask(b"") == b""
    assert world.gate.reasons == ["request_truncated"]


class TestConnections:
    async def test_one_too_many_is_told_so_and_others_go_on(self) -> None:
        bounds = EgressBounds(connections=2, refusals=1)
        async with open_server() as port:
            target = f"127.0.0.1:{port}"
            async with open_world(target, bounds=bounds) as world:
                with trio.fail_after(PATIENCE_S):
                    first = await world.open_tunnel(target)
                    async with await world.open_tunnel(target):
                        answer = await world.ask(connect(target))
                        assert answer.startswith(b"HTTP/1.1 503")
                        assert reason_of(answer) == "too_many_connections"
                        await first.send_all(b"still here")
                        assert await first.receive_some() == b"still here"
                    await world.gate.wait_end()
                    assert (await world.ask(connect(target) + b"x")).endswith(b"x")
                    await first.aclose()

    async def test_what_is_beyond_that_waits_unaccepted(self) -> None:
        bounds = EgressBounds(connections=1, refusals=1)
        async with open_server() as port:
            target = f"127.0.0.1:{port}"
            async with open_world(target, bounds=bounds) as world:
                with trio.fail_after(PATIENCE_S):
                    held = [await world.open_tunnel(target), await world.open_client()]
                    await wait_all_tasks_blocked(0.01)
                    late = await world.open_client()
                    await late.send_all(connect(target) + b"late")
                    await wait_all_tasks_blocked(0.01)
                    assert len(world.gate.attempts) == 1
                    for client in held:
                        await client.aclose()
                    await late.send_eof()
                    async with late:
                        assert (await read_all(late)).startswith(b"HTTP/1.1 ")

    async def test_a_thousand_connections_leave_nothing_behind(self) -> None:
        async with open_server() as port:
            target = f"127.0.0.1:{port}"
            async with open_world(target) as world:
                before = len(world.nursery.child_tasks)
                for _ in range(20):
                    async with trio.open_nursery() as nursery:
                        for _ in range(50):
                            nursery.start_soon(partial(world.ask, connect(target) + b"x"))
                assert len(world.nursery.child_tasks) == before
        assert len(world.gate.attempts) == 1000
