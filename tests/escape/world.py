"""The world that an attack is to break out into: folders, servers and a process of the host's."""

import json
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs

HERE = Path(__file__).parent
MIB = 1 << 20
NAMESPACES = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")

MEMORY = 64 * MIB
PIDS = 40
OPEN_FILES = 128
WRITE_BYTES = 8 * MIB
CPU = 0.5


@attrs.frozen(kw_only=True)
class World:
    """What there is, outside of every sandbox."""

    root: Path
    secret: str
    servers: dict[str, int | str]

    @property
    def plugin(self) -> Path:
        """The plugin's folder, with the attacks in it."""
        return self.root / "plugin"

    @property
    def writable(self) -> Path:
        return self.root / "writable"

    @property
    def readable(self) -> Path:
        """What `read_allow` names; parts of it are masked."""
        return self.root / "readable"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def facts(self, *, proxy: str) -> dict[str, object]:
        """Return what an attack is told, as `attacks/harness.py` reads it."""
        extra = {
            f"ns_{name}": str(Path(f"/proc/{self.servers['victim']}/ns/{name}").readlink())
            for name in NAMESPACES
        }
        return {
            **self.servers,
            "secret_file": str(self.root / "host" / "secret"),
            "secret": self.secret,
            "outside": str(self.root / "outside"),
            "write_folder": str(self.writable),
            "denied_file": str(self.readable / "folder" / "denied"),
            "denied_folder": str(self.readable / "denied-folder"),
            "proxy": proxy,
            "memory": MEMORY,
            "pids": PIDS,
            "open_files": OPEN_FILES,
            "write_bytes": WRITE_BYTES,
            "extra": {
                **extra,
                "launcher_word": str(self.readable / "folder" / "denied"),
                "hostname": socket.gethostname(),
                "cpu": str(CPU),
            },
        }


@contextmanager
def open_world(root: Path) -> Iterator[World]:
    """Make a world below `root`, an empty folder; its servers end with the block."""
    root.chmod(0o755)
    secret = f"secret-{secrets.token_hex(8)}"
    for name in ("host", "outside", "writable", "readable/folder", "readable/denied-folder"):
        (root / name).mkdir(parents=True, mode=0o755)
    (root / "outside").chmod(0o777)
    (root / "writable").chmod(0o777)
    key = root / "home" / ".ssh-of-the-test" / "id"
    for path in (
        root / "host" / "secret",
        root / "readable" / "folder" / "denied",
        root / "readable" / "denied-folder" / "inner",
        key,
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secret)
    (root / "readable" / "folder" / "shown").write_text("shown")
    shutil.copytree(
        HERE / "attacks",
        root / "plugin" / "attacks",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    shutil.copy(HERE / "run_attack.py", root / "plugin")
    with subprocess.Popen(
        [
            sys.executable, str(HERE / "host_servers.py"), str(root / "host"),
            str(root / "readable" / "folder" / "denied"), "victim",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"SIGIL_TEST_SECRET": secret, "PATH": "/usr/bin:/bin"},
    ) as victim:  # fmt: skip
        assert victim.stdout is not None
        assert victim.stdin is not None
        try:
            yield World(root=root, secret=secret, servers=json.loads(victim.stdout.readline()))
        finally:
            victim.stdin.close()
            victim.wait(timeout=10)
