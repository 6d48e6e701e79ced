"""Runs the suite as a user without rights, with groups of processes handed over by root.

That is how systemd starts a service with `Delegate=yes`. Without such groups an ordinary host can't
bound what several processes take together; `doctor` says so.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.escape.suite import Outcome

UID = 1_902_000_077
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = ("memory", "pids", "cpu", "cpuacct")
REPOSITORY = Path(__file__).parents[2]
PATIENCE_S = 600


def interpreter() -> str | None:
    """Return a Python of this version that anybody may start, or None."""
    for candidate in (sys.executable, f"/usr/bin/python3.{sys.version_info.minor}"):
        path = Path(candidate).resolve()
        if path.exists() and all(above.stat().st_mode & 0o001 for above in (path, *path.parents)):
            return str(path)
    return None


@contextmanager
def handed_over_groups() -> Iterator[tuple[Path, ...]]:
    """Make a group of each controller that belongs to the user; gone with the block."""
    with ExitStack() as stack:
        groups = []
        for controller in CONTROLLERS:
            mount = CGROUPS / controller
            if not mount.is_dir():
                continue
            group = mount / f"handed-over-{os.getpid()}"
            group.mkdir()
            stack.callback(group.rmdir)
            for path in (group, group / "cgroup.procs", group / "tasks"):
                os.chown(path, UID, UID)
            groups.append(group)
        yield tuple(groups)


def run_as_ordinary_user(names: Sequence[str]) -> tuple[Outcome, ...]:
    """Run the suite as somebody without rights; only root can do so."""
    python = interpreter()
    if python is None:
        raise LookupError("no Python of this version that an ordinary user may start")
    packages = next(path for path in sys.path if path.endswith("site-packages"))
    home = Path(tempfile.mkdtemp(prefix="sigil-escape-home-"))
    os.chown(home, UID, UID)
    try:
        with handed_over_groups() as groups:
            # Held until it is in its groups: whoever is in a group may move on below it.
            with subprocess.Popen(
                ["/bin/sh", "-c", 'read go; exec "$@"', "sh", python, "-m", "tests.escape",
                 "--json", "--here", *names],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
                user=UID, group=UID, extra_groups=[],
                env={
                    "PATH": "/usr/bin:/bin", "HOME": str(home), "TMPDIR": str(home),
                    "PYTHONPATH": f"{REPOSITORY}:{packages}", "PYTHONDONTWRITEBYTECODE": "1",
                },
            ) as child:  # fmt: skip
                for group in groups:
                    (group / "cgroup.procs").write_text(str(child.pid))
                said, _ = child.communicate("go\n", timeout=PATIENCE_S)
            assert child.returncode in (0, 1), f"the suite itself failed: {child.returncode}"
        return tuple(Outcome(**told) for told in json.loads(said))
    finally:
        shutil.rmtree(home)
