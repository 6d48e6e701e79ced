"""The connection against h2spec, the conformance suite of HTTP/2: `python -m tests.rpc.h2spec`.

h2spec is a program in Go, found on the PATH: `go install
github.com/summerwind/h2spec/cmd/h2spec@latest`. It wants a plain server that answers anything with
a body, so here is one, a thread a connection. Arguments are h2spec's own; `-S` is its strict mode.
"""

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress

from sigil_actors.rpc.connection import Connection
from sigil_actors.rpc.events import DataReceived, Event, HeadersReceived, TrailersReceived
from sigil_actors.rpc.hpack_encoding import encode
from sigil_actors.rpc.limits import Limits
from sigil_actors.rpc.stream import Stream

_RESPONSE = encode([(b":status", b"200"), (b"content-type", b"text/plain")])
_READ_BYTES = 65_536

_LIMITS = Limits(table_size=4096)
"""h2spec acknowledges our SETTINGS and goes on with a header table of 4,096 bytes all the same."""


def serve(sock: socket.socket) -> None:
    """Answer each request on one connection when it is whole."""
    connection = Connection(client=False, stream_factory=Stream, limits=_LIMITS)
    with sock, suppress(OSError):
        sock.sendall(connection.data_to_send())
        while not connection.closed and (data := sock.recv(_READ_BYTES)):
            for event in connection.receive(data, time.monotonic()):
                _answer(connection, event)
            while out := connection.data_to_send():
                sock.sendall(out)
        sock.shutdown(socket.SHUT_WR)


def _answer(connection: Connection[Stream], event: Event[Stream]) -> None:
    match event:
        case DataReceived(stream, _, flow_length, end):
            connection.consumed(stream, flow_length)
        case HeadersReceived(stream, _, end):
            pass
        case TrailersReceived(stream, _):
            end = True
        case _:
            return
    if end and not stream.sealed:
        connection.send_headers(stream, _RESPONSE)
        connection.send_data(stream, b"hello world", end=True)


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):  # closed, at the end
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()


def main(arguments: Sequence[str]) -> int:
    """Run as a program; returns h2spec's exit status."""
    program = shutil.which("h2spec")
    if program is None:
        sys.stderr.write("h2spec isn't on the PATH; see this module's first lines\n")
        return os.EX_UNAVAILABLE
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        port = str(listener.getsockname()[1])
        command = [program, "-h", "127.0.0.1", "-p", port, *arguments]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
