"""The environment of a sandboxed plugin: exactly this, nothing is inherited."""

from collections.abc import Mapping
from typing import Final

from sigil_actors.errors import SandboxRequestError

INSIDE_HOME: Final = "/home/plugin"

BASE_ENVIRONMENT: Final[Mapping[str, str]] = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": INSIDE_HOME,
    "TMPDIR": "/tmp",  # noqa: S108 - the sandbox's own, which nobody else sees
    "LANG": "C.UTF-8",
}
"""What programs take for granted. A manifest's own values win."""

NO_PROXY: Final = "localhost,127.0.0.1,::1"
"""A plugin's own listeners, which aren't reached through the proxy."""

PROXY_NAMES: Final = (
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
)
"""As curl, Go, Python and Node read them; each in both cases, since each reads another one."""


def proxy_environment(port: int) -> Mapping[str, str]:
    """Return the variables that lead programs to the host's proxy at a port of their loopback.

    An http:// address for ALL_PROXY too, though the proxy speaks SOCKS5: some clients refuse to
    start with a socks:// one.
    """
    address = f"http://127.0.0.1:{port}"
    return {
        **dict.fromkeys(PROXY_NAMES, address),
        "NO_PROXY": NO_PROXY,
        "no_proxy": NO_PROXY,
        "NODE_USE_ENV_PROXY": "1",  # Node's own fetch ignores the others without it
    }


def sandbox_environment(
    plugin: str,
    wanted: Mapping[str, str],
    protocol: Mapping[str, str],
    *,
    scratch: str | None = None,
    proxy_port: int | None,
) -> Mapping[str, str]:
    """Return every variable that the plugin gets.

    `wanted` is the manifest's, `protocol` what the handshake needs. `scratch` is the home and the
    place of temporary files where the sandbox has none of its own.

    Raises:
        SandboxRequestError: the manifest sets what the host sets.
    """
    proxy = {} if proxy_port is None else proxy_environment(proxy_port)
    for name in wanted:
        if name in protocol or name in proxy:
            raise SandboxRequestError(
                plugin,
                f"execution.env.{name}",
                "the host sets this variable itself",
                remedy="Drop it",
            )
    places = {} if scratch is None else {"HOME": scratch, "TMPDIR": scratch}
    return {**BASE_ENVIRONMENT, **places, **wanted, **proxy, **protocol}
