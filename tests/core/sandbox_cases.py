"""Manifests and machines that the tests of the sandbox's planning start from."""

from collections.abc import Mapping

from sigil_actors.core.execution import (
    FilesystemPolicy,
    Limits,
    NetworkPolicy,
    PluginType,
    ProcessExecution,
    SandboxPolicy,
)
from sigil_actors.core.host_facts import Bubblewrap, HostFacts, PathFact, PathKind
from sigil_actors.core.manifest import Manifest
from sigil_actors.core.sandbox_plan import SandboxPlan, paths_to_look_at, plan_sandbox

FOLDER = "/var/lib/sigil/snapshots/4711"
SOCKET_DIR = "/run/sigil/sockets/echo-1"
STATE = "/var/lib/sigil"
PLUGINS = "/srv/plugins"
PROTOCOL = {"SIGIL_PLUGIN": "cookie", "PLUGIN_UNIX_SOCKET_DIR": SOCKET_DIR}

DEBIAN = HostFacts(
    platform="linux",
    architecture="x86_64",
    kernel="6.18.44",
    uid=0,
    home="/home/gateway",
    bubblewrap=Bubblewrap(path="/usr/bin/bwrap", version=(0, 8, 0), binds_by_descriptor=True),
    root_entries={"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"},
    etc_entries={
        "ld.so.cache": "/etc/ld.so.cache",
        "ssl/certs": "/etc/ssl/certs",
        "localtime": "/usr/share/zoneinfo/Etc/UTC",
        "nsswitch.conf": "/etc/nsswitch.conf",
    },
    has_user_namespaces=True,
    has_seccomp=True,
)

OLD = HostFacts(
    platform="linux",
    architecture="aarch64",
    kernel="5.10.0",
    uid=1000,
    home="/home/gateway",
    bubblewrap=Bubblewrap(path="/opt/bin/bwrap", version=(0, 8, 0), binds_by_descriptor=False),
    root_entries={"bin": None, "lib": None},
    etc_entries={"ld.so.cache": "/etc/ld.so.cache"},
)

MACOS = HostFacts(
    platform="darwin", architecture="arm64", kernel="24.0", uid=501, home="/Users/gateway"
)


def manifest(
    *,
    name: str = "echo",
    command: tuple[str, ...] = (),
    env: Mapping[str, str] | None = None,
    write_allow: tuple[str, ...] = (),
    read_allow: tuple[str, ...] = (),
    read_deny: tuple[str, ...] = (),
    allow: tuple[str, ...] = (),
    limits: Limits | None = None,
) -> Manifest:
    return Manifest(
        name=name,
        version="1.0.0",
        type=PluginType.TOOL,
        execution=ProcessExecution(
            command=command,
            env=env or {},
            sandbox=SandboxPolicy(
                filesystem=FilesystemPolicy(
                    write_allow=write_allow, read_allow=read_allow, read_deny=read_deny
                ),
                network=NetworkPolicy(allow=allow),
                limits=limits or Limits(),
            ),
        ),
    )


def plan(
    one: Manifest,
    facts: HostFacts = DEBIAN,
    *,
    kinds: Mapping[str, PathKind] | None = None,
    links: Mapping[str, str] | None = None,
    folder: str = FOLDER,
    socket_dir: str | None = SOCKET_DIR,
) -> SandboxPlan:
    """Plan it on a machine where what isn't in `kinds` is a file, and no link but `links`."""
    kinds, links = kinds or {}, links or {}
    return plan_sandbox(
        one,
        facts,
        folder=folder,
        socket_dir=socket_dir,
        environment=PROTOCOL,
        host_folders=(STATE, PLUGINS),
        paths={
            path: PathFact(kind=kinds.get(path, PathKind.FILE), resolved=links.get(path, path))
            for path in paths_to_look_at(one, home=facts.home)
        },
    )
