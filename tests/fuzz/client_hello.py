"""Bytes that a client might begin a tunnel with: TLS of every shape, broken, cut and fragmented.

Whatever the guard lets pass is read again by a plain parser of this file, which takes what a
lenient server would: it must never find another name than the tunnel's.
"""

from collections import Counter
from collections.abc import Iterator
from random import Random

from sigil_actors.core.client_hello import RAW_BYTES_MAX
from sigil_actors.core.egress_rule import CanonicalHost, canonical_host
from sigil_actors.core.server_name import ServerNameError, ServerNameGuard
from tests.fuzz.report import FuzzReport, run_cases

NAME = "client_hello"

_HOSTS = (canonical_host("a.example"), canonical_host("192.0.2.1"))
_NAMES = (b"a.example", b"a.example", b"a.example", b"A.EXAMPLE", b"a.example.", b"b.example")
_ODD_NAMES = (b"", b"192.0.2.1", b"\xff", b"a.example\0", b"xa.example", b"a" * 300)
_GREASE = (0x0A0A, 10, 11, 13, 16, 43, 45, 51, 42, 0xFE0D)


def run(cases: int, seed: int) -> FuzzReport:
    """Guard so many tunnels."""
    seen = Counter[str]()

    def case(random: Random) -> None:
        host = random.choice(_HOSTS)
        data = _stream(random)
        passed, refused = _guarded(random, host, data)
        seen["refused" if refused else "passed"] += 1
        assert data.startswith(passed), "other bytes than the client's"
        for name in _names_for_a_lenient_server(passed):
            seen["hellos passed"] += 1
            if name is None:
                assert host.is_address, "a hello without a name to a name"
            else:
                assert canonical_host(name.decode("ascii")) == host, "a hello for another server"

    return run_cases(NAME, cases, seed, case, counts=lambda: dict(seen))


def _guarded(random: Random, host: CanonicalHost, data: bytes) -> tuple[bytes, bool]:
    guard = ServerNameGuard(host)
    passed = b""
    at = 0
    while at < len(data):
        size = random.choice((1, 2, 5, 40, 1000, len(data)))
        try:
            passed += guard.receive(data[at : at + size])
        except ServerNameError:
            return passed, True
        at += size
        assert len(guard._held) <= RAW_BYTES_MAX + size, "held more than the bound"
    return passed, False


def _names_for_a_lenient_server(data: bytes) -> Iterator[bytes | None]:
    """Yield what the first two hellos ask for; None for a hello without a name."""
    message = b""
    hellos = 0
    early = False
    while len(data) >= 5 and data[0] in range(20, 25) and data[1] == 3 and hellos < 2:
        kind, length = data[0], int.from_bytes(data[3:5])
        content, data = data[5 : 5 + length], data[5 + length :]
        if len(content) < length:
            return
        if kind == 23 and not (hellos and early):
            return
        if kind != 22:
            continue
        message += content
        while len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4]):
            end = 4 + int.from_bytes(message[1:4])
            hello, message = message[:end], message[end:]
            if hello[0] != 1 or hello[4:5] != b"\3":
                return
            found = _read_leniently(hello[4:])
            if found is None:
                return
            names, early = found
            if names:
                yield from names
            else:
                yield None
            hellos += 1
            if hellos == 2:
                return


def _read_leniently(body: bytes) -> tuple[list[bytes], bool] | None:
    """Return every name of a hello and whether it offers early data; None where it is broken."""
    try:
        at = 34
        at += 1 + body[at]
        at += 2 + int.from_bytes(body[at : at + 2])
        at += 1 + body[at]
        end = at + 2 + int.from_bytes(body[at : at + 2])
        if at == len(body):
            return [], False
    except IndexError:
        return None
    if end > len(body):
        return None
    at += 2
    names: list[bytes] = []
    early = False
    while at + 4 <= end:
        kind, length = int.from_bytes(body[at : at + 2]), int.from_bytes(body[at + 2 : at + 4])
        content = body[at + 4 : at + 4 + length]
        at += 4 + length
        early = early or kind == 42
        listed = content[2:] if kind == 0 else b""
        while len(listed) >= 3:
            size = int.from_bytes(listed[1:3])
            names.append(listed[3 : 3 + size])
            listed = listed[3 + size :]
    return names, early


def _stream(random: Random) -> bytes:
    if random.random() < 0.05:
        return random.randbytes(random.randrange(80))
    parts = [_hello(random)]
    parts.extend(_later(random) for _ in range(random.choice((0, 1, 1, 2, 4))))
    if random.random() < 0.1:
        random.shuffle(parts)
    data = b"".join(parts)
    for _ in range(random.choice((0, 0, 0, 1, 2))):
        at = random.randrange(len(data))
        data = data[:at] + random.choice((b"", random.randbytes(1), b"\0\0")) + data[at + 1 :]
    return data


def _later(random: Random) -> bytes:
    return random.choice(
        (
            _hello(random),
            _record(b"\1", kind=20),
            _record(b"\1\0", kind=21),
            _record(random.randbytes(20), kind=23),
            _record(b"\x10\0\0\3abc"),
            _record(random.randbytes(40)),
        )
    )


def _hello(random: Random) -> bytes:
    names = [random.choice(_NAMES if random.random() < 0.9 else _ODD_NAMES)]
    extensions = []
    if random.random() < 0.8:
        if random.random() < 0.05:
            names.append(random.choice(_NAMES))
        listed = b"".join(bytes((random.random() < 0.02,)) + _vector(2, name) for name in names)
        extensions.append(b"\0\0" + _vector(2, _vector(2, listed)))
        if random.random() < 0.03:
            again = b"\0" + _vector(2, random.choice(_NAMES))
            extensions.append(b"\0\0" + _vector(2, _vector(2, again)))
    for _ in range(random.randrange(4)):
        kind = random.choice(_GREASE if random.random() < 0.3 else _GREASE[:-1])
        extensions.append(kind.to_bytes(2) + _vector(2, random.randbytes(random.randrange(9))))
    if random.random() < 0.03:
        extensions.append(random.choice(extensions) if extensions else b"\0")
    random.shuffle(extensions)
    body = b"\3\3" + bytes(32) + _vector(1, bytes(random.choice((0, 32)))) + b"\0\2\x13\1\1\0"
    if extensions or random.random() < 0.5:
        body += _vector(2, b"".join(extensions))
    message = b"\1" + _vector(3, body)
    if random.random() < 0.02:
        message += random.choice((message, b"\0"))
    step = random.choice((len(message), len(message), 1, 3, 50))
    return b"".join(_record(message[at : at + step]) for at in range(0, len(message), step))


def _record(content: bytes, *, kind: int = 22) -> bytes:
    return bytes((kind, 3, 1)) + _vector(2, content)


def _vector(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size) + content
