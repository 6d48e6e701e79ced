"""TLS contexts for gRPC: HTTP/2 by ALPN, and nothing older than TLS 1.2.

What both sides trust is the caller's: one certificate, for AutoMTLS.
"""

import ssl


def client_context() -> ssl.SSLContext:
    """Return a context for a client that verifies; it trusts nobody yet."""
    return _with_http2(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def server_context(*, verifies_clients: bool) -> ssl.SSLContext:
    """Return a context for a server; it trusts nobody yet, and has no certificate."""
    context = _with_http2(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    if verifies_clients:
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _with_http2(context: ssl.SSLContext) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # RFC 9113, 9.2.1; and it costs us more than them
    context.set_alpn_protocols(["h2"])
    return context
