"""HashiCorp go-plugin's handshake: what a plugin is offered, and its answer, one line of text.

Owns what of an answer is taken and what is refused. Whether something listens at the address that
is named, and whose it is, is for whoever dials it. The format is go-plugin's, docs/internals.md.
"""

import base64
import binascii
from collections.abc import Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Final

import attrs

from sigil_actors.core.text import escape_text
from sigil_actors.errors import HandshakeError

COOKIE_KEY: Final = "SIGIL_PLUGIN"
COOKIE_VALUE: Final = "aGFzaGljb3JwLWdvLXBsdWdpbg=="
"""By which a plugin knows that it was started by a host. No secret."""

CORE_VERSION: Final = "1"
"""Of the line itself; go-plugin has had no other."""

PROTOCOL_VERSIONS: Final = (1,)
"""Of this project's own contract: the services that a plugin has."""

LINE_BYTES_MAX: Final = 64 * 1024
"""As much as go-plugin's own reader takes. A certificate is about 1 KiB of it."""

FIELDS_MIN: Final = 4
SHOWN_MAX: Final = 120
"""Characters of the plugin's text that an error repeats."""


class Network(StrEnum):
    """Where a plugin listens: at a socket in its folder, or at a port of the loopback interface."""

    UNIX = "unix"
    TCP = "tcp"


def _versions(versions: Sequence[int]) -> tuple[int, ...]:
    return tuple(versions)


@attrs.frozen(kw_only=True)
class HandshakeOffer:
    """What the host offers to one instance."""

    socket_dir: PurePosixPath = attrs.field(converter=PurePosixPath)
    """The folder for its sockets, by the path that the plugin knows it by."""
    cookie_key: str = COOKIE_KEY
    cookie_value: str = COOKIE_VALUE
    versions: tuple[int, ...] = attrs.field(default=PROTOCOL_VERSIONS, converter=_versions)
    """The application protocol versions that the host speaks."""
    port_min: int = 10_000
    port_max: int = 25_000
    """Between which a plugin that listens by tcp takes its port; go-plugin's own defaults."""
    client_certificate: str = ""
    """The host's one-off certificate, PEM. Empty: no TLS (no AutoMTLS, in go-plugin's words)."""
    multiplex: bool = False
    """Whether one connection may carry all that goes over the broker."""

    def environment(self) -> dict[str, str]:
        """Return the variables that the plugin is started with, besides its manifest's own."""
        variables = {
            self.cookie_key: self.cookie_value,
            "PLUGIN_PROTOCOL_VERSIONS": ",".join(map(str, self.versions)),
            "PLUGIN_MIN_PORT": str(self.port_min),
            "PLUGIN_MAX_PORT": str(self.port_max),
            "PLUGIN_UNIX_SOCKET_DIR": str(self.socket_dir),
        }
        if self.client_certificate:
            variables["PLUGIN_CLIENT_CERT"] = self.client_certificate
        if self.multiplex:
            # Set to anything at all, `false` included, it turns multiplexing on.
            variables["PLUGIN_MULTIPLEX_GRPC"] = "true"
        return variables


@attrs.frozen(kw_only=True)
class Handshake:
    """What a plugin answered, and may answer."""

    version: int
    """One of those that were offered."""
    network: Network
    address: str
    """A path inside the socket folder, or `host:port` of the loopback interface."""
    server_certificate: bytes = attrs.field(default=b"", repr=False)
    """DER; there exactly where the host offered one of its own."""
    multiplex: bool = False
    """Whether the broker goes over the one connection; True only where that was offered."""


def parse_handshake(line: bytes, offer: HandshakeOffer, *, plugin: str) -> Handshake:
    """Read a plugin's first line of output.

    Raises:
        HandshakeError: it is none that answers the offer; says what the author can do.
    """
    fields = _fields(plugin, line)
    core, version, network, address, protocol, certificate, multiplex = fields
    if core != CORE_VERSION:
        raise HandshakeError(
            plugin,
            f"answered with the core protocol version {_shown(core)}; this host speaks"
            f" {CORE_VERSION}",
            remedy="Build it with a go-plugin library of this core version",
        )
    if protocol != "grpc":
        raise HandshakeError(
            plugin,
            f"speaks the protocol {_shown(protocol or 'netrpc')}; this host speaks grpc only",
            remedy="Serve it with gRPC: GRPCServer: plugin.DefaultGRPCServer in Go's ServeConfig",
        )
    if problem := address_problem(network, address, socket_dir=offer.socket_dir):
        raise HandshakeError(
            plugin,
            f"listens where it may not: {problem}",
            remedy="Listen in the folder that PLUGIN_UNIX_SOCKET_DIR names, or at 127.0.0.1",
        )
    return Handshake(
        version=_version(plugin, version, offer),
        network=Network(network),
        address=address,
        server_certificate=_certificate(plugin, certificate, offer),
        multiplex=_multiplex(plugin, multiplex, offer),
    )


def missing_handshake_error(
    plugin: str, what: str, *, last_words: Sequence[str] = ()
) -> HandshakeError:
    """Return the error for a plugin that gave no line at all.

    `what` goes on after the plugin's name: that it exited and with which status, that its time was
    up. `last_words` are the last lines of its output, escaped.
    """
    said = f"; its last words: {' | '.join(last_words)}" if last_words else ""
    return HandshakeError(
        plugin,
        f"{what}, and told no address before{said}",
        remedy="A go-plugin plugin prints one line, CORE|APP|NETWORK|ADDRESS|grpc, when it"
        " listens; check its command, and that it expects this host's cookie",
    )


def address_problem(network: str, address: str, *, socket_dir: PurePosixPath) -> str:
    """Return why a plugin may not listen there; empty where it may.

    What a plugin announces over its broker is held to the same.
    """
    if not address.isprintable():
        return f"the address {_shown(address)} has characters that no address has"
    if network == Network.UNIX:
        return _path_problem(address, socket_dir)
    if network == Network.TCP:
        return _port_problem(address)
    return f"the network {_shown(network)} is neither unix nor tcp"


def _fields(plugin: str, line: bytes) -> list[str]:
    """Return the seven fields; those that are absent are empty, what comes after is let go."""
    if len(line) > LINE_BYTES_MAX:
        raise HandshakeError(
            plugin,
            f"answered a line of more than {LINE_BYTES_MAX // 1024} KiB",
            remedy="Print the handshake before anything else",
        )
    try:
        text = line.decode().strip()
    except UnicodeDecodeError:
        text = ""
    fields = text.split("|", 7)
    if len(fields) < FIELDS_MIN:
        raise HandshakeError(
            plugin,
            f"answered {_shown(line.decode(errors='backslashreplace'))}, which is no handshake",
            remedy="Its first line must be CORE|APP|NETWORK|ADDRESS|grpc, as go-plugin's Serve"
            " prints it; log to standard error",
        )
    return (fields + [""] * 3)[:7]


def _version(plugin: str, text: str, offer: HandshakeOffer) -> int:
    # A plugin that speaks none of the versions offered answers with one of its own all the same.
    for version in offer.versions:
        if text == str(version):
            return version
    offered = ", ".join(map(str, offer.versions))
    raise HandshakeError(
        plugin,
        f"speaks version {_shown(text)} of the application protocol; this host offers {offered}",
        remedy="Build the plugin for a version that the host offers, or have the host offer it",
    )


def _certificate(plugin: str, text: str, offer: HandshakeOffer) -> bytes:
    if not offer.client_certificate:
        if text:
            raise HandshakeError(
                plugin,
                "answered with a certificate though the host had asked for none",
                remedy="Turn AutoMTLS on at the host, or TLS off in the plugin",
            )
        return b""
    if not text:
        # Never a downgrade: whoever can cut the field out of the line would turn TLS off.
        raise HandshakeError(
            plugin,
            "answered without a certificate though the host asked for one",
            remedy="Serve it with a go-plugin library that knows AutoMTLS, or turn it off at the"
            " host",
        )
    certificate = _decoded(text)
    if not _is_one_der_sequence(certificate):
        raise HandshakeError(
            plugin,
            "answered with a certificate that can't be read",
            remedy="The field is one certificate, DER in base64 without padding",
        )
    return certificate


def _decoded(text: str) -> bytes:
    if "=" in text:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b""


def _is_one_der_sequence(data: bytes) -> bool:
    """Tell whether `data` is one DER value and nothing else, as a certificate is.

    What comes after the first would be trusted too: OpenSSL reads one after another.
    """
    long_form = 0x80
    if len(data) < 2 or data[0] != 0x30 or data[1] <= long_form:  # noqa: PLR2004
        return False
    start = 2 + (data[1] & ~long_form)
    return len(data) == start + int.from_bytes(data[2:start], "big") and start <= len(data)


def _multiplex(plugin: str, text: str, offer: HandshakeOffer) -> bool:
    if text not in {"", "false", "true"}:
        raise HandshakeError(
            plugin,
            f"answered {_shown(text)} where true or false is to say whether it multiplexes",
            remedy="Leave the seventh field out unless PLUGIN_MULTIPLEX_GRPC is set",
        )
    if text == "true" and not offer.multiplex:
        raise HandshakeError(
            plugin,
            "multiplexes its broker though the host didn't ask for it",
            remedy="Do so only where PLUGIN_MULTIPLEX_GRPC is set",
        )
    return text == "true"


def _path_problem(address: str, socket_dir: PurePosixPath) -> str:
    path = PurePosixPath(address)
    # By its text: `..` and links would lead out of it, and whoever dials follows neither.
    if ".." in path.parts or socket_dir not in path.parents:
        return f"{_shown(address)} is not in its socket folder {socket_dir}"
    return ""


def _port_problem(address: str) -> str:
    host, _, port = address.rpartition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 0 < int(port) < 1 << 16):  # noqa: PLR2004
        return f"{_shown(address)} is no host:port"
    if host == "localhost":
        return ""
    try:
        if "%" not in host and ip_address(_without_brackets(host)).is_loopback:
            return ""
    except ValueError:
        pass
    return f"{_shown(address)} is not on the loopback interface"


def _without_brackets(host: str) -> str:
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def _shown(text: str) -> str:
    return f"'{escape_text(text, limit=SHOWN_MAX)}'"
