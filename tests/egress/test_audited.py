"""The proxy on a real enforcer: what the log holds of each connection, and when."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio

from sigil_actors import (
    AuditEntry,
    AuditFilter,
    AuditStore,
    CapabilitySet,
    Enforcer,
    MemoryAuditStore,
    RuntimeSettings,
    open_enforcer,
    open_runtime,
)
from sigil_actors.core.egress_rule import EgressRule
from sigil_actors.egress.proxy import serve_egress
from sigil_actors.ports.tier import Launch, TierSession
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.instance_egress import InstanceEgress
from sigil_actors.testing.fake_tier import FakeTier
from sigil_actors.testing.faulty_audit_store import FaultyAuditStore
from tests.core.hello_bytes import real_hello
from tests.egress.world import (
    PATIENCE_S,
    FakeGate,
    World,
    connect,
    get,
    open_server,
    port_of,
    read_all,
    reason_of,
    resolving,
)
from tests.runtime.world import manifest

GENERATION = 3


@asynccontextmanager
async def open_audited(
    *allow: str, store: AuditStore, registered: int | None = GENERATION
) -> AsyncGenerator[tuple[World, Enforcer]]:
    async with open_enforcer(store) as enforcer, trio.open_nursery() as nursery:
        if registered is not None:
            await enforcer.register_plugin("fetcher", CapabilitySet(), CapabilitySet(), registered)
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        gate = InstanceEgress(
            "fetcher", GENERATION, enforcer=enforcer, bounds=HostBounds(RuntimeSettings())
        )
        serve = partial(
            serve_egress,
            listener,
            plugin="fetcher",
            rule=EgressRule.from_entries(allow),
            gate=gate,
            resolve=resolving(a_example=["127.0.0.1"]),
        )
        nursery.start_soon(serve)
        yield World(port_of(listener), FakeGate(), nursery), enforcer
        nursery.cancel_scope.cancel()


async def entries_of(store: AuditStore) -> list[AuditEntry]:
    return list(await store.query(AuditFilter(action="egress")))


async def test_a_connection_is_in_the_log_when_allowed_when_dialled_and_at_its_end() -> None:
    store = MemoryAuditStore()
    async with open_server() as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        async with open_audited(*allow, store=store) as (world, _):
            await world.ask(connect(f"A.example.:{port}") + b"hello")
        asked, dialled, ended = await entries_of(store)
    common = {
        "generation": 3,
        "connection": 1,
        "protocol": "connect",
        "host": "a.example",
        "port": port,
    }
    assert asked.details == common
    assert dialled.details == {**common, "address": "127.0.0.1"}
    assert {(one.result, one.reason) for one in (asked, dialled)} == {("allowed", "ok")}
    assert (ended.result, ended.reason) == ("ended", "ok")
    assert ended.details.items() >= {"bytes_up": 5, "bytes_down": 5, "address": "127.0.0.1"}.items()
    assert {one.actor for one in (asked, dialled, ended)} == {"plugin:fetcher"}
    assert {one.plugin for one in (asked, dialled, ended)} == {"fetcher"}


async def test_an_address_is_in_the_log_before_the_server_sees_a_connection() -> None:
    store = MemoryAuditStore()
    seen: list[int] = []

    async def serve(stream: trio.SocketStream) -> None:
        async with stream:
            seen.append(len(await entries_of(store)))

    async with open_server(serve) as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        async with open_audited(*allow, store=store) as (world, _):
            await world.ask(connect(f"a.example:{port}"))
            await world.ask(connect(f"127.0.0.1:{port}"))
    assert seen[0] == 2
    assert seen[1] >= 3


async def test_a_refusal_is_in_the_log_with_a_hosts_text_made_safe() -> None:
    store = MemoryAuditStore()
    async with open_audited("a.example:443", store=store) as (world, _):
        await world.ask(connect("b.example:443"))
        await world.ask(b"\5\1\0\5\1\0\3\7\x1b[2J\xe2\x80\xae\1\xbb")
        await world.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    first, second, third = await entries_of(store)
    assert {one.result for one in (first, second, third)} == {"denied"}
    assert (first.reason, first.details["host"]) == ("target_not_allowed", "b.example")
    assert (second.reason, second.details["host"]) == ("malformed_host", "\\x1b[2J\\u202e")
    assert (third.reason, third.details["host"]) == ("malformed_request", "")
    assert third.details["detail"] == "has no URL like http://host:port/path"


async def test_a_tunnel_that_is_cut_for_its_server_name_is_a_denial() -> None:
    store = MemoryAuditStore()
    async with open_server() as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        async with open_audited(*allow, store=store) as (world, _):
            with trio.fail_after(PATIENCE_S):
                async with await world.open_tunnel(f"a.example:{port}") as client:
                    await client.send_all(real_hello("b.example"))
                    await read_all(client)
    last = (await entries_of(store))[-1]
    assert (last.result, last.reason) == ("denied", "server_name_differs")
    assert last.details["detail"] == "b.example"
    assert last.details["bytes_up"] == 0


@pytest.mark.parametrize("broken_at", [1, 2])
async def test_with_the_store_down_nothing_is_dialled(broken_at: int) -> None:
    reached = []

    async def serve(stream: trio.SocketStream) -> None:
        reached.append(stream)
        await stream.aclose()

    store = FaultyAuditStore(MemoryAuditStore(), full_at=broken_at)
    async with open_server(serve) as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        async with open_audited(*allow, store=store) as (world, _):
            answer = await world.ask(connect(f"a.example:{port}"))
            assert answer.startswith(b"HTTP/1.1 403")
            assert reason_of(answer) == "audit_unavailable"
            assert reason_of(await world.ask(get(f"http://127.0.0.1:{port}/"))) == (
                "audit_unavailable"
            )
            assert reached == []
            store.free()


@pytest.mark.parametrize("registered", [None, GENERATION - 1])
async def test_an_instance_that_isnt_registered_gets_nowhere(registered: int | None) -> None:
    store = MemoryAuditStore()
    async with open_audited("a.example:443", store=store, registered=registered) as (world, _):
        assert reason_of(await world.ask(connect("a.example:443"))) == "plugin_not_registered"
    (entry,) = await entries_of(store)
    assert (entry.result, entry.reason) == ("denied", "plugin_not_registered")


async def test_an_instance_of_a_runtime_is_launched_with_a_gate_of_its_own() -> None:
    launches: list[Launch] = []

    class KeepingTier(FakeTier):
        @asynccontextmanager
        async def open(self, launch: Launch) -> AsyncGenerator[TierSession]:
            launches.append(launch)
            async with super().open(launch) as session:
                yield session

    store = MemoryAuditStore()
    tiers = [KeepingTier()]
    async with open_server() as port:
        async with open_runtime(
            manifests=[(manifest(), None)], audit_store=store, tiers=tiers
        ) as runtime:
            await runtime.wait_until_running("echo-tool")
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    partial(
                        serve_egress,
                        listener,
                        plugin="echo-tool",
                        rule=EgressRule.from_entries([f"127.0.0.1:{port}"]),
                        gate=launches[0].egress,
                    )
                )
                world = World(port_of(listener), FakeGate(), nursery)
                assert (await world.ask(connect(f"127.0.0.1:{port}") + b"x")).endswith(b"x")
                await runtime.stop("echo-tool")
                answer = await world.ask(connect(f"127.0.0.1:{port}"))
                assert reason_of(answer) == "plugin_not_registered"
                nursery.cancel_scope.cancel()
    results = [(one.plugin, one.result) for one in await entries_of(store)]
    assert results == [("echo-tool", "allowed"), ("echo-tool", "ended"), ("echo-tool", "denied")]
