"""A program of its own that opens sockets inside of sandboxes; never imported by the host.

Entering a user namespace is refused to a process with threads, and a host has some. So this one is
started once, has a single thread, and forks for each request: the child enters the namespaces and
ends. It imports nothing of the package, so that it starts fast and does nothing else.

Its standard input is a socket on which each datagram is a request, with two descriptors: where to
answer, and the network namespace. It ends when the host's end of that socket is closed, so also
when the host is killed.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct

REQUEST = struct.Struct("=cH")
"""What to do, and the port."""
LISTEN = b"L"
CONNECT = b"C"

ANSWER = struct.Struct("=i")
"""0 with a descriptor, or the number of the error."""

BACKLOG = 128
"""Connections that wait to be accepted: the usual one."""

REQUEST_S = 10
"""Seconds that a child lives at most. It needs one millisecond; a plugin that doesn't answer a
connection attempt must not keep it."""

_NS_GET_USERNS = 0xB701
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWNET = 0x40000000


def enter(network: int) -> None:
    """Enter a network namespace, and the user namespace that it belongs to, if it isn't ours."""
    owner = fcntl.ioctl(network, _NS_GET_USERNS)
    if not os.path.sameopenfile(owner, os.open("/proc/self/ns/user", os.O_RDONLY)):
        _set_namespace(owner, _CLONE_NEWUSER)
    _set_namespace(network, _CLONE_NEWNET)


def _set_namespace(descriptor: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, kind):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def open_socket(order: bytes, port: int) -> socket.socket:
    """Listen at the loopback's port, or connect to it."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if order == LISTEN:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.listen(BACKLOG)
    else:
        made.connect(("127.0.0.1", port))
    return made


def serve_one(request: bytes, answers: socket.socket, network: int) -> None:
    """Do what one request says, and answer."""
    signal.alarm(REQUEST_S)
    try:
        order, port = REQUEST.unpack(request)
        enter(network)
        made = open_socket(order, port)
    except OSError as error:
        answers.send(ANSWER.pack(error.errno or 1))
    else:
        socket.send_fds(answers, [ANSWER.pack(0)], [made.fileno()])


def main() -> None:
    """Take requests until the host is gone."""
    # So that no child becomes a zombie that nobody waits for.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    requests = socket.socket(fileno=0)
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, REQUEST.size + 1, 2)
        if not request:
            return
        if len(descriptors) == len(("answers", "network")) and os.fork() == 0:
            # Whatever goes wrong, the child ends here: it must never take another request.
            try:
                requests.close()
                serve_one(request, socket.socket(fileno=descriptors[0]), descriptors[1])
            finally:
                os._exit(0)
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    main()
