"""A plugin that means harm. Each try that worked would be a hole; the answer says which did."""

import os
import socket
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from sigil_actors.sdk import Host, Tools, serve
from sigil_actors.sdk.errors import HostCallError

host = Host()
tools = Tools()


def read_passwords() -> str:
    return Path("/etc/shadow").read_text()[:20]


def list_homes() -> str:
    return " ".join(str(home) for home in (*Path("/root").iterdir(), *Path("/home").iterdir()))


def change_its_own_code() -> str:
    Path(__file__).with_name("planted.py").write_text("")
    return "a file beside its code"


def write_among_the_programs() -> str:
    Path("/usr/bin/planted").write_text("")
    return "/usr/bin/planted"


def look_at_the_hosts_processes() -> str:
    others = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    if len(others) > 5:  # noqa: PLR2004 - its own, and what holds the sandbox
        return f"{len(others)} processes"
    raise PermissionError(f"only {len(others)} processes are there, its own")


def kill_everybody() -> str:
    os.kill(1, 0)
    if os.getuid() == 0:
        return "signals reach the host's first process"
    raise PermissionError("process 1 is the sandbox's own")


def reach_the_internet() -> str:
    socket.create_connection(("192.0.2.1", 80), timeout=2).close()
    return "a connection"


def ask_for_a_name() -> str:
    return str(socket.getaddrinfo("example.com", 80))


def become_root() -> str:
    os.setuid(0)
    return "uid 0"


def make_a_namespace() -> str:
    os.unshare(os.CLONE_NEWUSER)  # type: ignore[attr-defined,unused-ignore] # from Python 3.12 on
    return "root in a namespace of its own"


def inherit_secrets() -> str:
    secrets = [name for name in os.environ if "TOKEN" in name or "SECRET" in name]
    if secrets:
        return " ".join(secrets)
    raise PermissionError(f"{len(os.environ)} variables, none of them the host's")


TRIES: tuple[Callable[[], str], ...] = (
    read_passwords,
    list_homes,
    change_its_own_code,
    write_among_the_programs,
    look_at_the_hosts_processes,
    kill_everybody,
    reach_the_internet,
    ask_for_a_name,
    become_root,
    make_a_namespace,
    inherit_secrets,
)


@tools.tool(name="try-everything")
async def try_everything() -> AsyncGenerator[str]:
    """Try to break out; answer a line for each try."""
    for attempt in TRIES:
        name = attempt.__name__.replace("_", " ")
        try:
            yield f"GOT THROUGH: {name}: {attempt()}\n"
        except (OSError, AttributeError) as error:
            yield f"held: {name} ({error})\n"
    try:
        await host.call("kv.get", b'{"key": "of somebody else"}')
        yield "GOT THROUGH: ask the host for what the manifest doesn't name\n"
    except HostCallError as error:
        yield f"held: ask the host for what the manifest doesn't name ({error.what})\n"


if __name__ == "__main__":
    serve(tool=tools, host=host)
