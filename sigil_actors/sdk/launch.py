"""What the host that started this plugin asks for, read from the environment that it set.

The variables are HashiCorp go-plugin's, and `core.handshake` is the host's side of them.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import attrs

from sigil_actors.core.handshake import COOKIE_KEY, COOKIE_VALUE, CORE_VERSION, PROTOCOL_VERSIONS
from sigil_actors.sdk.errors import NotLaunchedError


@attrs.frozen(kw_only=True)
class Launch:
    """What the host wants of this plugin."""

    version: int
    """Of the protocol: the highest that both speak, or this side's own where there is none; the
    host then says that it can't use it."""
    socket_dir: Path | None
    """Where to listen; None where the host didn't say."""
    client_certificate: str | None
    """The one that the host will show, as PEM: with it, TLS both ways is wanted."""
    asks_for_multiplexing: bool
    """Whether one connection is to carry everything; the handshake has to answer that it won't."""
    host_address: str | None
    """Where the host's functions are for plugins without a broker."""


def read_launch(
    environment: Mapping[str, str],
    *,
    cookie_key: str = COOKIE_KEY,
    cookie_value: str = COOKIE_VALUE,
    versions: Collection[int] = PROTOCOL_VERSIONS,
) -> Launch:
    """Return what the host asks for.

    Raises:
        NotLaunchedError: no host started this program, or one for other plugins.
    """
    if environment.get(cookie_key) != cookie_value:
        raise NotLaunchedError(cookie_key, is_set=cookie_key in environment)
    folder = environment.get("PLUGIN_UNIX_SOCKET_DIR")
    return Launch(
        version=_version(environment.get("PLUGIN_PROTOCOL_VERSIONS", ""), versions),
        socket_dir=Path(folder) if folder else None,
        client_certificate=environment.get("PLUGIN_CLIENT_CERT") or None,
        # Any text at all, `false` included, is how a Go host asks for it.
        asks_for_multiplexing=bool(environment.get("PLUGIN_MULTIPLEX_GRPC")),
        host_address=environment.get("SIGIL_HOST_ADDRESS") or None,
    )


def _version(offered: str, ours: Collection[int]) -> int:
    """Return the highest version that the host offers and this side speaks, else our lowest."""
    # What isn't a number is passed over, as go-plugin does it: a newer host may say more.
    theirs = {int(word) for word in offered.split(",") if word.isascii() and word.isdigit()}
    return max(theirs & set(ours), default=min(ours))


def handshake_line(
    *,
    version: int,
    network: str,
    address: str,
    certificate: str = "",
    answers_multiplexing: bool = False,
) -> str:
    """Return the one line by which a plugin tells its host where it listens, without its newline.

    `certificate` is DER in base64 without padding.
    """
    fields = [CORE_VERSION, str(version), network, address, "grpc", certificate]
    if answers_multiplexing:
        fields.append("false")
    return "|".join(fields)
