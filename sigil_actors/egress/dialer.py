"""Looks names up and connects, each once and within its time. Decides nothing."""

import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

import trio

from sigil_actors.actors.worker_thread import run_in_worker
from sigil_actors.core.address_class import Address
from sigil_actors.core.egress_reason import EgressReason
from sigil_actors.egress.bounds import EgressBounds

Resolve: TypeAlias = Callable[[str], Awaitable[Sequence[Address]]]
"""Returns the addresses of a name, best first. Raises `OSError` where it has none."""

_PORT_OF_NO_MATTER = 9


class NetworkError(Exception):
    """The network didn't do what was asked of it. `detail` is the system's word for it."""

    def __init__(self, reason: EgressReason, detail: str = "") -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(reason, detail)


class SystemResolver:
    """`Resolve` by the system's resolver, in threads of its own."""

    def __init__(self, lookups: int) -> None:
        # Not trio's common threads: a lookup that was given up holds its thread until the resolver
        # gives up too, and one plugin's slow names must not be everybody's.
        self._limiter = trio.CapacityLimiter(lookups)

    async def __call__(self, name: str) -> Sequence[Address]:
        """Return the addresses of a name, in the system's order of preference."""
        # As bytes, since Python would put a text through a coding of its own.
        encoded = name.encode("ascii")
        found = await run_in_worker(
            lambda: socket.getaddrinfo(encoded, None, type=socket.SOCK_STREAM),
            limiter=self._limiter,
        )
        return tuple(dict.fromkeys(ip_address(address[0]) for *_, address in found))


async def look_up(resolve: Resolve, name: str, bounds: EgressBounds) -> Sequence[Address]:
    """Return the addresses of a name, best first; never none.

    Raises:
        NetworkError: it has none, or they couldn't be told in time.
    """
    found: Sequence[Address] = ()
    with trio.move_on_after(bounds.lookup_s) as patience:
        try:
            found = await resolve(name)
        except (OSError, ValueError) as error:
            raise NetworkError(EgressReason.NAME_NOT_FOUND, _word_for(error)) from error
    if patience.cancelled_caught:
        raise NetworkError(EgressReason.LOOKUP_TIMED_OUT)
    if not found:
        raise NetworkError(EgressReason.NAME_NOT_FOUND)
    return found


async def dial(address: Address, port: int, bounds: EgressBounds) -> trio.SocketStream:
    """Connect to exactly that address.

    Raises:
        NetworkError: it can't be reached, or not in time.
    """
    stream: trio.SocketStream | None = None
    with trio.move_on_after(bounds.connect_s):
        try:
            stream = await _connect(address, port)
        except OSError as error:
            raise NetworkError(EgressReason.CONNECT_FAILED, _word_for(error)) from error
    if stream is None:
        raise NetworkError(EgressReason.CONNECT_TIMED_OUT)
    return stream


async def _connect(address: Address, port: int) -> trio.SocketStream:
    connecting = trio.socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        await connecting.connect((str(address), port))
        return trio.SocketStream(connecting)
    except BaseException:
        connecting.close()
        raise


def is_address_of_host(address: Address) -> bool:
    """Tell whether a connection to `address` would stay on this machine.

    Asks the kernel which address it would come from, which sends nothing.
    """
    try:
        asking = socket.socket(_family(address), socket.SOCK_DGRAM)
    except OSError:
        return True  # It can't be told, so it isn't let through.
    with asking:
        try:
            asking.connect((str(address), _PORT_OF_NO_MATTER))
            own = ip_address(asking.getsockname()[0])
        except OSError:
            return False  # There is no way to it at all.
    return own == address


def _family(address: IPv4Address | IPv6Address) -> socket.AddressFamily:
    return socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6


def _word_for(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        if isinstance(error, socket.gaierror):
            return error.strerror or ""
        return errno.errorcode.get(error.errno, str(error.errno))
    return type(error).__name__
