"""What a plugin's question to its host is answered with, and no more than that."""

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

from sigil_actors._proto.sigil.host.v1 import host_pb2, host_pb2_grpc
from sigil_actors.actors.nursery import open_bare_nursery
from sigil_actors.core.policy import DenyReason
from sigil_actors.errors import (
    AuditUnavailableError,
    CapabilityDeniedError,
    HostFunctionFailedError,
    HostFunctionMissingError,
    InvalidCapabilityError,
    KvUnavailableError,
    LimitExceededError,
    SigilError,
)
from sigil_actors.rpc.channel import open_channel
from sigil_actors.rpc.status import RpcError, StatusCode
from sigil_actors.tiers.remote.host_service import PAYLOAD_BYTES_MAX, HostService
from sigil_actors.tiers.remote.stubs import stub

DENIED = CapabilityDeniedError(
    plugin="p", capability="kv.get", reason=DenyReason.PLUGIN_ALLOW_MISSING, explanation="a secret"
)


class Host:
    """Raises what it was given, or echoes."""

    def __init__(self, error: SigilError | None = None) -> None:
        self.error = error
        self.asked: list[tuple[str, bytes | None, str]] = []
        self.waits = False

    async def call(self, capability: str, payload: bytes, session_id: str) -> bytes:
        """Echo."""
        await trio.lowlevel.checkpoint()
        self.asked.append((capability, payload, session_id))
        if self.waits:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error
        return payload

    async def check(self, capability: str, session_id: str) -> DenyReason:
        """Deny."""
        await trio.lowlevel.checkpoint()
        self.asked.append((capability, None, session_id))
        if self.error is not None:
            raise self.error
        return DenyReason.USER_PERMISSION_MISSING


@asynccontextmanager
async def open_host(host: Host) -> AsyncGenerator[tuple[HostService, Any]]:
    """Give the service, and a plugin's stub of it."""
    service = HostService(host)
    ours, theirs = socket.socketpair()
    async with open_bare_nursery() as nursery:
        nursery.start_soon(service.server.serve_connection, ours)
        async with open_channel(theirs, message_max=PAYLOAD_BYTES_MAX + 1024) as channel:
            yield service, stub(host_pb2_grpc.HostStub, channel)
        nursery.cancel_scope.cancel()


async def test_a_call_and_a_check_are_passed_on_as_they_are() -> None:
    host = Host()
    async with open_host(host) as (service, plugin):
        assert not service.reached.is_set()
        answer = await plugin.Call(
            host_pb2.CallRequest(capability="kv.get", payload=b"\0\xff", session_id="t")
        )
        assert answer.payload == b"\0\xff"
        assert service.reached.is_set()
        checked = await plugin.Check(host_pb2.CheckRequest(capability="x", session_id="t"))
        assert (checked.allowed, checked.reason) == (False, "user_permission_missing")
        assert host.asked == [("kv.get", b"\0\xff", "t"), ("x", None, "t")]


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (DENIED, StatusCode.PERMISSION_DENIED, "plugin_allow_missing"),
        (
            AuditUnavailableError("/a/path is full"),
            StatusCode.UNAVAILABLE,
            "it couldn't be recorded, so nothing ran",
        ),
        (
            HostFunctionMissingError("kv.get"),
            StatusCode.UNIMPLEMENTED,
            "no host function for 'kv.get'",
        ),
        (
            HostFunctionFailedError("kv.get", "ValueError"),
            StatusCode.INTERNAL,
            "the host function failed",
        ),
        (KvUnavailableError("/a/path"), StatusCode.INTERNAL, "the host function failed"),
        (
            InvalidCapabilityError("", "is empty"),
            StatusCode.INVALID_ARGUMENT,
            "capability '': is empty",
        ),
        (
            LimitExceededError("p", bound="keys", value="4Mi", key="k"),
            StatusCode.RESOURCE_EXHAUSTED,
            "plugin 'p' reached its bound on keys (4Mi)",
        ),
    ],
)
async def test_each_refusal_has_its_status_and_tells_no_more_than_it_must(
    error: SigilError, code: StatusCode, said: str
) -> None:
    async with open_host(Host(error)) as (_, plugin):
        for ask, request in (
            (plugin.Call, host_pb2.CallRequest(capability="kv.get")),
            (plugin.Check, host_pb2.CheckRequest(capability="kv.get")),
        ):
            with pytest.raises(RpcError) as caught:
                await ask(request)
            assert caught.value.code() is code
            assert caught.value.details() == said


async def test_a_payload_is_bounded_and_the_largest_goes_both_ways() -> None:
    host = Host()
    async with open_host(host) as (_, plugin):
        largest = b"x" * PAYLOAD_BYTES_MAX
        answer = await plugin.Call(host_pb2.CallRequest(capability="c", payload=largest))
        assert answer.payload == largest
        for over in (1, 1 << 20):
            with pytest.raises(RpcError) as caught:
                await plugin.Call(
                    host_pb2.CallRequest(capability="c", payload=largest + b"x" * over)
                )
            assert caught.value.code() is StatusCode.RESOURCE_EXHAUSTED
        assert len(host.asked) == 1


async def test_a_plugin_that_gives_up_cancels_what_it_asked_for() -> None:
    host = Host()
    host.waits = True
    async with open_host(host) as (_, plugin):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(plugin.Call, host_pb2.CallRequest(capability="c"))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert host.asked
            nursery.cancel_scope.cancel()
        host.waits = False
        assert (await plugin.Call(host_pb2.CallRequest(payload=b"x"))).payload == b"x"


async def test_more_calls_than_may_be_in_flight_wait_with_the_plugin() -> None:
    host = Host()
    async with open_host(host) as (_, plugin), trio.open_nursery() as nursery:
        # A client that has heard of the bound keeps to it.
        await plugin.Check(host_pb2.CheckRequest())
        host.asked.clear()
        host.waits = True
        for _ in range(40):
            nursery.start_soon(plugin.Call, host_pb2.CallRequest(capability="c"))
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(host.asked) == 32
        nursery.cancel_scope.cancel()
