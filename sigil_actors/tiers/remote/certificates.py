"""The host's side of AutoMTLS: its certificate for one instance, and how it trusts the plugin's."""

import ssl

import attrs

from sigil_actors.errors import HandshakeError
from sigil_actors.rpc import auto_mtls
from sigil_actors.rpc.auto_mtls import CertificateError, OneOffCertificate


@attrs.frozen
class HostCertificate:
    """A key of the host's own, and its certificate. For one instance of one plugin."""

    _own: OneOffCertificate

    @property
    def pem(self) -> str:
        """Return the certificate, for `HandshakeOffer.client_certificate`."""
        return self._own.pem

    def client_context(self, plugin: str, server_certificate: bytes) -> ssl.SSLContext:
        """Return how the plugin is connected to.

        `server_certificate` is DER, from the handshake.

        Raises:
            HandshakeError: it is no certificate that can be trusted.
        """
        try:
            return self._own.client_context(server_certificate)
        except CertificateError as error:
            raise _refusal(plugin, error) from error

    def server_context(self, plugin: str, client_certificate: bytes) -> ssl.SSLContext:
        """Return how the plugin is served when it connects to its host over the broker.

        Its certificate is the one from the handshake, since go-plugin uses one for both.

        Raises:
            HandshakeError: it is no certificate that can be trusted.
        """
        try:
            return self._own.server_context(client_certificate)
        except CertificateError as error:
            raise _refusal(plugin, error) from error


def make_certificate() -> HostCertificate:
    """Return a fresh key with its certificate. Takes some milliseconds: call it in a thread."""
    return HostCertificate(auto_mtls.make_certificate())


def _refusal(plugin: str, error: CertificateError) -> HandshakeError:
    return HandshakeError(plugin, f"answered with {error.what}", remedy=error.remedy)
