"""Makes TLS client hellos, good ones and others, piece by piece."""

import ssl
import struct
from contextlib import suppress

PRETENDED = 0xFE0D


def vector(size: int, content: bytes) -> bytes:
    return len(content).to_bytes(size, "big") + content


def extension(kind: int, content: bytes) -> bytes:
    return struct.pack(">H", kind) + vector(2, content)


def server_name(name: bytes, *more: bytes, kind: int = 0) -> bytes:
    entries = b"".join(bytes((kind,)) + vector(2, one) for one in (name, *more))
    return extension(0, vector(2, entries))


def body(*extensions: bytes, session: bytes = bytes(32), suites: bytes = b"\x13\x01") -> bytes:
    start = b"\x03\x03" + bytes(32) + vector(1, session) + vector(2, suites) + vector(1, b"\0")
    return start + vector(2, b"".join(extensions))


def message(content: bytes, *, kind: int = 1) -> bytes:
    return bytes((kind,)) + vector(3, content)


def record(content: bytes, *, kind: int = 22, version: bytes = b"\x03\x01") -> bytes:
    return bytes((kind,)) + version + vector(2, content)


def records(content: bytes, size: int) -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(record(piece) for piece in pieces)


def hello(name: str, *extensions: bytes) -> bytes:
    return record(message(body(server_name(name.encode()), *extensions)))


def real_hello(name: str | None) -> bytes:
    """Return what Python's own TLS begins with."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()
