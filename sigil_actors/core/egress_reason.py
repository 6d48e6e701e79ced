"""Why a plugin's connection was refused, cut, or failed: the words, and what each means to people.

The words are part of what plugins, audit logs and operators rely on.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class EgressReason(StrEnum):
    """The words; `OK` where nothing was in the way."""

    OK = "ok"
    # The request.
    MALFORMED_REQUEST = "malformed_request"
    REQUEST_TOO_LARGE = "request_too_large"
    REQUEST_TIMED_OUT = "request_timed_out"
    REQUEST_TRUNCATED = "request_truncated"
    NOT_OFFERED = "not_offered"
    MALFORMED_HOST = "malformed_host"
    MALFORMED_BODY = "malformed_body"
    # The rule.
    TARGET_NOT_ALLOWED = "target_not_allowed"
    PORT_NOT_ALLOWED = "port_not_allowed"
    ADDRESS_NOT_PUBLIC = "address_not_public"
    ADDRESS_OF_HOST = "address_of_host"
    # The host.
    PLUGIN_NOT_REGISTERED = "plugin_not_registered"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    DECISION_FAILED = "decision_failed"
    TOO_MANY_CONNECTIONS = "too_many_connections"
    # The network.
    NAME_NOT_FOUND = "name_not_found"
    LOOKUP_TIMED_OUT = "lookup_timed_out"
    CONNECT_FAILED = "connect_failed"
    CONNECT_TIMED_OUT = "connect_timed_out"
    # What is said within a tunnel.
    SERVER_NAME_DIFFERS = "server_name_differs"
    SERVER_NAME_MISSING = "server_name_missing"
    SERVER_NAME_HIDDEN = "server_name_hidden"
    MALFORMED_HELLO = "malformed_hello"
    HELLO_TIMED_OUT = "hello_timed_out"
    # How what was allowed may end otherwise.
    IDLE = "idle"
    CONNECTION_LOST = "connection_lost"
    CANCELLED = "cancelled"


SERVER_NAME_REASONS: Final = frozenset(
    {
        EgressReason.SERVER_NAME_DIFFERS,
        EgressReason.SERVER_NAME_MISSING,
        EgressReason.SERVER_NAME_HIDDEN,
        EgressReason.MALFORMED_HELLO,
    }
)
"""Why a tunnel that was allowed is refused after all, by what is said in it."""

_ALLOW = "execution.sandbox.network.allow in plugin.yaml"

EGRESS_SENTENCES: Final[Mapping[EgressReason, str]] = {
    EgressReason.OK: "nothing was in the way",
    EgressReason.MALFORMED_REQUEST: "the request can't be read, or can be read in two ways",
    EgressReason.REQUEST_TOO_LARGE: "the head of the request is too large",
    EgressReason.REQUEST_TIMED_OUT: "the request didn't come to its end in time",
    EgressReason.REQUEST_TRUNCATED: "the client hung up in the middle of its request",
    EgressReason.NOT_OFFERED: (
        "this proxy speaks HTTP CONNECT, plain HTTP with http:// URLs, and SOCKS5 CONNECT without "
        "authentication"
    ),
    EgressReason.MALFORMED_HOST: "the host is neither a name nor a whole address",
    EgressReason.MALFORMED_BODY: "the body of the request doesn't follow the chunked coding",
    EgressReason.TARGET_NOT_ALLOWED: f"no entry is about this host; see {_ALLOW}",
    EgressReason.PORT_NOT_ALLOWED: f"the host is allowed at another port only; see {_ALLOW}",
    EgressReason.ADDRESS_NOT_PUBLIC: (
        "the name leads to no public address; one that is private has to stand as a literal in "
        f"{_ALLOW}"
    ),
    EgressReason.ADDRESS_OF_HOST: (
        f"the name leads to this very machine; its address has to stand as a literal in {_ALLOW}"
    ),
    EgressReason.PLUGIN_NOT_REGISTERED: "this instance of the plugin isn't registered",
    EgressReason.AUDIT_UNAVAILABLE: "it can't be recorded, so it is refused; see the host's log",
    EgressReason.DECISION_FAILED: "the decision failed, so it is refused; see the host's log",
    EgressReason.TOO_MANY_CONNECTIONS: "the plugin has as many connections as it may have",
    EgressReason.NAME_NOT_FOUND: "the host's resolver doesn't know the name",
    EgressReason.LOOKUP_TIMED_OUT: "the host's resolver didn't answer in time",
    EgressReason.CONNECT_FAILED: "the server can't be reached",
    EgressReason.CONNECT_TIMED_OUT: "the server didn't answer in time",
    EgressReason.SERVER_NAME_DIFFERS: "TLS asks for another server than the tunnel was opened for",
    EgressReason.SERVER_NAME_MISSING: "TLS asks for no server by name",
    EgressReason.SERVER_NAME_HIDDEN: "TLS may ask for a server by an encrypted name (ECH)",
    EgressReason.MALFORMED_HELLO: "TLS begins with something else than one whole ClientHello",
    EgressReason.HELLO_TIMED_OUT: "the ClientHello didn't come to its end in time",
    EgressReason.IDLE: "nothing was sent either way for too long",
    EgressReason.CONNECTION_LOST: "one side broke the connection",
    EgressReason.CANCELLED: "the plugin was stopped",
}
"""What each word means, for whoever meets it in an answer or a log."""
