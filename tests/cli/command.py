"""Runs the command line as people do: as a program, by its streams and its exit code."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "plugins"
PATIENCE_S = 60.0
"""How long a program may take for anything at all; the machines that run this are shared."""


def environment(**changes: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("XDG_")}
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM"):
        kept.pop(name, None)
    return {**kept, "TERM": "xterm-256color", **changes}


def sigil(
    *arguments: str | Path,
    stdin: str | bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> "subprocess.CompletedProcess[str]":
    given = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        [sys.executable, "-m", "sigil_actors", *map(str, arguments)],
        input=given,
        stdin=subprocess.DEVNULL if given is None else None,
        capture_output=True,
        timeout=PATIENCE_S,
        cwd=cwd,
        env=env or environment(),
        check=False,
    )
    return subprocess.CompletedProcess(
        done.args,
        done.returncode,
        done.stdout.decode("utf-8", "surrogateescape"),
        done.stderr.decode("utf-8", "surrogateescape"),
    )


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def error_of(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    """Return the error that `--json` wrote to standard error, the last of its lines."""
    error: dict[str, Any] = json_lines(done.stderr)[-1]["error"]
    assert error["exit_code"] == done.returncode
    return error


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited too long for {what}"
        time.sleep(0.01)


class Supervisor:
    """A running `sigil-actors run --json`."""

    def __init__(self, plugins: Path, state: Path, *arguments: str) -> None:
        self.state = state
        self._log = (state.parent / f"{state.name}.log").open("w+")
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "sigil_actors", "run", "--json"),
                *("--plugins", str(plugins), "--state", str(state), *arguments),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=environment(),
            text=True,
        )

    @property
    def socket(self) -> Path:
        return self.state / "control" / "socket"

    def line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        return line

    def log(self) -> list[dict[str, Any]]:
        with Path(self._log.name).open() as log:
            return [json.loads(line) for line in log if line.endswith("\n")]

    def messages(self) -> list[str]:
        return [record["message"] for record in self.log()]

    def wait_for_message(self, part: str) -> None:
        wait_until(lambda: any(part in message for message in self.messages()), part)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(PATIENCE_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log.close()


@contextmanager
def supervisor(plugins: Path, state: Path, *arguments: str) -> Generator[Supervisor]:
    """Run a supervisor, listening, for as long as the block lasts."""
    running = Supervisor(plugins, state, *arguments)
    try:
        assert running.line()["event"] == "discovered", running.messages()
        assert running.line()["event"] == "listening", running.messages()
        yield running
    finally:
        running.close()


def on_terminal(
    arguments: Sequence[str], *, columns: int = 100, **changes: str
) -> tuple[int, bytes]:
    """Run a command with a terminal as its output; return its exit code and what it showed."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "sigil_actors", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=environment(COLUMNS=str(columns), **changes),
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            some = os.read(ours, 65536)
        except OSError:  # Linux says EIO where the other side is closed
            break
        if not some:
            break
        shown += some
    os.close(ours)
    return process.wait(PATIENCE_S), shown
