"""AutoMTLS as go-plugin does it: each side has a one-off certificate, and trusts the other's alone.

The certificates are what Go's mtls.go makes, so that either side takes the other's: ECDSA P-521,
signed by themselves, for `localhost`. gRPC's own Python library can't verify P-521; `ssl` can.
"""

import os
import ssl
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import attrs
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sigil_actors.rpc.tls import client_context, server_context

SERVER_NAME: Final = "localhost"
"""What each certificate is for, wherever its owner listens."""

_VALID: Final = timedelta(days=365)
"""Longer than a host runs, as in go-plugin; the key is gone when its owner is."""

_CLOCK_SKEW: Final = timedelta(seconds=30)
"""As in go-plugin: a container's clock may be a little behind."""


class CertificateError(Exception):
    """The other side's certificate is none that can be trusted. Says what it is instead."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(f"{what}. {remedy}")


@attrs.frozen
class OneOffCertificate:
    """A key of one's own, and its certificate. For one instance of one plugin."""

    pem: str
    """The certificate, as a host offers it."""
    der: bytes = attrs.field(repr=False)
    """The certificate, as a plugin answers it."""
    _key_pem: bytes = attrs.field(repr=False)

    def client_context(self, server_certificate: bytes) -> ssl.SSLContext:
        """Return how to connect to whoever has exactly that certificate (DER, or PEM).

        Raises:
            CertificateError: it is no certificate that can be trusted.
        """
        return self._trusting(client_context(), server_certificate)

    def server_context(self, client_certificate: bytes) -> ssl.SSLContext:
        """Return how to serve whoever has exactly that certificate (DER, or PEM), and nobody else.

        Raises:
            CertificateError: it is no certificate that can be trusted.
        """
        return self._trusting(server_context(verifies_clients=True), client_certificate)

    def _trusting(self, context: ssl.SSLContext, certificate: bytes) -> ssl.SSLContext:
        context.load_verify_locations(cadata=_checked_pem(certificate))
        with _written(self.pem.encode() + self._key_pem) as path:
            context.load_cert_chain(path)
        return context


def make_certificate() -> OneOffCertificate:
    """Return a fresh key with its certificate. Takes some milliseconds: call it in a thread."""
    key = ec.generate_private_key(ec.SECP521R1())
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sigil-actors"),
            x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME),
        ]
    )
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
        .add_extension(_KEY_USAGE, critical=True)
        .sign(key, hashes.SHA512())
    )
    return OneOffCertificate(
        certificate.public_bytes(serialization.Encoding.PEM).decode(),
        certificate.public_bytes(serialization.Encoding.DER),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        ),
    )


_KEY_USAGE: Final = x509.KeyUsage(
    digital_signature=True,
    key_encipherment=True,
    key_agreement=True,
    key_cert_sign=True,
    content_commitment=False,
    data_encipherment=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


@contextmanager
def _written(text: bytes) -> Iterator[str]:
    """Give a path from which `text` can be read while the block lasts: `ssl` takes a key by path.

    On Linux it is in memory only; elsewhere in a file that nobody else may read.
    """
    if sys.platform == "linux":
        with os.fdopen(os.memfd_create("key", os.MFD_CLOEXEC), "wb", buffering=0) as file:
            file.write(text)
            yield f"/proc/self/fd/{file.fileno()}"
    else:
        with tempfile.NamedTemporaryFile(buffering=0) as file:
            file.write(text)
            yield file.name


def _checked_pem(certificate: bytes) -> str:
    """Return the other side's certificate as PEM, once it is clear that it is one and only one."""
    try:
        if certificate.lstrip().startswith(b"-----BEGIN"):
            (parsed,) = x509.load_pem_x509_certificates(certificate)
        else:
            parsed = x509.load_der_x509_certificate(certificate)
        # What OpenSSL is given is written anew from what was parsed.
        encoded = parsed.public_bytes(serialization.Encoding.PEM)
        is_current = parsed.not_valid_before_utc <= datetime.now(UTC) < parsed.not_valid_after_utc
        parsed.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            "a certificate that can't be read",
            "It is to be one certificate, DER in base64 without padding from a plugin, PEM from"
            " a host",
        ) from error
    if not is_current:
        raise CertificateError(
            "a certificate that isn't valid now",
            "Make a new one at each start, and set the clock of the machine",
        )
    return encoded.decode()
