"""Lines that a plugin might begin with: broken, hostile, and nearly right."""

import base64
from collections import Counter
from random import Random

from sigil_actors.core.handshake import Handshake, HandshakeOffer, address_problem, parse_handshake
from sigil_actors.errors import HandshakeError
from tests.fuzz.report import FuzzReport, run_cases

NAME = "handshake"

_CERTIFICATE = base64.b64encode(b"\x30\x82\x01\x00" + bytes(256)).rstrip(b"=")
_OFFERS = (
    HandshakeOffer(socket_dir="/run/s/7"),
    HandshakeOffer(socket_dir="/run/s/7", client_certificate="PEM", versions=(1, 3)),
    HandshakeOffer(socket_dir="/run/s/7", multiplex=True),
)
_GOOD: tuple[tuple[bytes, ...], ...] = (
    (b"1",),
    (b"1", b"3"),
    (b"unix", b"tcp"),
    (b"/run/s/7/plugin1", b"127.0.0.1:10000", b"[::1]:1"),
    (b"grpc",),
    (b"", _CERTIFICATE),
    (b"", b"false", b"true"),
)
_PLACES = ((b"unix", b"/run/s/7/plugin1"), (b"tcp", b"127.0.0.1:10000"), (b"tcp", b"[::1]:1"))
_BAD = (
    *(b"", b"0", b"-1", b"01", b"+1", b"\xd9\xa1", b"9" * 400, b"netrpc", b"udp", b"true", b"|"),
    *(b"/run/s/7", b"/run/s/7/../x", b"/run/s/77/x", b"run/s/7/x", b"//run/s/7/x", b"/run/s/7//x"),
    *(b"0.0.0.0:1", b"127.0.0.1:0", b"127.0.0.1:65536", b"[::1%lo]:1", b"localhost:x", b"[:1"),
    *(b"=", b"AAAA", b"MAA", _CERTIFICATE[:-2], _CERTIFICATE * 2, b"MIL/////", b"MIQ", b"MA"),
    *(b"\0", b"\x1b[2J", b"\xff", b"\xc3\xa4", b"\xe2\x80\xae", b"\r", b"\n", b" ", b"\t"),
)


def run(cases: int, seed: int) -> FuzzReport:
    """Parse so many lines: nothing but a handshake that keeps to the offer, or its own error."""
    seen = Counter[str]()

    def case(random: Random) -> None:
        offer = random.choice(_OFFERS)
        line = _line(random, offer)
        try:
            handshake = parse_handshake(line, offer, plugin="fuzz")
        except HandshakeError as error:
            refusal = error
        else:
            seen["taken"] += 1
            _check(handshake, offer)
            return
        seen["refused"] += 1
        assert str(refusal).isprintable(), "an error that isn't fit to be shown"
        assert refusal.remedy, "an error without a remedy"

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(seen))


def _check(handshake: Handshake, offer: HandshakeOffer) -> None:
    assert handshake.version in offer.versions
    assert not address_problem(handshake.network, handshake.address, socket_dir=offer.socket_dir)
    assert bool(handshake.server_certificate) == bool(offer.client_certificate)
    assert offer.multiplex or not handshake.multiplex


def _line(random: Random, offer: HandshakeOffer) -> bytes:
    if random.random() < 0.1:
        return random.randbytes(random.randrange(100))
    fields = [random.choice(good) for good in _GOOD]
    if random.random() < 0.8:
        fields[2:4] = random.choice(_PLACES)
        fields[5] = _CERTIFICATE if offer.client_certificate else b""
        fields[6] = random.choice((b"", b"true")) if offer.multiplex else b""
    for _ in range(random.choice((0, 0, 1, 1, 2, 5))):
        fields[random.randrange(len(fields))] = random.choice(_BAD)
    line = b"|".join(fields[: random.choice((3, 4, 5, 6, 7, 7, 7, 7))])
    if random.random() < 0.2:
        at = random.randrange(len(line) + 1)
        line = line[:at] + random.choice((b"", random.choice(_BAD))) + line[at + 1 :]
    return line
