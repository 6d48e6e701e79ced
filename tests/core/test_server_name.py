"""What may pass into a tunnel: nothing that asks for another server than the tunnel's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.core.egress_rule import canonical_host
from sigil_actors.core.server_name import ServerNameError, ServerNameGuard
from tests.core.hello_bytes import (
    body,
    extension,
    hello,
    message,
    real_hello,
    record,
    records,
    server_name,
)

CHANGE = record(b"\1", kind=20)
DATA = record(b"encrypted", kind=23)
EARLY = extension(42, b"")


def guard(host: str = "api.example.com") -> ServerNameGuard:
    return ServerNameGuard(canonical_host(host))


def passes(data: bytes, *, host: str = "api.example.com", size: int | None = None) -> bool:
    """Tell whether all of it passes in the end; what is passed is always its beginning."""
    standing = guard(host)
    passed = b""
    for at in range(0, len(data), size or len(data)):
        passed += standing.receive(data[at : at + (size or len(data))])
        assert data.startswith(passed)
    return passed == data


def refusal(data: bytes, *, host: str = "api.example.com", size: int | None = None) -> EgressReason:
    with pytest.raises(ServerNameError) as caught:
        passes(data, host=host, size=size)
    return caught.value.reason


@pytest.mark.parametrize("size", [1, 3, 5, 64, None])
@pytest.mark.parametrize(
    "data",
    [
        real_hello("api.example.com") + CHANGE + DATA,
        real_hello("API.example.com."[:-1]) + DATA,
        hello("api.example.com") + record(message(bytes(50), kind=16)) + CHANGE + record(bytes(40)),
        hello("api.example.com") + CHANGE + hello("api.example.com") + DATA,
        hello("api.example.com", EARLY) + DATA + DATA + hello("api.example.com") + DATA,
        hello("api.example.com") + record(b"\1\0", kind=21) + DATA,
        hello("api.example.com") + b"nonsense",
        b"SSH-2.0-client\r\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
    ],
)
def test_what_asks_for_the_tunnels_server_passes_as_it_is(data: bytes, size: int | None) -> None:
    assert passes(data, size=size)


@pytest.mark.parametrize("size", [1, 3, 64, None])
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (real_hello("other.example"), EgressReason.SERVER_NAME_DIFFERS),
        (hello("x.api.example.com"), EgressReason.SERVER_NAME_DIFFERS),
        (hello("not a name"), EgressReason.SERVER_NAME_DIFFERS),
        (real_hello(None), EgressReason.SERVER_NAME_MISSING),
        (b"\x80\x2e\x01\x03\x01" + bytes(40), EgressReason.SERVER_NAME_MISSING),
        (hello("api.example.com", extension(0xFE0D, b"")), EgressReason.SERVER_NAME_HIDDEN),
        (record(message(b"x")), EgressReason.MALFORMED_HELLO),
        (record(message(b"", kind=16)), EgressReason.MALFORMED_HELLO),
        (hello("api.example.com") + hello("other.example"), EgressReason.SERVER_NAME_DIFFERS),
        (
            hello("api.example.com") + CHANGE + hello("other.example"),
            EgressReason.SERVER_NAME_DIFFERS,
        ),
        (
            hello("api.example.com", EARLY) + DATA + hello("other.example"),
            EgressReason.SERVER_NAME_DIFFERS,
        ),
        (
            hello("api.example.com")
            + record(b"\1\0", kind=21)
            + records(message(body(server_name(b"other.example"))), 1),
            EgressReason.SERVER_NAME_DIFFERS,
        ),
        (hello("api.example.com") + record(message(body())), EgressReason.SERVER_NAME_MISSING),
        (
            record(
                message(body(server_name(b"api.example.com")))
                + message(body(server_name(b"other.example")))
            ),
            EgressReason.MALFORMED_HELLO,
        ),
    ],
)
def test_what_asks_for_another_server_or_none_is_cut(
    data: bytes, reason: EgressReason, size: int | None
) -> None:
    assert refusal(data, size=size) is reason


def test_not_a_byte_of_a_refused_hello_has_passed() -> None:
    standing = guard()
    data = hello("other.example")
    assert standing.receive(data[:-1]) == b""
    assert standing.is_holding
    with pytest.raises(ServerNameError) as caught:
        standing.receive(data[-1:])
    assert caught.value.seen == "other.example"


def test_not_a_byte_of_a_second_hello_passes_before_it_is_whole() -> None:
    standing = guard()
    first, second = hello("api.example.com"), hello("other.example")
    assert standing.receive(first + second[:-1]) == first
    assert standing.is_holding
    with pytest.raises(ServerNameError):
        standing.receive(second[-1:])


def test_nothing_is_held_while_the_server_has_its_turn() -> None:
    standing = guard()
    standing.receive(hello("api.example.com"))
    assert not standing.is_holding
    assert not standing.is_done
    standing.receive(CHANGE + DATA)
    assert standing.is_done


def test_a_third_hello_is_nobodys_business() -> None:
    two = hello("api.example.com") + hello("api.example.com")
    standing = guard()
    assert standing.receive(two) == two
    assert standing.is_done


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1"])
def test_to_an_address_tls_asks_for_no_server_or_for_that_address(address: str) -> None:
    assert passes(real_hello(None) + DATA, host=address)
    assert passes(hello(address) + DATA, host=address)
    assert refusal(real_hello("a.example"), host=address) is EgressReason.SERVER_NAME_DIFFERS
    assert refusal(real_hello(None) + hello("a.example"), host=address) is (
        EgressReason.SERVER_NAME_DIFFERS
    )


@given(
    st.lists(
        st.sampled_from(
            [
                hello("api.example.com"),
                hello("api.example.com", EARLY),
                CHANGE,
                DATA,
                record(b"\1\0", kind=21),
                record(message(bytes(9), kind=16)),
                record(bytes(40)),
                hello("other.example"),
                b"\x16",
                b"other",
            ]
        ),
        max_size=6,
    ),
    st.integers(1, 200),
)
def test_how_bytes_are_cut_changes_nothing(pieces: list[bytes], size: int) -> None:
    data = b"".join(pieces)

    def outcome(step: int) -> tuple[EgressReason | None, bool]:
        standing = guard()
        try:
            for at in range(0, len(data), step):
                standing.receive(data[at : at + step])
        except ServerNameError as error:
            return error.reason, False
        return None, standing.is_done

    assert outcome(size) == outcome(max(1, len(data)))
