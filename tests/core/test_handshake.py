"""Only an answer to what was offered is taken; every other says what its author can do."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.handshake import (
    LINE_BYTES_MAX,
    Handshake,
    HandshakeOffer,
    Network,
    address_problem,
    missing_handshake_error,
    parse_handshake,
)
from sigil_actors.errors import HandshakeError

OFFER = HandshakeOffer(socket_dir="/run/s/7")
TLS_OFFER = HandshakeOffer(socket_dir="/run/s/7", client_certificate="-----BEGIN …")
DER = b"\x30\x82\x01\x00" + b"x" * 256


def parse(line: str, offer: HandshakeOffer = OFFER) -> Handshake:
    return parse_handshake(line.encode(), offer, plugin="echo")


def refusal(line: str, offer: HandshakeOffer = OFFER) -> str:
    with pytest.raises(HandshakeError) as caught:
        parse(line, offer)
    assert caught.value.plugin == "echo"
    assert caught.value.remedy
    assert str(caught.value).isprintable()
    return str(caught.value)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def test_the_environment_is_what_go_plugin_reads() -> None:
    assert OFFER.environment() == {
        "SIGIL_PLUGIN": "aGFzaGljb3JwLWdvLXBsdWdpbg==",
        "PLUGIN_PROTOCOL_VERSIONS": "1",
        "PLUGIN_MIN_PORT": "10000",
        "PLUGIN_MAX_PORT": "25000",
        "PLUGIN_UNIX_SOCKET_DIR": "/run/s/7",
    }
    assert HandshakeOffer(
        socket_dir="/s",
        cookie_key="OTHER",
        cookie_value="c",
        versions=(5, 4),
        port_min=1,
        port_max=2,
        client_certificate="PEM",
        multiplex=True,
    ).environment() == {
        "OTHER": "c",
        "PLUGIN_PROTOCOL_VERSIONS": "5,4",
        "PLUGIN_MIN_PORT": "1",
        "PLUGIN_MAX_PORT": "2",
        "PLUGIN_UNIX_SOCKET_DIR": "/s",
        "PLUGIN_CLIENT_CERT": "PEM",
        "PLUGIN_MULTIPLEX_GRPC": "true",
    }


@pytest.mark.parametrize(
    "line",
    [
        "1|1|unix|/run/s/7/plugin1|grpc",
        "1|1|unix|/run/s/7/plugin1|grpc|",
        "1|1|unix|/run/s/7/plugin1|grpc||",
        "1|1|unix|/run/s/7/plugin1|grpc||false",
        "1|1|unix|/run/s/7/plugin1|grpc||false|what|comes|later",
        " 1|1|unix|/run/s/7/plugin1|grpc\r\n",
    ],
)
def test_an_answer_to_the_offer_is_taken(line: str) -> None:
    assert parse(line) == Handshake(
        version=1, network=Network.UNIX, address="/run/s/7/plugin1", multiplex=False
    )


@pytest.mark.parametrize(
    "address", ["127.0.0.1:10000", "127.3.2.1:1", "[::1]:65535", "localhost:80"]
)
def test_a_port_of_the_loopback_interface_is_taken(address: str) -> None:
    assert parse(f"1|1|tcp|{address}|grpc").address == address


@pytest.mark.parametrize(
    "line", ["", "hello", "1|1|unix", "|||", "\x00\x1b[2J", "1|1|unix|/run/s/7/x\x00y|grpc"]
)
def test_what_is_no_handshake_is_refused(line: str) -> None:
    refusal(line)


def test_a_line_that_is_no_text_or_too_long_is_refused() -> None:
    with pytest.raises(HandshakeError, match="no handshake"):
        parse_handshake(b"\xff|1|unix|/run/s/7/x|grpc", OFFER, plugin="echo")
    assert "more than 64 KiB" in refusal("1|1|unix|/run/s/7/x|grpc|" + "x" * LINE_BYTES_MAX)


def test_versions_that_were_not_offered_are_refused() -> None:
    assert "core protocol version '2'" in refusal("2|1|unix|/run/s/7/x|grpc")
    offer = HandshakeOffer(socket_dir="/run/s/7", versions=(3, 4))
    assert parse("1|4|unix|/run/s/7/x|grpc", offer).version == 4
    for version in ("1", "", "-3", "03", "+3", "٣", "3.0", "9" * 5000):
        assert "offers 3, 4" in refusal(f"1|{version}|unix|/run/s/7/x|grpc", offer)


def test_a_protocol_other_than_grpc_is_refused() -> None:
    for line in ("1|1|unix|/run/s/7/x", "1|1|unix|/run/s/7/x|", "1|1|unix|/run/s/7/x|netrpc"):
        assert "'netrpc'" in refusal(line)
    assert "'GRPC'" in refusal("1|1|unix|/run/s/7/x|GRPC")


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("unix", ""),
        ("unix", "relative"),
        ("unix", "/run/s/7"),
        ("unix", "/run/s/77/x"),
        ("unix", "/run/s/7/../x"),
        ("unix", "/run/s/7/../7/x"),
        ("unix", "//run/s/7/x"),
        ("unix", "@/run/s/7/x"),
        ("unix", "\u202e/run/s/7/x"),
        ("tcp", ""),
        ("tcp", "127.0.0.1"),
        ("tcp", "127.0.0.1:"),
        ("tcp", "127.0.0.1:0"),
        ("tcp", "127.0.0.1:65536"),
        ("tcp", "127.0.0.1:" + "9" * 5000),
        ("tcp", "127.0.0.1:٣٣"),
        ("tcp", "127.0.0.1:-1"),
        ("tcp", "127.1:80"),
        ("tcp", "0.0.0.0:80"),
        ("tcp", "[::]:80"),
        ("tcp", "[::1%eth0]:80"),
        ("tcp", "10.0.0.1:80"),
        ("tcp", "169.254.169.254:80"),
        ("tcp", "localhost.example.org:80"),
        ("tcp", "user@127.0.0.1:80"),
        ("tcp", ":80"),
        ("udp", "127.0.0.1:80"),
        ("", "127.0.0.1:80"),
        ("UNIX", "/run/s/7/x"),
    ],
)
def test_an_address_that_is_not_the_plugins_own_is_refused(network: str, address: str) -> None:
    assert "listens where it may not" in refusal(f"1|1|{network}|{address}|grpc")
    assert address_problem(network, address, socket_dir=OFFER.socket_dir)


def test_a_certificate_is_there_exactly_where_one_was_asked_for() -> None:
    line = "1|1|unix|/run/s/7/x|grpc"
    assert parse(f"{line}|{encoded(DER)}", TLS_OFFER).server_certificate == DER
    for empty in (line, f"{line}|", f"{line}||false"):
        assert "without a certificate though the host asked" in refusal(empty, TLS_OFFER)
    assert "asked for none" in refusal(f"{line}|{encoded(DER)}")


@pytest.mark.parametrize(
    "field",
    [
        "x",
        "????",
        encoded(b"not a certificate"),
        encoded(DER) + "=",
        base64.b64encode(DER).decode(),
        encoded(DER + DER),
        encoded(DER + b"x"),
        encoded(DER[:-1]),
        encoded(b"\x30"),
        encoded(b"\x30\x00"),
        encoded(b"\x30\x80"),
        encoded(b"\x30\xff\x00"),
        encoded(DER) + "\u00e4",
    ],
)
def test_a_certificate_that_is_not_one_alone_is_refused(field: str) -> None:
    assert "can't be read" in refusal(f"1|1|unix|/run/s/7/x|grpc|{field}", TLS_OFFER)


def test_multiplexing_that_was_not_asked_for_is_refused() -> None:
    line = "1|1|unix|/run/s/7/x|grpc|"
    assert "didn't ask" in refusal(f"{line}|true")
    assert "'yes'" in refusal(f"{line}|yes")
    offer = HandshakeOffer(socket_dir="/run/s/7", multiplex=True)
    assert parse(f"{line}|true", offer).multiplex is True
    assert parse(f"{line}|false", offer).multiplex is False
    assert parse(line, offer).multiplex is False


def test_a_plugin_that_says_nothing_is_told_with_its_last_words() -> None:
    error = missing_handshake_error(
        "echo", "exited with status 1", last_words=("This binary is a plugin.", "Bye.")
    )
    assert str(error).startswith("plugin 'echo' exited with status 1, and told no address before;")
    assert "This binary is a plugin. | Bye." in str(error)
    assert "cookie" in error.remedy
    assert "last words" not in str(missing_handshake_error("echo", "ended its output"))


fields = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        [
            "1",
            "unix",
            "tcp",
            "/run/s/7/x",
            "127.0.0.1:1",
            "grpc",
            "netrpc",
            "true",
            "false",
            "",
            "2",
        ]
    ),
    st.just(encoded(DER)),
)


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(fields, max_size=9).map(lambda parts: "|".join(parts).encode()),
    ),
    st.sampled_from([OFFER, TLS_OFFER, HandshakeOffer(socket_dir="/run/s/7", multiplex=True)]),
)
def test_no_line_whatever_makes_it_raise_anything_but_its_own_error(
    line: bytes, offer: HandshakeOffer
) -> None:
    try:
        handshake = parse_handshake(line, offer, plugin="echo")
    except HandshakeError:
        return
    assert handshake.version in offer.versions
    assert bool(handshake.server_certificate) == bool(offer.client_certificate)
    assert offer.multiplex or not handshake.multiplex
    assert not address_problem(handshake.network, handshake.address, socket_dir=offer.socket_dir)
