"""Attacks on the egress proxy: reach by some spelling what `network.allow` doesn't name.

Without a sandbox there is no proxy and the server is reached directly, which is the attack's point.
"""

import socket
import struct

from .harness import Facts, HeldError, attack
from .network import ask, secret_from

PATIENCE_S = 5.0


def tell_proxy(facts: Facts, *pieces: bytes) -> str:
    """Send the pieces, each after an answer to the one before; return all that came back.

    Raises:
        HeldError: the server's secret isn't in it.
    """
    if not facts.proxy:
        return secret_from(ask(socket.AF_INET, ("127.0.0.1", facts.denied_port)), facts)
    host, port = facts.proxy.rsplit(":", 1)
    got = b""
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as proxy:
        for piece in pieces:
            proxy.sendall(piece)
            got += proxy.recv(4096)
        try:
            while more := proxy.recv(4096):
                got += more
        except TimeoutError:
            pass
    return secret_from(got.decode("latin-1"), facts)


def get(target: str, host: str, *more: str) -> bytes:
    """Return a plain request for `target`."""
    return "\r\n".join([f"GET {target} HTTP/1.1", f"Host: {host}", *more, "", ""]).encode()


def connect(target: str) -> bytes:
    """Return a request for a tunnel."""
    return f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode()


@attack("proxy")
def tunnel_to_another_port(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"127.0.0.1:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_by_another_name(facts: Facts) -> str:
    return tell_proxy(
        facts, connect(f"localhost:{facts.allowed_port + 0}"), b"who?\n"
    ) + tell_proxy(facts, connect(f"localhost:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_by_a_number(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"2130706433:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_by_a_short_number(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"127.1:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_by_a_hexadecimal_number(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"0x7f000001:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_by_an_address_in_another_family(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"[::ffff:127.0.0.1]:{facts.denied_port}"), b"who?\n")


@attack("proxy")
def tunnel_to_a_service_name(facts: Facts) -> str:
    return tell_proxy(facts, connect(f"127.0.0.1:0{facts.denied_port}"), b"who?\n")


@attack("proxy")
def hide_the_target_behind_a_user(facts: Facts) -> str:
    target = f"http://127.0.0.1:{facts.allowed_port}@127.0.0.1:{facts.denied_port}/"
    return tell_proxy(facts, get(target, f"127.0.0.1:{facts.allowed_port}"))


@attack("proxy")
def name_the_target_in_the_host_header_only(facts: Facts) -> str:
    return tell_proxy(facts, get("/", f"127.0.0.1:{facts.denied_port}"))


@attack("proxy")
def name_another_host_than_the_target(facts: Facts) -> str:
    target = f"http://127.0.0.1:{facts.denied_port}/"
    return tell_proxy(facts, get(target, f"127.0.0.1:{facts.allowed_port}"))


@attack("proxy")
def send_a_second_request_behind_an_allowed_one(facts: Facts) -> str:
    first = get(f"http://127.0.0.1:{facts.allowed_port}/", f"127.0.0.1:{facts.allowed_port}")
    second = get(f"http://127.0.0.1:{facts.denied_port}/", f"127.0.0.1:{facts.denied_port}")
    return tell_proxy(facts, first + second)


@attack("proxy")
def smuggle_a_request_in_a_body(facts: Facts) -> str:
    allowed = f"127.0.0.1:{facts.allowed_port}"
    hidden = get(f"http://127.0.0.1:{facts.denied_port}/", f"127.0.0.1:{facts.denied_port}")
    head = get(f"http://{allowed}/", allowed, "Content-Length: 5", "Transfer-Encoding: chunked")
    return tell_proxy(facts, head + b"0\r\n\r\n" + hidden)


@attack("proxy")
def break_the_line_of_the_request(facts: Facts) -> str:
    allowed = f"127.0.0.1:{facts.allowed_port}"
    target = f"http://{allowed}/ HTTP/1.1\nHost: {allowed}\n\nCONNECT 127.0.0.1:{facts.denied_port}"
    return tell_proxy(facts, get(target, allowed), b"who?\n")


@attack("proxy")
def fold_a_header(facts: Facts) -> str:
    allowed = f"127.0.0.1:{facts.allowed_port}"
    return tell_proxy(
        facts, get(f"http://{allowed}/", f"{allowed}\r\n 127.0.0.1:{facts.denied_port}")
    )


@attack("proxy")
def use_another_scheme(facts: Facts) -> str:
    return tell_proxy(facts, get(f"file://127.0.0.1:{facts.denied_port}/", "127.0.0.1"))


def socks(address: bytes, port: int, *, command: int = 1) -> bytes:
    """Return a request of SOCKS5."""
    return bytes((5, command, 0)) + address + struct.pack(">H", port)


@attack("proxy")
def ask_socks_for_another_port(facts: Facts) -> str:
    wanted = socks(bytes((1, 127, 0, 0, 1)), facts.denied_port)
    return tell_proxy(facts, b"\5\1\0", wanted, b"who?\n")


@attack("proxy")
def ask_socks_by_name(facts: Facts) -> str:
    name = b"localhost"
    wanted = socks(bytes((3, len(name))) + name, facts.denied_port)
    return tell_proxy(facts, b"\5\1\0", wanted, b"who?\n")


@attack("proxy")
def ask_socks_over_ipv6(facts: Facts) -> str:
    address = bytes(10) + b"\xff\xff\x7f\0\0\1"
    return tell_proxy(facts, b"\5\1\0", socks(b"\4" + address, facts.denied_port), b"who?\n")


@attack("proxy")
def ask_socks_to_listen(facts: Facts) -> str:
    wanted = socks(bytes((1, 127, 0, 0, 1)), facts.denied_port, command=2)
    return tell_proxy(facts, b"\5\1\0", wanted, b"who?\n")


@attack("proxy")
def ask_socks_for_datagrams(facts: Facts) -> str:
    wanted = socks(bytes((1, 127, 0, 0, 1)), facts.denied_port, command=3)
    return tell_proxy(facts, b"\5\1\0", wanted, b"who?\n")


@attack("proxy")
def name_a_server_inside_an_allowed_tunnel(facts: Facts) -> str:
    """Ask for one server and greet another: what stands behind a shared address would answer."""
    if not facts.proxy:
        return tell_proxy(facts)
    host, port = facts.proxy.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=PATIENCE_S) as proxy:
        proxy.sendall(connect(f"127.0.0.1:{facts.allowed_port}"))
        answer = proxy.recv(4096)
        if b" 200 " not in answer:
            raise OSError(f"an allowed tunnel was refused: {answer[:80]!r}")
        proxy.sendall(hello_for("secret.example"))
        got = proxy.recv(4096)
    if not got:
        raise HeldError("the tunnel was cut")
    return got.decode("latin-1")


def hello_for(name: str) -> bytes:
    """Return the first record of a TLS client that asks for the server `name`."""
    encoded = name.encode()
    entry = b"\0" + struct.pack(">H", len(encoded)) + encoded
    listed = struct.pack(">H", len(entry)) + entry
    extension = struct.pack(">HH", 0, len(listed)) + listed
    body = (
        b"\3\3" + bytes(32) + b"\0" + struct.pack(">H", 2) + b"\x13\x01" + b"\1\0"
        + struct.pack(">H", len(extension)) + extension
    )  # fmt: skip
    handshake = b"\1" + len(body).to_bytes(3, "big") + body
    return b"\x16\3\1" + struct.pack(">H", len(handshake)) + handshake
