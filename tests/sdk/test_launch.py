"""What a host asks of a plugin is read from the environment, and answered by one line."""

import base64
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigil_actors.core.handshake import (
    COOKIE_KEY,
    COOKIE_VALUE,
    HandshakeOffer,
    Network,
    parse_handshake,
)
from sigil_actors.sdk.errors import NotLaunchedError
from sigil_actors.sdk.launch import handshake_line, read_launch

FOLDER = PurePosixPath("/run/plugin")


def offered(**changed: object) -> dict[str, str]:
    """Return the environment that this project's own host sets."""
    return HandshakeOffer(socket_dir=FOLDER, **changed).environment()  # type: ignore[arg-type]


def test_what_this_projects_host_offers_is_understood() -> None:
    launch = read_launch(offered(client_certificate="-----BEGIN"))
    assert launch.version == 1
    assert launch.socket_dir == Path(FOLDER)
    assert launch.client_certificate == "-----BEGIN"
    assert not launch.asks_for_multiplexing


def test_a_program_started_by_hand_says_that_it_is_a_plugin() -> None:
    with pytest.raises(NotLaunchedError, match="its host starts it"):
        read_launch({})


def test_a_host_of_another_application_is_told_apart() -> None:
    with pytest.raises(NotLaunchedError, match="another application"):
        read_launch({COOKIE_KEY: "other"})


@pytest.mark.parametrize(
    ("offer", "spoken", "chosen"),
    [
        ("1", (1,), 1),
        ("1,2,3", (1, 2), 2),
        ("3", (1, 2), 1),  # none in common: its own, which the host then refuses by name
        ("", (2,), 2),
        ("x,-1,2", (1, 2), 2),
    ],
)
def test_the_highest_version_that_both_speak_is_chosen(
    offer: str, spoken: tuple[int, ...], chosen: int
) -> None:
    environment = {COOKIE_KEY: COOKIE_VALUE, "PLUGIN_PROTOCOL_VERSIONS": offer}
    assert read_launch(environment, versions=spoken).version == chosen


@pytest.mark.parametrize("word", ["true", "false", "0"])
def test_any_text_at_all_asks_for_multiplexing(word: str) -> None:
    assert read_launch(offered() | {"PLUGIN_MULTIPLEX_GRPC": word}).asks_for_multiplexing


@given(st.text())
def test_no_list_of_versions_is_an_error(offer: str) -> None:
    environment = {COOKIE_KEY: COOKIE_VALUE, "PLUGIN_PROTOCOL_VERSIONS": offer}
    assert read_launch(environment).version == 1


@pytest.mark.parametrize("multiplex", [False, True])
def test_this_projects_host_reads_the_line(multiplex: bool) -> None:  # noqa: FBT001 - a parameter
    certificate = base64.b64encode(bytes([0x30, 0x82, 1, 0]) + bytes(256)).decode().rstrip("=")
    line = handshake_line(
        version=1,
        network="unix",
        address=f"{FOLDER}/plugin.sock",
        certificate=certificate,
        answers_multiplexing=multiplex,
    )
    offer = HandshakeOffer(socket_dir=FOLDER, client_certificate="-----BEGIN", multiplex=multiplex)
    told = parse_handshake(line.encode(), offer, plugin="p")
    assert told.network is Network.UNIX
    assert told.address == f"{FOLDER}/plugin.sock"
