"""However a proxy ends, nothing of it is left: no task, no socket, no thread's place, no word."""

import gc
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.core.proxy_request import Protocol
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.egress.dialer import SystemResolver
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.ports.egress import EgressAttempt, EgressEnd, NoEgress
from tests.core.hello_bytes import hello
from tests.egress.world import (
    PATIENCE_S,
    FakeGate,
    connect,
    get,
    open_server,
    open_world,
    port_of,
    reason_of,
    resolving,
    socks,
)


def sockets() -> int:
    """Count this process's own sockets."""
    links = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # that of the listing itself
            links.append(str(descriptor.readlink()))
    return sum(link.startswith("socket:") for link in links)


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when the n-th step of any task is about to run."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self._scope = scope
        self._left = step

    @property
    def has_fired(self) -> bool:
        return self._left <= 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:  # noqa: ARG002 - trio's
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


Exchange = Callable[[trio.SocketStream, int], Awaitable[None]]


async def tunnel(client: trio.SocketStream, port: int) -> None:
    await client.send_all(connect(f"a.example:{port}") + hello("a.example"))
    await client.receive_some()
    await client.send_all(b"\x17\3\3\0\1x")
    await client.receive_some()
    await client.send_eof()


async def plain(client: trio.SocketStream, port: int) -> None:
    await client.send_all(get(f"http://a.example:{port}/", "Content-Length: 2") + b"x")
    await client.send_all(b"y")
    await client.receive_some()
    await client.send_eof()


async def refused(client: trio.SocketStream, port: int) -> None:
    await client.send_all(socks("b.example", port))
    await client.receive_some()
    await client.receive_some()


@pytest.mark.parametrize("exchange", [tunnel, plain, refused])
async def test_cancelled_at_any_step_it_leaves_nothing(exchange: Exchange) -> None:
    """A step is what a task does between two awaits; every one of an exchange is tried."""
    async with open_server() as port:
        await _exchange(exchange, port, None)  # so that everything is loaded
        before = sockets()
        for step in count(1):
            if not await _exchange(exchange, port, step):
                break
        assert step > 10
        await wait_all_tasks_blocked(0.01)
        gc.collect()
        assert sockets() <= before


async def _exchange(exchange: Exchange, port: int, step: int | None) -> bool:
    """Tell whether it got as far as that step."""
    gate = FakeGate()
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    client = await trio.open_tcp_stream("127.0.0.1", port_of(listener))
    scope = trio.CancelScope()
    serve = partial(
        serve_egress,
        listener,
        plugin="fetcher",
        rule=EgressRule.from_entries([f"a.example:{port}", f"127.0.0.1:{port}"]),
        gate=gate,
        resolve=resolving(a_example=["127.0.0.1"]),
    )

    async def serve_until_cancelled() -> None:
        with scope:
            await serve()

    instrument = CancelAt(scope, step or 10**9)
    with trio.fail_after(PATIENCE_S):
        async with client, trio.open_nursery() as nursery:
            nursery.start_soon(serve_until_cancelled)
            trio.lowlevel.add_instrument(instrument)
            try:
                await exchange(client, port)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            finally:
                trio.lowlevel.remove_instrument(instrument)
            scope.cancel()
        await wait_all_tasks_blocked()
    allowed = [one for one in gate.attempts if one.reason is EgressReason.OK]
    if not allowed:
        assert gate.ends == []
    assert len(gate.ends) <= 1
    if any(one.address for one in allowed):
        assert len(gate.ends) == 1, "what was dialled has an end"
    return instrument.has_fired


async def test_a_stopped_plugin_ends_its_tunnels_and_that_is_recorded() -> None:
    async with open_server() as port:
        async with open_world(f"127.0.0.1:{port}") as world:
            client = await world.open_tunnel(f"127.0.0.1:{port}")
        assert [end.reason for end in world.gate.ends] == ["cancelled"]
        with trio.fail_after(PATIENCE_S):
            assert await client.receive_some() == b""
        await client.aclose()


async def test_an_error_of_accepting_is_waited_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    accept = trio.SocketListener.accept
    errors = [OSError(24, "Too many open files")]

    async def fail_once(listener: trio.SocketListener) -> trio.SocketStream:
        if errors:
            await trio.lowlevel.checkpoint()
            raise errors.pop()
        return await accept(listener)

    monkeypatch.setattr(trio.SocketListener, "accept", fail_once)
    async with open_world("a.example:443") as world:
        with trio.fail_after(PATIENCE_S):
            assert reason_of(await world.ask(connect("b.example:1"))) == "target_not_allowed"
    assert "can't take a connection" in caplog.text


async def test_no_network_error_is_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    async with open_world("a.example:443", resolve=resolving()) as world:
        for request in (connect("a.example:443"), b"\xff", connect("b.example:1"), b"GET x"):
            await world.ask(request)
    assert "Traceback" not in caplog.text


async def test_an_abandoned_lookup_takes_only_its_own_plugins_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release = threading.Event()
    hanging: list[object] = []

    def hang(*names: object, **_: object) -> object:
        hanging.append(names[0])
        release.wait(PATIENCE_S)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    resolver = SystemResolver(1)
    with trio.move_on_after(0.01):
        await resolver("a.example")
    second = trio.CancelScope(deadline=trio.current_time() + 0.05)
    with second:
        await resolver("b.example")
    assert second.cancelled_caught
    assert hanging == [b"a.example"], "its one place is taken"
    assert await trio.to_thread.run_sync(lambda: "free") == "free"
    release.set()
    with pytest.raises(OSError, match="Temporary failure"), trio.fail_after(PATIENCE_S):
        await resolver("c.example")


async def test_an_instance_without_a_gate_gets_nowhere() -> None:
    gate = NoEgress()
    attempt = EgressAttempt(connection=1, protocol=Protocol.CONNECT, host="a.example", port=443)
    assert await gate.decide(attempt) is EgressReason.TARGET_NOT_ALLOWED
    gate.record_end(
        EgressEnd(
            connection=1,
            protocol=attempt.protocol,
            host="a.example",
            port=443,
            address="",
            reason=EgressReason.OK,
            detail="",
            bytes_up=0,
            bytes_down=0,
            duration_s=0.0,
        )
    )


async def test_each_plugin_is_its_own_listener() -> None:
    """What one plugin may reach is nothing to the other, though both ask from loopback."""
    async with open_server() as port:
        async with open_world(f"127.0.0.1:{port}") as one, open_world("a.example:443") as other:
            request = connect(f"127.0.0.1:{port}")
            assert (await one.ask(request + b"x")).endswith(b"x")
            assert reason_of(await other.ask(request)) == "target_not_allowed"
            # And neither can be reached through the other.
            assert (
                reason_of(await one.ask(connect(f"127.0.0.1:{other.port}"))) == "port_not_allowed"
            )


async def test_bounds_are_per_instance() -> None:
    bounds = EgressBounds(connections=1, refusals=1)
    async with open_server() as port:
        target = f"127.0.0.1:{port}"
        async with open_world(target, bounds=bounds) as one, open_world(target) as other:
            async with await one.open_tunnel(target):
                assert (await other.ask(connect(target) + b"x")).endswith(b"x")
