"""Every no of the proxy: what it is for, how it is said, and that nothing was dialled."""

import errno
import socket
from collections.abc import Sequence
from ipaddress import ip_address

import pytest
import trio

from sigil_actors.core.address_class import Address
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.egress import dialer
from sigil_actors.egress.bounds import EgressBounds
from sigil_actors.errors import AuditUnavailableError
from sigil_actors.ports.egress import EgressAttempt
from tests.egress.world import (
    FakeGate,
    connect,
    get,
    open_server,
    open_world,
    reason_of,
    resolving,
    socks,
)


@pytest.fixture
def no_dialling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in this test may get as far as connecting."""

    async def connect(address: Address, port: int) -> trio.SocketStream:
        raise AssertionError(f"{address}:{port} was dialled")

    monkeypatch.setattr(dialer, "_connect", connect)


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("b.example:443", "target_not_allowed"),
        ("a.example:80", "port_not_allowed"),
        ("example:443", "target_not_allowed"),
        ("127.0.0.1:443", "target_not_allowed"),
        ("10.0.0.5:443", "port_not_allowed"),
        ("127.1:443", "malformed_host"),
        ("2130706433:443", "malformed_host"),
        ("0x7f000001:443", "malformed_host"),
        ("[::ffff:7f00:1]:443", "target_not_allowed"),
        ("a..example:443", "malformed_host"),
        ("*.example:443", "malformed_host"),
        ("a.example", "malformed_request"),
        ("a.example:0443", "malformed_request"),
    ],
)
@pytest.mark.usefixtures("no_dialling")
async def test_what_no_entry_names_is_refused_and_recorded(target: str, reason: str) -> None:
    async with open_world("a.example:443", "10.0.0.5:5432") as world:
        answer = await world.ask(connect(target))
    assert answer.startswith(b"HTTP/1.1 4")
    assert reason_of(answer) == reason
    assert [attempt.reason for attempt in world.gate.attempts] == [reason]
    assert world.gate.ends == []


@pytest.mark.usefixtures("no_dialling")
async def test_a_refusal_is_a_403_in_http_and_a_2_in_socks() -> None:
    async with open_world("a.example:443") as world:
        assert (await world.ask(connect("b.example:443"))).startswith(b"HTTP/1.1 403 Forbidden")
        assert (await world.ask(get("http://b.example/"))).startswith(b"HTTP/1.1 403 Forbidden")
        assert await world.ask(socks("b.example", 443)) == b"\5\0" + b"\5\2\0\1" + bytes(6)
    assert [attempt.protocol for attempt in world.gate.attempts] == ["connect", "http", "socks5"]
    assert [attempt.connection for attempt in world.gate.attempts] == [1, 2, 3]
    assert {(attempt.host, attempt.port) for attempt in world.gate.attempts} == {
        ("b.example", 443),
        ("b.example", 80),
    }


@pytest.mark.parametrize(
    ("addresses", "detail"),
    [
        (["127.0.0.1"], "loopback"),
        (["10.0.0.1"], "private"),
        (["169.254.169.254"], "metadata"),
        (["fe80::1"], "link-local"),
        (["fe80::1%1"], "link-local"),
        (["0.0.0.0"], "unspecified"),
        (["224.0.0.1"], "multicast"),
        (["100.64.1.1"], "shared"),
        (["::ffff:127.0.0.1"], "loopback"),
        (["64:ff9b::7f00:1"], "loopback"),
        (["2002:a00:1::1"], "private"),
        (["::1", "10.0.0.1", "169.254.169.254"], "metadata"),
    ],
)
@pytest.mark.usefixtures("no_dialling")
async def test_a_name_that_leads_inside_is_refused(addresses: list[str], detail: str) -> None:
    async with open_world("a.example:443", resolve=resolving(a_example=addresses)) as world:
        answer = await world.ask(connect("a.example:443"))
    assert reason_of(answer) == "address_not_public"
    first, second = world.gate.attempts
    assert (first.reason, first.address) == ("ok", "")
    assert (second.reason, second.detail) == ("address_not_public", detail)
    assert world.gate.ends == []


@pytest.mark.usefixtures("no_dialling")
async def test_a_name_that_leads_to_the_hosts_own_public_address_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "sigil_actors.egress.connection.is_address_of_host",
        lambda address: str(address) == "8.8.4.4",
    )
    async with open_world("a.example:443", resolve=resolving(a_example=["8.8.4.4"])) as world:
        assert reason_of(await world.ask(connect("a.example:443"))) == "address_of_host"


def test_the_kernel_knows_which_addresses_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dialer.is_address_of_host(ip_address("127.0.0.1"))
    assert not dialer.is_address_of_host(ip_address("198.51.100.7"))
    assert not dialer.is_address_of_host(ip_address("2001:db8::7"))

    def none_left(*_: object) -> None:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(socket, "socket", none_left)
    assert dialer.is_address_of_host(ip_address("198.51.100.7"))


@pytest.mark.usefixtures("no_dialling")
async def test_a_metadata_address_is_refused_unless_it_is_a_literal() -> None:
    resolve = resolving(metadata_internal=["169.254.169.254"])
    async with open_world("metadata.internal:80", resolve=resolve) as world:
        assert reason_of(await world.ask(get("http://metadata.internal/"))) == "address_not_public"
        assert reason_of(await world.ask(get("http://169.254.169.254/"))) == "target_not_allowed"


async def test_a_name_that_changes_its_address_is_looked_up_once() -> None:
    """Rebinding: the answer that was vetted is the one that is dialled, whatever comes next."""
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    asked = []

    async def resolve(name: str) -> Sequence[Address]:
        await trio.lowlevel.checkpoint()
        asked.append(name)
        return [ip_address(address) for address in answers.pop(0)]

    async with open_server() as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        async with open_world(*allow, resolve=resolve) as world:
            answer = await world.ask(connect(f"a.example:{port}") + b"hello")
            assert answer.endswith(b"\r\n\r\nhello")
            assert asked == ["a.example"]
            assert reason_of(await world.ask(connect(f"a.example:{port}"))) == "address_not_public"
    assert [attempt.address for attempt in world.gate.attempts] == [
        "",
        "127.0.0.1",
        "",
        "169.254.169.254",
    ]


async def test_only_vetted_addresses_of_a_mixed_answer_are_dialled() -> None:
    async with open_server() as port:
        allow = (f"a.example:{port}", f"127.0.0.1:{port}")
        resolve = resolving(a_example=["10.1.1.1", "127.0.0.2", "::ffff:127.0.0.1", "::1"])
        async with open_world(*allow, resolve=resolve) as world:
            assert (await world.ask(connect(f"a.example:{port}") + b"x")).endswith(b"x")
    assert [attempt.address for attempt in world.gate.attempts] == ["", "127.0.0.1"]


@pytest.mark.usefixtures("no_dialling")
class TestWithoutADecision:
    """What the decision needs is broken, and the answer is no."""

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (AuditUnavailableError("the disk is full"), "audit_unavailable"),
            (RuntimeError("a bug"), "decision_failed"),
            (OSError("a file"), "decision_failed"),
        ],
    )
    @pytest.mark.parametrize("at", [0, 1])
    async def test_a_decision_that_fails_is_a_no(
        self, error: Exception, reason: str, at: int
    ) -> None:
        asked: list[EgressAttempt] = []

        def fail(attempt: EgressAttempt) -> EgressReason:
            asked.append(attempt)
            if len(asked) > at:
                raise error
            return EgressReason.OK

        allow = ("a.example:443", "127.0.0.1:443")
        resolve = resolving(a_example=["127.0.0.1"])
        async with open_world(*allow, resolve=resolve, gate=FakeGate(answer=fail)) as world:
            answer = await world.ask(connect("a.example:443"))
        assert answer.startswith(b"HTTP/1.1 403")
        assert reason_of(answer) == reason
        assert len(asked) == at + 1

    async def test_nothing_is_looked_up_that_isnt_recorded(self) -> None:
        def fail(_: EgressAttempt) -> EgressReason:
            raise AuditUnavailableError("the disk is full")

        # The resolver of this world fails the test where it is asked.
        async with open_world("a.example:443", gate=FakeGate(answer=fail)) as world:
            assert reason_of(await world.ask(connect("a.example:443"))) == "audit_unavailable"

    async def test_a_gate_cant_allow_what_the_rule_refuses(self) -> None:
        gate = FakeGate(answer=lambda _: EgressReason.OK)
        async with open_world("a.example:443", gate=gate) as world:
            assert reason_of(await world.ask(connect("b.example:443"))) == "target_not_allowed"
            assert reason_of(await world.ask(b"GET / HTTP/1.1\r\n\r\n")) == "malformed_request"

    async def test_the_hosts_no_counts_as_much_as_the_rules(self) -> None:
        gate = FakeGate(answer=lambda _: EgressReason.PLUGIN_NOT_REGISTERED)
        async with open_world("a.example:443", gate=gate) as world:
            assert reason_of(await world.ask(connect("a.example:443"))) == "plugin_not_registered"


class TestTheNetworkSaysNo:
    @pytest.mark.usefixtures("no_dialling")
    async def test_a_name_nobody_knows(self) -> None:
        async with open_world("a.example:443", resolve=resolving()) as world:
            answer = await world.ask(connect("a.example:443"))
            assert answer.startswith(b"HTTP/1.1 502")
            assert reason_of(answer) == "name_not_found"
            assert await world.ask(socks("a.example", 443)) == b"\5\0\5\4\0\1" + bytes(6)
        assert (world.gate.ends[0].reason, world.gate.ends[0].address) == ("name_not_found", "")

    @pytest.mark.parametrize("addresses", [[], None])
    @pytest.mark.usefixtures("no_dialling")
    async def test_a_name_without_an_address(self, addresses: list[str] | None) -> None:
        async def resolve(_name: str) -> Sequence[Address]:
            await trio.lowlevel.checkpoint()
            if addresses is None:
                raise UnicodeError("a label is too long")
            return []

        async with open_world("a.example:443", resolve=resolve) as world:
            assert reason_of(await world.ask(connect("a.example:443"))) == "name_not_found"

    @pytest.mark.usefixtures("no_dialling")
    async def test_a_resolver_that_hangs(self) -> None:
        async def resolve(_name: str) -> Sequence[Address]:
            await trio.sleep_forever()
            raise AssertionError

        bounds = EgressBounds(lookup_s=0.01)
        async with open_world("a.example:443", resolve=resolve, bounds=bounds) as world:
            answer = await world.ask(connect("a.example:443"))
        assert answer.startswith(b"HTTP/1.1 504")
        assert reason_of(answer) == "lookup_timed_out"

    async def test_a_server_that_isnt_there(self) -> None:
        async with open_server() as port:
            pass
        async with open_world(f"127.0.0.1:{port}") as world:
            answer = await world.ask(connect(f"127.0.0.1:{port}"))
            assert answer.startswith(b"HTTP/1.1 502")
            assert reason_of(answer) == "connect_failed"
            assert await world.ask(socks("127.0.0.1", port)) == b"\5\0\5\5\0\1" + bytes(6)
        end = world.gate.ends[0]
        assert (end.reason, end.detail, end.address) == (
            "connect_failed",
            "ECONNREFUSED",
            "127.0.0.1",
        )

    async def test_a_server_that_doesnt_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def connect_never(_address: Address, _port: int) -> trio.SocketStream:
            await trio.sleep_forever()
            raise AssertionError

        monkeypatch.setattr(dialer, "_connect", connect_never)
        async with open_world("8.8.8.8:443", bounds=EgressBounds(connect_s=0.01)) as world:
            answer = await world.ask(connect("8.8.8.8:443"))
        assert answer.startswith(b"HTTP/1.1 504")
        assert reason_of(answer) == "connect_timed_out"

    async def test_the_next_address_is_tried_and_recorded_first(self) -> None:
        async with open_server() as port:
            allow = [f"a.example:{port}"]
            allow += [f"127.0.0.{last}:{port}" for last in range(1, 6)]
            addresses = ["127.0.0.3", "127.0.0.2", "127.0.0.1"]
            async with open_world(*allow, resolve=resolving(a_example=addresses)) as world:
                assert (await world.ask(connect(f"a.example:{port}") + b"x")).endswith(b"x")
            assert [one.address for one in world.gate.attempts] == ["", *addresses]
            assert (await world.gate.wait_end()).address == "127.0.0.1"
            addresses = ["127.0.0.5", "127.0.0.4", "127.0.0.3", "127.0.0.1"]
            async with open_world(*allow, resolve=resolving(a_example=addresses)) as world:
                assert reason_of(await world.ask(connect(f"a.example:{port}"))) == "connect_failed"
            assert [one.address for one in world.gate.attempts] == ["", *addresses[:3]]


async def test_the_systems_resolver_is_asked_by_default() -> None:
    found = await dialer.SystemResolver(1)("localhost")
    assert ip_address("127.0.0.1") in found
    assert len(set(found)) == len(found)
    with pytest.raises(OSError, match=r"known|resolution"):
        await dialer.SystemResolver(1)("nothing.invalid")
