"""Attacks on what the host knows: its environment, its descriptors, its identity, its plan."""

import os
import socket
from pathlib import Path

from .harness import Facts, HeldError, attack

FIRST_OF_ITS_OWN = 3
"""Below are the standard streams."""


@attack("secrets")
def inherit_the_environment(facts: Facts) -> str:
    for name, value in os.environ.items():
        if facts.secret in value:
            return name
    raise HeldError("nothing of the host's in the environment")


@attack("secrets")
def read_the_environment_of_the_first_process(facts: Facts) -> str:
    for pid in {"1", "2", str(os.getppid())}:
        try:
            if facts.secret in Path(f"/proc/{pid}/environ").read_bytes().decode("latin-1"):
                return f"process {pid}"
        except OSError:
            continue
    raise HeldError("no environment that can be read has it")


@attack("secrets")
def read_the_plan_from_a_command_line(facts: Facts) -> str:
    """Which files are masked and where folders come from is in the options of the launcher."""
    for pid in [entry.name for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode("latin-1")
        except OSError:
            continue
        # What comes after is the plugin's own command, and what this attack was told.
        if facts.extra["launcher_word"] in command.partition("run_attack.py")[0]:
            return command.replace("\0", " ")
    raise HeldError("no command line tells")


@attack("secrets")
def inherit_a_descriptor(facts: Facts) -> str:
    for entry in Path("/proc/self/fd").iterdir():
        if int(entry.name) < FIRST_OF_ITS_OWN:
            continue
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if not target.startswith(f"/proc/{os.getpid()}/") and target != "/proc/self/fd":
            return f"{entry.name} is {target}"
    raise HeldError(f"only the standard streams; looked for {facts.victim}")


@attack("secrets")
def learn_the_users_of_the_machine(_facts: Facts) -> str:
    users = [line.split(":", 1)[0] for line in Path("/etc/passwd").read_text().splitlines()]
    if "root" not in users:
        raise HeldError(f"only {users}")
    return f"{len(users)} users"


@attack("secrets")
def learn_the_name_of_the_machine(facts: Facts) -> str:
    if socket.gethostname() != facts.extra["hostname"]:
        raise HeldError(socket.gethostname())
    return socket.gethostname()


@attack("secrets")
def learn_the_name_servers(_facts: Facts) -> str:
    if "nameserver" not in Path("/etc/resolv.conf").read_text():
        raise HeldError("none")
    return "the host's name servers"


@attack("secrets")
def read_a_private_key(_facts: Facts) -> str:
    home = Path(os.environ.get("HOME", "/"))
    for folder in (home, Path("/root"), *Path("/home").glob("*")):
        key = folder / ".ssh-of-the-test" / "id"
        try:
            return key.read_text()
        except OSError:
            continue
    raise HeldError("no key in any home")
