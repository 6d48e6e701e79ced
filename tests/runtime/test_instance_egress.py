"""The gate of one instance's proxy by itself: its pace, and what it keeps of a stranger's text."""

import trio
from trio.testing import MockClock

from sigil_actors import (
    AuditFilter,
    CapabilitySet,
    MemoryAuditStore,
    RuntimeSettings,
    open_enforcer,
)
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.proxy_request import Protocol
from sigil_actors.ports.egress import EgressAttempt
from sigil_actors.runtime.host_bounds import HostBounds
from sigil_actors.runtime.instance_egress import InstanceEgress


def attempt(host: str = "a.example", *, detail: str = "") -> EgressAttempt:
    return EgressAttempt(
        connection=1, protocol=Protocol.CONNECT, host=host, port=443, detail=detail
    )


async def test_attempts_come_no_faster_than_host_calls_may(autojump_clock: MockClock) -> None:
    bounds = HostBounds(RuntimeSettings(host_calls_per_s=2))
    async with open_enforcer(MemoryAuditStore()) as enforcer:
        await enforcer.register_plugin("fetcher", CapabilitySet(), CapabilitySet(), 1)
        gate = InstanceEgress("fetcher", 1, enforcer=enforcer, bounds=bounds)
        began = trio.current_time()
        for _ in range(6):
            assert await gate.decide(attempt()) is EgressReason.OK
        assert 1.9 < trio.current_time() - began < 2.6


async def test_long_and_strange_text_is_cut_and_escaped(autojump_clock: MockClock) -> None:
    store = MemoryAuditStore()
    async with open_enforcer(store) as enforcer:
        bounds = HostBounds(RuntimeSettings())
        gate = InstanceEgress("fetcher", 1, enforcer=enforcer, bounds=bounds)
        reason = await gate.decide(attempt("\x1b[2J" + "x" * 5000, detail="\u202e" * 5000))
        assert reason is EgressReason.PLUGIN_NOT_REGISTERED
    (entry,) = await store.query(AuditFilter(action="egress", plugin="fetcher"))
    host, detail = str(entry.details["host"]), str(entry.details["detail"])
    assert host.startswith("\\x1b[2Jx")
    assert host.endswith("…")
    assert len(host) <= 300
    assert detail.startswith("\\u202e")
    assert len(detail) <= 300
    assert enforcer.is_registered("fetcher") is False
