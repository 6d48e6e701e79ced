"""What starting costs: importing the package, and the command line's help, against trio alone."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import (
    BenchmarkError,
    Budget,
    Compared,
    Measure,
    Row,
    Side,
    in_turn,
    ratio_at_most,
)

MILLISECONDS = 1e3


def _cpu_of(command: Sequence[str]) -> float:
    """Return the processor time of a whole process, its own and the system's for it."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise BenchmarkError(f"{' '.join(command)} exits with {process.returncode}")
    return (usage.ru_utime + usage.ru_stime) * MILLISECONDS


def _run(budget: Budget) -> Sequence[Row]:
    program = Path(sys.executable).with_name("sigil-actors")
    commands = {
        "import trio": (sys.executable, "-c", "import trio"),
        "import_time": (sys.executable, "-c", "import sigil_actors"),
        "import_time/help": (str(program), "--help"),
    }
    if not program.exists():
        raise BenchmarkError(f"there is no {program}; install the package into this environment")
    for command in commands.values():
        _cpu_of(command)  # the first one may have to write byte code
    sides = [Side(name) for name in commands]
    for side in in_turn(budget.of(15), *sides):
        side.values.append(_cpu_of(commands[side.name]))
    reference, *ours = sides
    return [
        Row(
            name=side.name,
            what=" ".join(commands[side.name][1:]),
            unit="ms",
            ours=side,
            reference=reference,
            compared=Compared.COST,
            goal=ratio_at_most(3),
        )
        for side in ours
    ]


MEASURES = (
    Measure(
        name="import_time",
        what="`import sigil_actors` and `sigil-actors --help`, against `import trio`",
        run=_run,
    ),
)
