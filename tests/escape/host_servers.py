"""The host that attacks are aimed at: a process with a secret, and servers that tell it.

Started as `python host_servers.py FOLDER WORD victim`, with the secret in its environment; prints
where it listens as one line of JSON and serves until its input ends. WORD is only there to be seen
on the command line.
"""

import json
import os
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

SECRET = os.environ["SIGIL_TEST_SECRET"].encode()


def serve(listener: socket.socket, answer: bytes) -> None:
    """Answer every connection with `answer`, as HTTP where it asks so."""
    while True:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.settimeout(5)
            asked = connection.recv(4096)
            if asked.startswith(b"GET "):
                head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
                connection.sendall(head + answer)
            else:
                connection.sendall(answer)


def serve_datagrams(bound: socket.socket) -> None:
    """Answer every datagram with the secret."""
    while True:
        _, sender = bound.recvfrom(4096)
        with suppress(OSError):
            bound.sendto(SECRET, sender)


def listening(family: int, address: tuple[str, int] | str | bytes) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen(64)
    return listener


def in_background(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()


def outer_address() -> str:
    """Return an address of this machine that isn't loopback; empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, suppress(OSError):
        asking.connect(("192.0.2.1", 9))  # a datagram socket sends nothing by connecting
        return str(asking.getsockname()[0])
    return ""


def main(folder: Path) -> None:
    everywhere = listening(socket.AF_INET, ("0.0.0.0", 0))
    six = listening(socket.AF_INET6, ("::1", 0))
    unix_path = str(folder / "host.sock")
    unix = listening(socket.AF_UNIX, unix_path)
    Path(unix_path).chmod(0o777)
    abstract_name = f"sigil-escape-{os.getpid()}"
    abstract = listening(socket.AF_UNIX, b"\0" + abstract_name.encode())
    allowed = listening(socket.AF_INET, ("127.0.0.1", 0))
    denied = listening(socket.AF_INET, ("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    for listener in (everywhere, six, unix, abstract, denied):
        in_background(serve, listener, SECRET)
    in_background(serve, allowed, b"allowed")
    in_background(serve_datagrams, udp)
    told = {
        "tcp_port": everywhere.getsockname()[1],
        "tcp6_port": six.getsockname()[1],
        "udp_port": udp.getsockname()[1],
        "unix_socket": unix_path,
        "abstract_socket": abstract_name,
        "allowed_port": allowed.getsockname()[1],
        "denied_port": denied.getsockname()[1],
        "outer_address": outer_address(),
        "victim": os.getpid(),
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - this is how whoever started it is told
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
