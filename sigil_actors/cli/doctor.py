"""`sigil-actors doctor`: what this machine can and can't do, with remedies."""

import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

import attrs

from sigil_actors.cli.exit_codes import ExitCode
from sigil_actors.cli.folders import audit_folder, state_folder
from sigil_actors.cli.options import JsonOption, StateOption
from sigil_actors.cli.output import Output, one_line
from sigil_actors.core.json_value import JsonObject
from sigil_actors.core.sandbox_proof import AttackResult
from sigil_actors.core.wording import counted
from sigil_actors.errors import SigilError
from sigil_actors.sandbox_report import Fitness, SandboxPart, sandbox_report

PROBE_S = 60.0
"""How long a Wasm module may take to compile and run; it takes a second on a slow machine."""

FSYNCS = 5
"""How often the disk is asked; the median is told."""

SLOW_FSYNC_MS = 50.0
"""More than that, and a commit makes each decision slow. A disk that spins takes some 10 ms."""

SQLITE_MIN = (3, 37, 0)
"""The first with STRICT tables, which the audit log uses."""


class Status(StrEnum):
    """How a check came out."""

    OK = "ok"
    SLOW = "slow"
    """It works, and that is all."""
    WEAK = "weak"
    """It works, and with more it would hold better."""
    ABSENT = "absent"
    """Not here, and not everything needs it."""
    BAD = "bad"
    """Needed, and doesn't work."""


@attrs.frozen(kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    remedy: str = ""

    def to_json(self) -> JsonObject:
        """Return it for a JSON text."""
        return {
            "name": self.name,
            "status": self.status,
            "found": self.found,
            "remedy": self.remedy,
        }


def doctor(*, state: StateOption = None, json: JsonOption = False) -> int:
    """Say what this machine can and can't do, with remedies.

    Exits with 9 where something that is needed doesn't work. Changes nothing, but for a file of
    some bytes that is written and removed again where the audit log will be.
    """
    output = Output(as_json=json)
    checks = (
        _python(),
        _package("trio"),
        _package("wasmtime"),
        _wasm(),
        _sqlite(),
        _audit(audit_folder(state_folder(state))),
        _control(),
        *_sandbox(),
        _program(
            "go",
            "Go",
            "plugins in Go",
            "Install Go 1.22 or newer from your distribution or https://go.dev/dl",
        ),
    )
    is_healthy = all(check.status is not Status.BAD for check in checks)
    if output.as_json:
        output.document({"healthy": is_healthy, "checks": [check.to_json() for check in checks]})
    else:
        _show(checks, output)
    return ExitCode.OK if is_healthy else ExitCode.UNHEALTHY


def _show(checks: tuple[Check, ...], output: Output) -> None:
    from rich.text import Text

    from sigil_actors.cli.tables import new_table

    colours = {
        Status.OK: "green",
        Status.BAD: "bold red",
        Status.SLOW: "yellow",
        Status.WEAK: "yellow",
    }
    table = new_table("check", "status", "found", "what to do")
    for check in checks:
        table.add_row(
            check.name,
            Text(check.status, style=colours.get(check.status, "dim")),
            Text(one_line(check.found)),
            Text(one_line(check.remedy)),
        )
    output.show(table)


def _python() -> Check:
    # The package doesn't install below 3.11, so that this is known to be enough.
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.platform}"
    return Check(name="python", status=Status.OK, found=found)


def _package(name: str) -> Check:
    try:
        return Check(name=name, status=Status.OK, found=version(name))
    except PackageNotFoundError:
        return Check(
            name=name,
            status=Status.BAD,
            found="not installed",
            remedy="Install sigil-actors again: pip install --force-reinstall sigil-actors",
        )


# In a program of its own, since what goes wrong here (a processor that lacks an instruction, a
# policy that forbids executable memory) ends the process.
_PROBE = """
import trio, wasmtime
from sigil_actors.wasm import WasmHost

MODULE = wasmtime.wat2wasm('(module (func (export "add") (param i32 i32) (result i32)'
                           ' local.get 0 local.get 1 i32.add))')
with WasmHost() as host:
    trio.run(host.load_module, "probe", MODULE)
store = wasmtime.Store()
instance = wasmtime.Instance(store, wasmtime.Module(store.engine, MODULE), [])
print(instance.exports(store)["add"](store, 20, 22))
"""


def _wasm() -> Check:
    began = time.perf_counter()
    try:
        ran = subprocess.run(  # noqa: S603 - our own interpreter and our own text
            [sys.executable, "-P", "-c", _PROBE],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _bad_wasm(str(error))
    if ran.returncode != 0 or ran.stdout.strip() != "42":
        last = (ran.stderr.strip().splitlines() or ["no message"])[-1]
        return _bad_wasm(f"exit status {ran.returncode}: {last}")
    took_s = time.perf_counter() - began
    found = f"a module compiles and runs ({took_s:.1f} s with the start of Python)"
    return Check(name="wasm tier", status=Status.OK, found=found)


def _bad_wasm(found: str) -> Check:
    return Check(
        name="wasm tier",
        status=Status.BAD,
        found=found,
        remedy="Look whether a policy forbids executable memory; install wasmtime again",
    )


def _sqlite() -> Check:
    if sqlite3.sqlite_version_info >= SQLITE_MIN:
        return Check(name="sqlite", status=Status.OK, found=sqlite3.sqlite_version)
    needed = ".".join(map(str, SQLITE_MIN))
    return Check(
        name="sqlite",
        status=Status.BAD,
        found=sqlite3.sqlite_version,
        remedy=f"Use a Python with SQLite {needed} or newer",
    )


def _audit(folder: Path) -> Check:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        took_ms = _fsync_ms(there)
    except OSError as error:
        return Check(
            name="audit log",
            status=Status.BAD,
            found=f"{there} can't be written: {error.strerror}",
            remedy="Make it writable for you, or name another state folder with --state",
        )
    found = f"{folder}{'' if there == folder else ' (not made yet)'}, fsync {took_ms:.2f} ms"
    if took_ms > SLOW_FSYNC_MS:
        remedy = "Put the state folder on a faster disk: each decision waits for a commit"
        return Check(name="audit log", status=Status.SLOW, found=found, remedy=remedy)
    return Check(name="audit log", status=Status.OK, found=found)


def _fsync_ms(folder: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(FSYNCS):
            file.write(b"x" * 512)
            file.flush()
            began = time.perf_counter()
            os.fsync(file.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return median(took)


def _control() -> Check:
    if hasattr(socket, "SO_PEERCRED"):
        found = "the kernel says who connects"
        return Check(name="control socket", status=Status.OK, found=found)
    return Check(
        name="control socket",
        status=Status.ABSENT,
        found="this system doesn't say who connects, so a supervisor answers nobody",
        remedy="Embed the runtime, or use call without a supervisor; Linux has it",
    )


def _program(program: str, name: str, purpose: str, remedy: str) -> Check:
    found = shutil.which(program)
    if found:
        return Check(name=name, status=Status.OK, found=f"{found}; for {purpose}")
    return Check(name=name, status=Status.ABSENT, found=f"not found; for {purpose}", remedy=remedy)


_STATUS = {
    Fitness.GOOD: Status.OK,
    Fitness.WEAKER: Status.WEAK,
    Fitness.LACKING: Status.ABSENT,
    Fitness.UNUSED: Status.ABSENT,
}


def _sandbox() -> Iterator[Check]:
    parts = sandbox_report()
    yield from _parts(parts)
    if not any(part.fitness is Fitness.LACKING for part in parts):
        yield _proof()


def _proof() -> Check:
    """Run the attacks that each plugin's sandbox is tried with."""
    import trio

    from sigil_actors.sandbox_trial import try_this_machine

    name = "sandbox proof"
    try:
        proof = trio.run(try_this_machine)
    except SigilError as error:
        found = f"can't be tried: {error.what}; process plugins are refused"
        return Check(name=name, status=Status.BAD, found=found, remedy=error.remedy)
    if proof.holds:
        found = f"{counted(proof.count(AttackResult.HELD), 'attack')} tried in one, all held"
        return Check(name=name, status=Status.OK, found=found)
    through = "; ".join(failure.name for failure in proof.failures)
    return Check(
        name=name,
        status=Status.BAD,
        found=f"it doesn't hold: {through}; process plugins are refused",
        remedy="Look what differs on this machine: its kernel, bubblewrap, or what confines you",
    )


def _parts(parts: Iterable[SandboxPart]) -> Iterator[Check]:
    for part in parts:
        found = part.found
        if part.fitness is Fitness.LACKING:
            found += "; process plugins are refused without it"
        yield Check(name=part.name, status=_STATUS[part.fitness], found=found, remedy=part.remedy)
