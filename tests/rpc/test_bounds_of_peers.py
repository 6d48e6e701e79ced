"""Peers that stall, flood with what is allowed, or go: what they can make the other side keep."""

import logging
import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from sigil_actors.rpc.call_headers import request_block
from sigil_actors.rpc.channel import open_channel
from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import Event
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.messages import pack
from sigil_actors.rpc.server import ServerBounds, listen_loopback, open_server
from sigil_actors.rpc.server_call import ServerCall
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.rpc.stream import Stream
from sigil_actors.rpc.tls import server_context
from sigil_actors.rpc.transport import STALL_S
from tests.rpc.serving import Handler, Seen, new_server, open_pair, path

KIB = 1024


async def ends(sock: socket.socket) -> None:
    """Wait until the other side closes."""
    sock.setblocking(False)
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            if not sock.recv(65_536):
                return
        except ConnectionResetError:
            return


class Peer:
    """The other side of a socket, moved by the test alone."""

    def __init__(self, sock: socket.socket, *, client: bool) -> None:
        self.sock = sock
        self.connection = Connection(client=client, stream_factory=Stream)
        self.send()

    def send(self) -> None:
        self.sock.sendall(self.connection.data_to_send())

    async def receive(self) -> list[Event[Stream]]:
        self.sock.setblocking(False)
        await trio.lowlevel.wait_readable(self.sock)
        events = self.connection.receive(self.sock.recv(65_536))
        self.send()
        return events


@pytest.mark.parametrize(
    "first", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0"]
)
async def test_a_client_that_doesnt_begin_is_hung_up_on(
    first: bytes, autojump_clock: trio.testing.MockClock
) -> None:
    server = new_server(Seen())
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(first)
        await server.serve_connection(theirs)
        assert trio.current_time() == pytest.approx(server.bounds.handshake_s)
        await ends(ours)
    assert not server.connections


async def test_a_client_that_stalls_its_tls_handshake_is_hung_up_on(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server = new_server(Seen(), tls=server_context(verifies_clients=False))
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(b"\x16\x03\x01")
        await server.serve_connection(theirs)
        assert trio.current_time() == pytest.approx(server.bounds.handshake_s)
        await ends(ours)
    assert "took too long" in caplog.text


async def test_a_server_that_doesnt_begin_is_unavailable(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        async with open_channel(ours, handshake_timeout_s=3) as channel:
            with pytest.raises(RpcError, match="did not begin") as raised:
                await channel.unary_unary(path("Echo"))(b"")
            assert raised.value.code() is StatusCode.UNAVAILABLE
            assert trio.current_time() == pytest.approx(3)


async def test_a_client_that_reads_no_byte_more_is_hung_up_on(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = new_server(Seen())
    limits = Limits(stream_window=16 << 20)
    client = Connection(client=True, stream_factory=Stream, limits=limits)
    stream = client.request(request_block(path("Blocks").encode(), b"localhost", b"http"))
    client.send_data(stream, pack(b"1000"), end=True)
    ours, theirs = socket.socketpair()
    with ours:
        ours.send(client.data_to_send())
        await server.serve_connection(theirs)
    assert trio.current_time() == pytest.approx(STALL_S)


async def test_calls_end_where_the_peer_only_stops_reading() -> None:
    """A broken pipe for what we send is no end of what we read."""
    ours, theirs = socket.socketpair()
    with theirs:
        peer = Peer(theirs, client=False)
        async with open_channel(ours) as channel:
            await peer.receive()
            theirs.shutdown(socket.SHUT_RD)
            with trio.fail_after(5), pytest.raises(RpcError) as raised:
                await channel.unary_unary(path("Echo"))(b"")
            assert raised.value.code() is StatusCode.UNAVAILABLE


async def test_a_streams_deadline_needs_no_help_of_the_server(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        peer = Peer(theirs, client=False)
        async with open_channel(ours) as channel:
            await peer.receive()
            call = channel.stream_stream(path("Turn"))(timeout=4)
            with pytest.raises(RpcError) as raised:
                await call.read()
            assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
            assert trio.current_time() == pytest.approx(4)
            assert not channel.connection.streams


async def test_more_connections_than_the_bound_are_closed_at_once() -> None:
    server = new_server(Seen(), bounds=ServerBounds(connections_max=1))
    listener = listen_loopback()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with open_server(server, listener), open_channel(address) as first:
        assert await first.unary_unary(path("Echo"))(b"a") == b"a"
        async with open_channel(address) as second:
            with pytest.raises(RpcError) as raised:
                await second.unary_unary(path("Echo"))(b"b")
            assert raised.value.code() is StatusCode.UNAVAILABLE
        assert await first.unary_unary(path("Echo"))(b"a") == b"a"


async def test_unfinished_requests_of_all_calls_together_have_a_bound() -> None:
    server = new_server(Seen(), bounds=ServerBounds(held_max=400 * KIB))
    async with open_pair(server=server) as channel:
        refused = 0
        calls = []
        for _ in range(10):
            # Half of a message of 200 KiB, as a client does that wants us to keep it.
            call = channel.stream_stream(path("Echo"))()
            channel.send(call, b"\0" + (200 * KIB).to_bytes(4, "big") + bytes(100 * KIB))
            calls.append(call)
        for call in calls:
            with trio.move_on_after(0.05):
                try:
                    await call.read()
                except RpcError as error:
                    assert error.code() is StatusCode.RESOURCE_EXHAUSTED  # noqa: PT017
                    refused += 1
        assert refused >= 6
        await trio.testing.wait_all_tasks_blocked()
        assert server.held.held == 0
        assert await channel.unary_unary(path("Echo"))(bytes(150 * KIB)) == bytes(150 * KIB)
        await trio.testing.wait_all_tasks_blocked()
        assert server.held.held == 0


async def test_requests_that_handlers_work_on_count_until_they_are_answered() -> None:
    server = new_server(Seen(), bounds=ServerBounds(held_max=400 * KIB))
    async with open_pair(server=server) as channel:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(channel.unary_unary(path("Hang")), bytes(100 * KIB))
            await trio.testing.wait_all_tasks_blocked(0.01)
            with pytest.raises(RpcError) as raised:
                await channel.unary_unary(path("Echo"))(bytes(100 * KIB))
            assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
            assert await channel.unary_unary(path("Echo"))(b"small") == b"small"
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.held.held == 0


async def test_tiny_messages_cost_what_they_cost() -> None:
    seen = Seen()

    async def wait(requests: AsyncIterator[bytes], _: ServerCall) -> bytes:
        await seen.started.wait()
        return str(len([request async for request in requests])).encode()

    server = new_server(seen, bounds=ServerBounds(held_max=1024 * KIB))
    server.add_registered_method_handlers(
        "more", {"Wait": Handler(request_streaming=True, stream_unary=wait)}
    )
    async with open_pair(server=server) as channel:
        async with channel.stream_unary("/more/Wait")() as few:
            channel.send(few, b"\0\0\0\0\2ab" * 1000)
            await few.done_writing()
            seen.started.set()
            assert await few == b"1000"
        seen.started = trio.Event()
        async with channel.stream_unary("/more/Wait")() as many:
            channel.send(many, b"\0\0\0\0\2ab" * 100_000)
            with pytest.raises(RpcError) as raised:
                await many
            assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert server.held.held == 0


async def test_a_stream_may_be_longer_than_what_may_be_held_at_a_time() -> None:
    server = new_server(Seen(), bounds=ServerBounds(held_max=300 * KIB))
    async with open_pair(server=server) as channel:
        async with channel.stream_stream(path("Turn"))() as call:
            for _ in range(10):
                await call.write(bytes(50 * KIB))
                assert await call.read() == bytes(50 * KIB)


async def test_answers_that_nobody_takes_have_a_bound_together() -> None:
    async def big(_request: bytes, _context: ServerCall) -> bytes:
        return bytes(300 * KIB)

    server = new_server(Seen(), bounds=ServerBounds(held_max=1000 * KIB))
    server.add_registered_method_handlers("more", {"Big": Handler(unary_unary=big)})
    async with open_pair(server=server, limits=Limits(stream_window=65_535)) as channel:
        # The client never gives back its windows, so that most of each answer waits in the server.
        channel.connection.consumed = lambda *_: None  # type: ignore[method-assign]
        calls = [channel.unary_stream("/more/Big")(b"") for _ in range(5)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        refused = [call for call in calls if call.code() is StatusCode.RESOURCE_EXHAUSTED]
        assert len(refused) == 2
        for call in calls:
            call.cancel()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert server.held.held == 0


async def test_two_messages_for_a_method_that_takes_one_are_refused() -> None:
    async with open_pair() as channel:
        call = channel.stream_stream(path("Echo"))()
        channel.send(call, b"\0\0\0\0\1a\0\0\0\0\1b", end=True)
        with pytest.raises(RpcError, match="more than one request message"):
            await call.read()


async def test_a_server_that_drains_hangs_up_after_the_last_answer() -> None:
    server = new_server(Seen())
    listener = listen_loopback()
    address = f"127.0.0.1:{listener.getsockname()[1]}"
    async with open_server(server, listener), open_channel(address) as channel:
        assert await channel.unary_unary(path("Echo"))(b"a") == b"a"
        with trio.fail_after(5):
            await server.drain(60)
            while server.connections:
                await trio.lowlevel.checkpoint()
        async with open_channel(address) as late:
            with pytest.raises(RpcError) as raised:
                await late.unary_unary(path("Echo"))(b"b")
            assert raised.value.code() is StatusCode.UNAVAILABLE


async def test_a_client_hangs_up_on_a_server_that_goes_away_after_the_last_call() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        peer = Peer(theirs, client=False)
        async with open_channel(ours) as channel:
            call = channel.stream_stream(path("Turn"))()
            while not peer.connection.streams:
                await peer.receive()
            peer.connection.drain()
            peer.send()
            while channel.is_usable:
                await trio.testing.wait_all_tasks_blocked()
            assert not channel.connection.closed
            call.cancel()
            with trio.fail_after(5):
                await ends(theirs)


async def test_a_server_that_drains_hangs_up_on_a_client_that_stays() -> None:
    server = new_server(Seen())
    ours, theirs = socket.socketpair()
    with ours:
        peer = Peer(ours, client=True)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_connection, theirs)
            await peer.receive()
            nursery.start_soon(server.drain, 60)
            with trio.fail_after(5):
                while not peer.connection.goaway_received:
                    await peer.receive()  # answers the PING too
                await ends(ours)


async def test_no_call_is_lost_that_was_under_way_when_the_server_began_to_drain() -> None:
    server = new_server(Seen())
    async with open_pair(server=server) as channel:
        answers = []

        async def ask(number: int) -> None:
            answers.append(await channel.unary_unary(path("Echo"))(b"%d" % number))

        await ask(0)
        async with trio.open_nursery() as nursery:
            # The calls go out before the client can read that the server drains.
            for number in range(1, 5):
                nursery.start_soon(ask, number)
            nursery.start_soon(server.drain, 60)
        assert len(answers) == 5


async def test_a_client_that_doesnt_answer_is_waited_for_no_longer_than_the_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = new_server(Seen(), bounds=ServerBounds(handshake_s=1000))
    ours, theirs = socket.socketpair()
    with ours:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(server.serve_connection, theirs)
            await trio.testing.wait_all_tasks_blocked()
            await server.drain(7)
            assert trio.current_time() == pytest.approx(7)
            nursery.cancel_scope.cancel()
