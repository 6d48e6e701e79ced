"""Calls between this project's own channel and server, of every kind and in every way to end."""

import logging
import random
from collections.abc import AsyncGenerator

import pytest
import trio
import trio.testing

from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.server import ServerBounds
from sigil_actors.rpc.session import Keepalive
from sigil_actors.rpc.status import RpcError, StatusCode
from tests.rpc.serving import Seen, new_server, open_pair, path

MIB = 1 << 20


async def test_one_message_gets_one_answer() -> None:
    async with open_pair() as channel:
        assert await channel.unary_unary(path("Echo"))(b"hello") == b"hello"


async def test_an_empty_message_is_a_message() -> None:
    async with open_pair() as channel:
        assert await channel.unary_unary(path("Echo"))(b"") == b""


async def test_one_message_gets_many_answers() -> None:
    async with open_pair() as channel:
        call = channel.unary_stream(path("Count"))(b"3")
        assert [message async for message in call] == [b"0", b"1", b"2"]
        assert call.code() is StatusCode.OK


async def test_many_messages_get_one_answer() -> None:
    async with open_pair() as channel:
        assert await channel.stream_unary(path("Join"))([b"a", b"b", b"c"]) == b"abc"


async def test_many_messages_get_many_answers() -> None:
    async def requests() -> AsyncGenerator[bytes]:
        yield b"ab"
        await trio.lowlevel.checkpoint()
        yield b"cd"

    async with open_pair() as channel:
        call = channel.stream_stream(path("Turn"))(requests())
        assert [message async for message in call] == [b"ba", b"dc"]


async def test_a_stream_may_be_written_by_hand() -> None:
    async with open_pair() as channel, channel.stream_stream(path("Turn"))() as call:
        for text in (b"one", b"two"):
            await call.write(text)
            assert await call.read() == text[::-1]
        await call.done_writing()
        assert await call.read() is None
        with pytest.raises(RpcError, match="the call is over"):
            await call.write(b"late")


async def test_metadata_goes_both_ways() -> None:
    async with open_pair() as channel:
        method = channel.unary_unary(path("Metadata"))
        answer, call = await method.with_call(b"", metadata=(("who", "me"), ("key-bin", b"\0\1")))
        assert answer == repr((("who", "me"), ("key-bin", b"\0\1"))).encode()
        assert await call.initial_metadata() == (("first", "1"), ("raw-bin", b"\0\xff"))
        assert call.trailing_metadata() == (("last", "2"),)


@pytest.mark.parametrize(
    "pair",
    [("UPPER", "x"), ("a b", "x"), ("ok", "ö"), ("ok", "a\nb"), ("grpc-x", "x"), ("te", "x")],
)
async def test_metadata_that_cant_be_sent_is_the_callers_mistake(pair: tuple[str, str]) -> None:
    async with open_pair() as channel:
        with pytest.raises(ValueError, match="illegal metadata"):
            await channel.unary_unary(path("Echo"))(b"", metadata=(pair,))
        assert await channel.unary_unary(path("Echo"))(b"on") == b"on"


async def test_a_status_comes_with_its_text_and_details() -> None:
    async with open_pair() as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Fail"))("nö: 100 % \n".encode())
        assert raised.value.code() is StatusCode.NOT_FOUND
        assert raised.value.details() == "nö: 100 % \n"
        assert raised.value.trailing_metadata() == (("why-bin", b"\1"),)


async def test_a_handlers_bug_tells_its_type_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    async with open_pair() as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Bug"))(b"")
        assert raised.value.code() is StatusCode.UNKNOWN
        assert raised.value.details() == "Unexpected ZeroDivisionError"
    assert caplog.records[-1].levelno == logging.ERROR


async def test_a_method_that_isnt_there_is_unimplemented() -> None:
    async with open_pair() as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary("/test.Test/Nothing")(b"")
        assert raised.value.code() is StatusCode.UNIMPLEMENTED


async def test_a_deadline_travels_and_ends_both_sides(
    autojump_clock: trio.testing.MockClock,
) -> None:
    seen = Seen()
    async with open_pair(seen) as channel:
        assert float(await channel.unary_unary(path("Remaining"))(b"", timeout=5)) <= 5
        began = trio.current_time()
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Hang"))(b"", timeout=3)
        assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED
        assert trio.current_time() - began == pytest.approx(3)
        await seen.cancelled.wait()


async def test_a_streams_deadline_ends_it(autojump_clock: trio.testing.MockClock) -> None:
    async with open_pair() as channel:
        call = channel.stream_stream(path("Turn"))(timeout=2)
        with pytest.raises(RpcError) as raised:
            await call.read()
        assert raised.value.code() is StatusCode.DEADLINE_EXCEEDED


async def test_a_cancelled_caller_cancels_the_handler() -> None:
    seen = Seen()
    async with open_pair(seen) as channel:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(channel.unary_unary(path("Hang")), b"")
            await seen.started.wait()
            nursery.cancel_scope.cancel()
        await seen.cancelled.wait()
        assert await channel.unary_unary(path("Echo"))(b"on") == b"on"


async def test_leaving_the_block_of_a_stream_cancels_its_handler() -> None:
    seen = Seen()
    async with open_pair(seen) as channel:
        async with channel.unary_stream(path("Count"))(b"1000000") as call:
            assert await call.read() == b"0"
        await seen.cancelled.wait()
        assert call.code() is StatusCode.CANCELLED


async def test_a_slow_reader_makes_the_handler_wait() -> None:
    seen = Seen()
    limits = Limits(stream_window=128 * 1024)
    async with open_pair(seen, limits=limits) as channel:
        async with channel.unary_stream(path("Blocks"))(b"200") as call:
            assert await call.read()
            await trio.testing.wait_all_tasks_blocked(0.05)
            # Windows, the output below its mark and the socket hold a few MiB at most.
            assert seen.written < 40
            count = 1
            async for _ in call:
                count += 1
            assert count == 200


async def test_a_slow_handler_makes_the_writer_wait() -> None:
    written = 0
    async with open_pair(server_options={"limits": Limits(stream_window=128 * 1024)}) as channel:
        method = channel.stream_unary(path("Hang"))

        async def write() -> None:
            nonlocal written
            call = channel.stream_stream("/test.Test/Turn")()
            with trio.move_on_after(1):
                for _ in range(200):
                    await call.write(bytes(64 * 1024))
                    written += 1

        del method
        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert 0 < written < 60
            nursery.cancel_scope.cancel()


async def test_a_message_over_its_bound_is_refused_at_either_side() -> None:
    bounds = ServerBounds(message_max=1000)
    async with open_pair(server_options={"bounds": bounds}, message_max=2000) as channel:
        for method, request in (("Echo", bytes(1001)), ("Blocks", b"1")):
            with pytest.raises(RpcError) as raised:
                await channel.unary_unary(path(method))(request)
            assert raised.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert await channel.unary_unary(path("Echo"))(bytes(1000)) == bytes(1000)


async def test_more_calls_than_the_server_takes_wait_for_their_turn() -> None:
    async with open_pair(server_options={"limits": Limits(streams_max=3)}) as channel:
        await channel.unary_unary(path("Echo"))(b"")  # its settings are here now
        answers = []

        async def ask(number: int) -> None:
            answers.append(await channel.unary_unary(path("Echo"))(b"%d" % number))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(ask, number)
        assert sorted(answers) == sorted(b"%d" % number for number in range(50))


async def test_calls_fail_as_unavailable_once_the_server_is_gone() -> None:
    seen = Seen()
    async with open_pair(seen) as channel:
        server_gone = trio.Event()

        async def wait() -> None:
            with pytest.raises(RpcError) as raised:
                await channel.unary_unary(path("Hang"))(b"")
            assert raised.value.code() is StatusCode.UNAVAILABLE
            server_gone.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            await seen.started.wait()
            channel.transport.stop()
            await server_gone.wait()
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Echo"))(b"")
        assert raised.value.code() is StatusCode.UNAVAILABLE


async def test_a_server_that_drains_finishes_its_calls_and_takes_no_new_ones() -> None:
    server = new_server(Seen())
    async with open_pair(server=server) as channel:
        async with channel.stream_stream(path("Turn"))() as call:
            await call.write(b"ab")
            assert await call.read() == b"ba"
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.drain, 60)
                while channel.is_usable:
                    await trio.testing.wait_all_tasks_blocked()
                with pytest.raises(RpcError) as raised:
                    await channel.unary_unary(path("Echo"))(b"")
                assert raised.value.code() is StatusCode.UNAVAILABLE
                await call.write(b"cd")
                assert await call.read() == b"dc"
                await call.done_writing()
                assert await call.read() is None


async def test_a_silent_peer_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    import socket

    from sigil_actors.rpc.channel import open_channel

    ours, theirs = socket.socketpair()
    with theirs:
        async with open_channel(
            ours, keepalive=Keepalive(idle_s=10, answer_s=5), handshake_timeout_s=60
        ) as channel:
            with pytest.raises(RpcError, match="did not answer a keep-alive") as raised:
                await channel.unary_unary(path("Echo"))(b"")
            assert raised.value.code() is StatusCode.UNAVAILABLE
            assert trio.current_time() <= 15.1


async def test_an_iterator_of_requests_that_raises_raises_to_the_caller() -> None:
    async def requests() -> AsyncGenerator[bytes]:
        yield b"a"
        raise LookupError("no more")

    async with open_pair() as channel:
        with pytest.raises(LookupError):
            await channel.stream_unary(path("Join"))(requests())
        assert await channel.unary_unary(path("Echo"))(b"on") == b"on"


async def test_an_answer_that_cant_be_decoded_is_internal() -> None:
    def decode(_: bytes) -> str:
        raise ValueError

    async with open_pair() as channel:
        with pytest.raises(RpcError) as raised:
            await channel.unary_unary(path("Echo"), None, decode)(b"x")
        assert raised.value.code() is StatusCode.INTERNAL


@pytest.mark.parametrize("seed", range(40))
async def test_cancelling_at_any_await_leaves_the_channel_right(seed: int) -> None:
    """Calls of all kinds are cancelled after a random number of steps; then all still work."""
    chance = random.Random(seed)
    server = new_server(Seen(), limits=Limits(streams_max=4))

    async def one(kind: int) -> None:
        with trio.CancelScope() as scope:
            steps = chance.randrange(12)

            async def cancel() -> None:
                for _ in range(steps):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(cancel)
                try:
                    await run(kind)
                except RpcError as error:
                    assert error.code() is StatusCode.CANCELLED  # noqa: PT017

    async def run(kind: int) -> None:
        if kind == 0:
            await channel.unary_unary(path("Echo"))(bytes(chance.randrange(200_000)))
        elif kind == 1:
            async with channel.unary_stream(path("Blocks"))(b"5") as call:
                async for _ in call:
                    pass
        elif kind == 2:
            await channel.stream_unary(path("Join"))([bytes(70_000)] * 5)
        else:
            async with channel.stream_stream(path("Turn"))() as call:
                await call.write(b"ab")
                await call.read()

    async with open_pair(server=server) as channel:
        await channel.unary_unary(path("Echo"))(b"")  # the server's settings are here now
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(one, chance.randrange(4))
        assert await channel.unary_unary(path("Echo"))(b"on") == b"on"
        await trio.testing.wait_all_tasks_blocked()
        assert not channel.connection.streams
        (connection,) = server.connections
        await connection.wait_idle()
        assert not connection.connection.streams
