"""The bounds on what one plugin's proxy does at a time, and how long it waits for anything."""

import attrs


@attrs.frozen(kw_only=True)
class EgressBounds:
    """For one instance of a plugin. Each reason stands beside its number."""

    connections: int = 64
    """At once. A client that pools keeps a handful for each server; two descriptors for each."""
    refusals: int = 16
    """Connections over that bound that are heard to be told so; what is more waits unaccepted."""
    lookups: int = 4
    """Names looked up at once. An abandoned lookup holds its thread until the resolver gives up,
    and a plugin that makes many must not take threads from the others."""
    request_s: float = 15.0
    """From the connection to the end of the request."""
    lookup_s: float = 10.0
    """glibc's resolver asks twice, for 5 s each."""
    connect_s: float = 10.0
    """For one address."""
    addresses: int = 3
    """Of one name, tried one after another."""
    hello_s: float = 10.0
    """From the first byte of a TLS hello to its last."""
    idle_s: float = 900.0
    """Without a byte in either direction. Long polls and quiet web sockets take minutes."""
    half_closed_s: float = 60.0
    """Without a byte, once one side has said that it sends no more."""
    linger_s: float = 1.0
    """To hear a refused client out: closing on unread bytes would take the refusal from it."""
    linger_bytes: int = 256 * 1024
