"""Each side trusts the one certificate of the other, and nobody else's."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sigil_actors.core.handshake import HandshakeOffer, parse_handshake
from sigil_actors.errors import HandshakeError
from sigil_actors.tiers.remote.certificates import HostCertificate, make_certificate


def der(certificate: HostCertificate) -> bytes:
    return ssl.PEM_cert_to_DER_cert(certificate.pem)


def connect(client: ssl.SSLContext, server: ssl.SSLContext, name: str = "localhost") -> bytes:
    """Return what the server hears from the client over TLS; raises what either side raises."""
    ours, theirs = socket.socketpair()
    heard: list[bytes | OSError] = []

    def serve() -> None:
        try:
            with server.wrap_socket(theirs, server_side=True) as stream:
                stream.sendall(b"hello")
                heard.append(stream.recv(100))
        except OSError as error:
            heard.append(error)
            theirs.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(ours, server_hostname=name) as stream:
            assert stream.selected_alpn_protocol() == "h2"
            # TLS 1.3 tells the client that it is refused only once it reads.
            assert stream.recv(100) == b"hello"
            stream.sendall(b"it's me")
    finally:
        thread.join(5)
        ours.close()
    if isinstance(heard[0], OSError):
        raise heard[0]
    return heard[0]


def test_two_sides_that_know_each_other_talk() -> None:
    host, plugin = make_certificate(), make_certificate()
    assert (
        connect(host.client_context("echo", der(plugin)), plugin.server_context("echo", der(host)))
        == b"it's me"
    )


def test_a_plugin_with_another_certificate_than_it_announced_is_refused() -> None:
    host, plugin, other = make_certificate(), make_certificate(), make_certificate()
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(host.client_context("echo", der(other)), plugin.server_context("echo", der(host)))


def test_a_client_with_another_certificate_than_the_plugins_is_refused() -> None:
    host, plugin, other = make_certificate(), make_certificate(), make_certificate()
    with pytest.raises(OSError, match=r"(?i)certificate|alert|reset|EOF"):
        connect(plugin.client_context("x", der(host)), host.server_context("echo", der(other)))


def test_a_client_without_a_certificate_is_refused() -> None:
    host, plugin = make_certificate(), make_certificate()
    nobody = ssl.create_default_context(cadata=host.pem)
    nobody.set_alpn_protocols(["h2"])
    with pytest.raises(OSError, match=r"(?i)certificate|alert|reset|EOF"):
        connect(nobody, host.server_context("echo", der(plugin)))


def test_a_certificate_for_another_name_is_refused() -> None:
    host, plugin = make_certificate(), make_certificate()
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(
            host.client_context("echo", der(plugin)),
            plugin.server_context("echo", der(host)),
            name="example.org",
        )


def test_a_context_trusts_one_certificate_and_not_the_systems() -> None:
    host, plugin = make_certificate(), make_certificate()
    for context in (
        host.client_context("echo", der(plugin)),
        host.server_context("echo", der(plugin)),
    ):
        assert context.get_ca_certs(binary_form=True) == [der(plugin)]
        assert context.verify_mode is ssl.CERT_REQUIRED


def _foreign(*, days_from: int, days_to: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now + timedelta(days=days_from))
        .not_valid_after(now + timedelta(days=days_to))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


@pytest.mark.parametrize(
    ("certificate", "what"),
    [
        (b"", "can't be read"),
        (b"\x30\x03\x02\x01\x01", "can't be read"),
        (der(make_certificate())[:-1], "can't be read"),
        (der(make_certificate()) * 2, "can't be read"),
        (_foreign(days_from=-2, days_to=-1), "isn't valid now"),
        (_foreign(days_from=1, days_to=2), "isn't valid now"),
    ],
)
def test_a_certificate_that_cannot_be_trusted_is_refused(certificate: bytes, what: str) -> None:
    host = make_certificate()
    for make in (host.client_context, host.server_context):
        with pytest.raises(HandshakeError, match=what):
            make("echo", certificate)


def test_a_key_is_never_shown() -> None:
    assert "PRIVATE" not in repr(make_certificate())


def test_gos_tls_takes_ours_and_ours_takes_gos(
    go_program: Callable[[str], Path], tmp_path: Path
) -> None:
    """The plugin verifies its client, and is verified, by the code that every go-plugin has."""
    host = make_certificate()
    offer = HandshakeOffer(socket_dir=tmp_path, client_certificate=host.pem)
    with subprocess.Popen(
        [go_program("plugin")],
        env=offer.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            handshake = parse_handshake(process.stdout.readline()[:-1], offer, plugin="go")
            for mine, is_taken in ((host, True), (make_certificate(), False)):
                context = mine.client_context("go", handshake.server_certificate)
                with socket.socket(socket.AF_UNIX) as raw:
                    raw.settimeout(5)
                    raw.connect(handshake.address)
                    stream = context.wrap_socket(raw, server_hostname="localhost")
                    assert is_taken == _answers_http2(stream)
                    stream.close()
        finally:
            process.kill()


def _answers_http2(stream: ssl.SSLSocket) -> bool:
    try:
        stream.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        return stream.recv(9)[3:4] == b"\x04"
    except OSError:
        return False
