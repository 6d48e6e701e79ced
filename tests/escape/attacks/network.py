"""Attacks on the network besides the proxy: reach the host, be reached, speak raw."""

import socket
from pathlib import Path

from .harness import Facts, HeldError, attack

PATIENCE_S = 2.0


def ask(family: int, address: object, *, kind: int = socket.SOCK_STREAM) -> str:
    """Connect, send a line, return what is answered."""
    with socket.socket(family, kind) as asking:
        asking.settimeout(PATIENCE_S)
        asking.connect(address)  # type: ignore[arg-type] # one of the shapes that sockets take
        asking.sendall(b"who are you?\n")
        return asking.recv(200).decode("latin-1")


def secret_from(answer: str, facts: Facts) -> str:
    """Return the answer where it is the host's."""
    if facts.secret not in answer:
        raise HeldError(f"answered {answer[:60]!r}")
    return answer


@attack("network")
def reach_the_hosts_loopback(facts: Facts) -> str:
    return secret_from(ask(socket.AF_INET, ("127.0.0.1", facts.tcp_port)), facts)


@attack("network")
def reach_the_hosts_loopback_by_another_address(facts: Facts) -> str:
    return secret_from(ask(socket.AF_INET, ("127.1.2.3", facts.tcp_port)), facts)


@attack("network")
def reach_the_hosts_loopback_by_no_address(facts: Facts) -> str:
    return secret_from(ask(socket.AF_INET, ("0.0.0.0", facts.tcp_port)), facts)


@attack("network")
def reach_the_hosts_loopback_over_ipv6(facts: Facts) -> str:
    return secret_from(ask(socket.AF_INET6, ("::1", facts.tcp6_port)), facts)


@attack("network")
def reach_the_hosts_own_address(facts: Facts) -> str:
    if not facts.outer_address:
        raise HeldError("the host has no other address")
    return secret_from(ask(socket.AF_INET, (facts.outer_address, facts.tcp_port)), facts)


@attack("network")
def send_a_datagram_to_the_host(facts: Facts) -> str:
    return secret_from(
        ask(socket.AF_INET, ("127.0.0.1", facts.udp_port), kind=socket.SOCK_DGRAM), facts
    )


@attack("network")
def reach_an_abstract_socket(facts: Facts) -> str:
    return secret_from(ask(socket.AF_UNIX, b"\0" + facts.abstract_socket.encode()), facts)


@attack("network")
def reach_a_socket_in_a_folder_of_the_host(facts: Facts) -> str:
    return secret_from(ask(socket.AF_UNIX, facts.unix_socket), facts)


@attack("network", needs_root=True)
def speak_raw(_facts: Facts) -> str:
    socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close()
    return "a raw socket"


@attack("network", needs_root=True)
def listen_to_the_wire(_facts: Facts) -> str:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3).close()
    return "a packet socket"


@attack("network")
def use_the_kernels_ciphers(_facts: Facts) -> str:
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0).close()
    return "an AF_ALG socket"


@attack("network")
def speak_to_the_hypervisor(_facts: Facts) -> str:
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM, 0).close()
    return "a socket to the machine below"


@attack("network")
def listen_for_the_kernels_events(_facts: Facts) -> str:
    """Netlink but for routes: 15 is the channel of device events."""
    socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 15).close()
    return "a netlink socket for events"


@attack("network")
def see_the_hosts_interfaces(_facts: Facts) -> str:
    others = [name for _, name in socket.if_nameindex() if name != "lo"]
    if not others:
        raise HeldError("nothing but lo")
    return " ".join(others)


@attack("network")
def see_the_hosts_connections(facts: Facts) -> str:
    port = f":{facts.tcp_port:04X} "
    if port not in Path("/proc/net/tcp").read_text():
        raise HeldError("the host's listener isn't in the table")
    return "the host's table of connections"
